"""What a scanner types: labels in every form, what scanners add, what keyboards change, and the test code."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rmfab.identity.qr import MAX_BYTES, URL_PREFIX
from rmfab.label.keyboards import KEYBOARDS, with_caps_lock
from rmfab.label.readback import codes_in, picture
from rmfab.label.scan import TEST_CODE, WrongScan, is_label_of, judge_test, may_hold_pop, parse_scan, same_label
from rmfab.label.symbol import encode
from rmfab.secret import Secret

POP = "0a1b2c3d"
JSON = '{"ver":"v1","name":"PROV_a1b2c3","pop":"0a1b2c3d","transport":"ble"}'
COMPACT = "NP:PROV_a1b2c3|0a1b2c3d|b"
FORMS = {"json": JSON, "compact": COMPACT, "url": URL_PREFIX + JSON, "spaced": JSON.replace(",", ", ")}
ADDED = {
    "Enter": ("", "\r\n"),
    "Tab": ("", "\t"),
    "AIM identifier": ("]Q1", "\r"),
    "AIM and GS1": ("]Q3\x1d", "\n"),
    "GS1 separator": ("\x1d", ""),
    "prefix": ("LINE1:", ""),
    "prefix and suffix": ("<", ">\r\n"),
    "byte order mark": ("\ufeff", ""),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("added", ADDED)
def test_what_a_scanner_adds_is_removed(form: str, added: str) -> None:
    """Every form of the code is read with what scanners put before and after it."""
    before, after = ADDED[added]
    payload = parse_scan(before + FORMS[form] + after)
    assert (payload.name, payload.pop) == ("PROV_a1b2c3", Secret(POP))
    assert same_label(payload, Secret(FORMS[form]))


WRONG = {
    "nothing": ("", "scan-unreadable", "not the QR code of a label"),
    "a serial": ("LMP-000017", "scan-unreadable", "not the QR code"),
    "an EAN": ("4006381333931", "scan-unreadable", "not the QR code"),
    "other JSON": ('{"a":1}', "scan-unreadable", "not the QR code"),
    "a list": ("[1,2]", "scan-unreadable", "not the QR code"),
    "no name": ('{"ver":"v1","pop":"x"}', "scan-unreadable", "not the QR code"),
    "Matter": ("MT:Y.K9042C00KA0648G00", "scan-unreadable", "not the QR code"),
    "the test code": (TEST_CODE, "scan-unreadable", "the scanner's test code"),
    "cut short": (JSON[:40], "scanner-setup", "cut short"),
    "compact, cut short": (COMPACT[:-2], "scanner-setup", "cut short"),
    "a lost quote": (JSON.replace('"pop"', 'pop"'), "scanner-setup", "cut short"),
    "no Enter": (JSON + JSON, "scanner-setup", "as one line"),
    "no Enter, compact": (COMPACT + COMPACT, "scanner-setup", "as one line"),
    "too long": ("x" * 600, "scanner-setup", "more than 512"),
    "Caps Lock": (JSON.swapcase(), "scanner-keyboard", "Caps Lock is on"),
    "full width": (JSON.replace('"', "\uff02"), "scanner-keyboard", "input method"),
    "Chinese quotes": (JSON.replace('"', "\u201c"), "scanner-keyboard", "input method"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_scan_says_what_is_wrong(name: str) -> None:
    """Each mistake has its own message and cause; no message contains what was scanned."""
    text, cause, message = WRONG[name]
    with pytest.raises(WrongScan) as caught:
        parse_scan(text)
    assert (caught.value.cause, message in caught.value.what) == (cause, True), caught.value.what
    assert POP not in f"{caught.value.what} {caught.value.hint} {caught.value.where}"


@pytest.mark.parametrize("caps", [False, True], ids=["", "caps"])
@pytest.mark.parametrize("keyboard", KEYBOARDS, ids=lambda one: one.name)
def test_a_keyboard_layout_is_named(keyboard, caps) -> None:
    """A label or the test code that comes in on the wrong layout names the layout, and Caps Lock if it is on."""
    for judge, text in ((parse_scan, JSON), (judge_test, TEST_CODE)):
        with pytest.raises(WrongScan, match=f"{keyboard.name}.*{'Caps Lock' if caps else ''}") as caught:
            judge(with_caps_lock(keyboard.typed(text)) if caps else keyboard.typed(text))
        assert caught.value.cause == "scanner-keyboard"


def test_the_test_code_has_every_character() -> None:
    """It has all of printable ASCII, is a code that prints and reads like a label's, and is no label itself."""
    assert set(string.printable[:95]) <= set(TEST_CODE)
    assert len(TEST_CODE) <= MAX_BYTES
    assert codes_in(picture(encode(Secret(TEST_CODE)))) == (TEST_CODE.encode(),)


