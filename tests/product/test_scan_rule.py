"""The rule for scanned codes: prefix, digits, and check digits of three standards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.product.scan_rule import CodeCheck, ScanRule

LUHN = ScanRule(check=CodeCheck.LUHN)
MOD_10 = ScanRule(check=CodeCheck.MOD_10)
MOD_43 = ScanRule(check=CodeCheck.MOD_43)


@pytest.mark.parametrize(
    ("rule", "scanned", "code"),
    [
        (ScanRule(), " AB-12.c \r\n", "AB-12.c"),
        (ScanRule("X", 4), "X0042", "X0042"),
        # ISO/IEC 7812-1 annex B; an IMEI of 3GPP TS 23.003 annex B
        (LUHN, "79927398713", "79927398713"),
        (LUHN, "490154203237518", "490154203237518"),
        # GS1: an EAN-13 and a GTIN-14
        (MOD_10, "4006381333931", "4006381333931"),
        (MOD_10, "10614141000415", "10614141000415"),
        (ScanRule("SN", 11, CodeCheck.LUHN), "SN79927398713", "SN79927398713"),
        # Code 39, ISO/IEC 16388 annex A: the check character is no part of the serial, also if it is a space or $
        (MOD_43, "CODE39W", "CODE39"),
        (MOD_43, "12345ABCDEW", "12345ABCDE"),
        (MOD_43, "AS \r\n", "AS"),
        (MOD_43, "A0\t", None),
        (ScanRule("X", 2, CodeCheck.MOD_43), "X01Y", "X01"),
        (ScanRule("X", 1, CodeCheck.MOD_43), "X01Y", None),
    ],
)
def test_codes(rule: ScanRule, scanned: str, code: str | None) -> None:
    """A code of the rule is returned without white space around it; a mod43 check character is left out."""
    if code is None:
        with pytest.raises(InputError):
            rule.code(scanned)
    else:
        assert rule.code(scanned) == code


@pytest.mark.parametrize(
    ("rule", "scanned", "told"),
    [
        (ScanRule(), " \t\r\n", "empty"),
        (ScanRule("X"), "Y1", 'does not begin with "X"'),
        (ScanRule("X"), "x1", 'does not begin with "X"'),
        (ScanRule("X", 4), "X42", 'does not have 4 digits after "X"'),
        (ScanRule("X", 4), "X00A2", 'does not have 4 digits after "X"'),
        (ScanRule(digits=2), "٣٤", "does not have 2 digits"),
        (LUHN, "79927398710", "check digit"),
        (LUHN, "7992739871X", "more than digits"),
        (LUHN, "0", "more than digits"),
        (MOD_10, "4006381333930", "check digit"),
        (MOD_43, "CODE39X", "check digit"),
        (MOD_43, "code39w", "check digit"),
        (MOD_43, "1", "check digit"),
    ],
)
def test_what_is_no_code(rule: ScanRule, scanned: str, told: str) -> None:
    """A code that breaks the rule is an error of cause `bad-code` that shows it."""
    with pytest.raises(InputError, match=told) as caught:
        rule.code(scanned)
    assert caught.value.cause == "bad-code"


@given(st.text("0123456789", min_size=1, max_size=30), st.sampled_from([LUHN, MOD_10]))
def test_one_check_digit_is_right(digits: str, rule: ScanRule) -> None:
    """For any digits, exactly one of the ten check digits is accepted; and any single wrong digit is noticed."""
    good = []
    for last in "0123456789":
        try:
            good.append(rule.code(digits + last))
        except InputError:
            continue
    (code,) = good
    for place, digit in enumerate(code):
        wrong = f"{code[:place]}{(int(digit) + 1) % 10}{code[place + 1 :]}"
        with pytest.raises(InputError):
            rule.code(wrong)


@given(st.text(max_size=200))
def test_any_text_is_harmless(text: str) -> None:
    """Whatever a scanner sends is a code, or an error of bounded length."""
    for rule in (ScanRule(), LUHN, MOD_43, ScanRule("X", 5)):
        try:
            told = rule.code(text)
        except InputError as error:
            told = error.what
        assert len(told) <= 200