TESTS = {
    "exact": (TEST_CODE, ""),
    "Enter": (TEST_CODE + "\r\n", ""),
    "AIM": ("]Q1" + TEST_CODE, "3 characters before it"),
    "both": ("A" + TEST_CODE + "BB", "1 character before it and 2 characters after it"),
}


@pytest.mark.parametrize("name", TESTS)
def test_a_scanner_that_passes(name: str) -> None:
    """The test code passes, and what the scanner adds is reported."""
    text, added = TESTS[name]
    assert judge_test(text) == added


FAILING = {
    "Caps Lock": (TEST_CODE.swapcase(), "scanner-keyboard", "Caps Lock is on"),
    "cut short": (TEST_CODE[:60], "scanner-setup", "cut short"),
    "lost braces": (TEST_CODE.replace("{", "").replace("}", ""), "scanner-setup", "loses characters: {}"),
    "lost space": (TEST_CODE.replace(" ", ""), "scanner-setup", "loses characters"),
    "twice": (TEST_CODE + TEST_CODE, "scanner-setup", "as one line"),
    "a label": (JSON, "scan-unreadable", "not the test code"),
    "nothing": ("", "scan-unreadable", "not the test code"),
    "a serial": ("LMP-000017", "scan-unreadable", "not the test code"),
    "full width": (TEST_CODE.replace("{", "\uff5b"), "scanner-keyboard", "input method"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_scanner_that_fails(name: str) -> None:
    """Each way in which a scanner or keyboard is set up wrong is named."""
    text, cause, message = FAILING[name]
    with pytest.raises(WrongScan) as caught:
        judge_test(text)
    assert (caught.value.cause, message in caught.value.what) == (cause, True), caught.value.what


def test_whose_label_it_is_takes_name_and_pop() -> None:
    """Name and PoP must both be the unit's; other fields only make the label outdated."""
    assert is_label_of(parse_scan(COMPACT), Secret(JSON))
    assert not is_label_of(parse_scan(JSON.replace("0a1b2c3d", "0a1b2c3e")), Secret(JSON))
    assert not is_label_of(parse_scan(JSON.replace("a1b2c3", "a1b2c4")), Secret(JSON))
    assert not is_label_of(parse_scan(JSON.replace('"pop":"0a1b2c3d",', "")), Secret(JSON))
    outdated = parse_scan(JSON.replace('"ble"', '"softap"'))
    assert is_label_of(outdated, Secret(JSON))
    assert not same_label(outdated, Secret(JSON))


def test_damaged_codes_still_count_as_secret() -> None:
    """A code that came in damaged may hold the PoP; a serial may be shown."""
    assert all(map(may_hold_pop, (JSON, JSON.swapcase(), JSON[:40], KEYBOARDS[0].typed(JSON), JSON + JSON)))
    assert not any(map(may_hold_pop, ("", "LMP-000017", "4006381333931")))


names = some.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)


@given(names, some.text(string.hexdigits, min_size=1, max_size=16), some.sampled_from(["ble", "softap"]))
def test_every_payload_is_read_back(name: str, pop: str, transport: str) -> None:
    """Whatever name and PoP, both forms come back as they were."""
    code = json.dumps({"ver": "v1", "name": name, "pop": pop, "transport": transport}, separators=(",", ":"))
    for text in (code, f"NP:{name}|{pop}|{transport[0]}"):
        payload = parse_scan(f"]Q1{text}\r\n")
        assert (payload.name, payload.pop, payload.transport) == (name, Secret(pop), transport)


@given(some.text(max_size=200) | some.text('{}":,NP|bs x', max_size=200) | some.binary(max_size=99).map(repr))
def test_any_text_is_judged(text: str) -> None:
    """Any text is a payload with a name, or a WrongScan whose message does not contain it."""
    for judge in (parse_scan, judge_test):
        said = ""
        try:
            judge(text)
        except WrongScan as error:
            said = f"{error.what}{error.hint}"
        assert len(text) < 4 or text not in said
