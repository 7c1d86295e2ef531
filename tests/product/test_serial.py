"""The pattern of serials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.files import is_safe_name
from rmfab.product.serial import SerialPattern, SerialSource

TEXT = st.text("ABZaz09._-", max_size=12)


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("LMP-{n:06d}", "LMP-000001"),
        ("{n}", "1"),
        ("{n:04}", "0001"),
        ("a{n:03d}.b", "a001.b"),
        ("{n:018d}", "0" * 17 + "1"),
    ],
)
def test_patterns(pattern: str, first: str) -> None:
    """The counter is padded with zeros to its width, between the literal text."""
    assert SerialPattern.parse(pattern).serial(1) == first


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "LMP",
        "{n}{n}",
        "{n:6d}",
        "{n:019d}",
        "{n:00d}",
        "{n!r}",
        "{n.real}",
        "{0}",
        "{m}",
        "../{n}",
        "a/{n}",
        "a\\{n}",
        ".{n}",
        "a {n}",
        "é{n}",
        "{n:06x}",
        "{{n}}",
        "x" * 64 + "{n}",
        "{n}\n",
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    """Other str.format syntax, serials that are not safe file names, and more than 64 characters are rejected."""
    with pytest.raises(InputError):
        SerialPattern.parse(pattern)


@pytest.mark.parametrize(
    ("pattern", "source", "serial"),
    [
        ("LMP-{mac}", SerialSource.MAC, "LMP-240ac400000a"),
        ("{MAC}.x", SerialSource.UPPER_MAC, "240AC400000A.x"),
        ("{scan}", SerialSource.SCAN, "X-17"),
        ("A_{scan}", SerialSource.SCAN, "A_X-17"),
    ],
)
def test_late_serials(pattern: str, source: SerialSource, serial: str) -> None:
    """A serial may contain the board's MAC, in lower or upper case, or a scanned code; the pattern round-trips."""
    parsed = SerialPattern.parse(pattern)
    assert (parsed.late, parsed.source, str(parsed)) == (True, source, pattern)
    made = parsed.of_code("X-17") if source is SerialSource.SCAN else parsed.of_mac("24:0a:c4:00:00:0a")
    assert made == serial


@pytest.mark.parametrize("pattern", ["{mac}{n}", "{Mac}", "{mac:06}", "{scan}{scan}", "{SCAN}", "x" * 60 + "{mac}"])
def test_what_is_no_late_serial(pattern: str) -> None:
    """There is one placeholder without a format, and a serial has at most 64 characters."""
    with pytest.raises(InputError):
        SerialPattern.parse(pattern)


@pytest.mark.parametrize("code", ["", "a b", "a/b", ".x", "x" * 65, "é", "a#1", "\x1b[2J"])
def test_codes_that_make_no_serial(code: str) -> None:
    """A code that is not a safe file name makes no serial."""
    with pytest.raises(InputError) as caught:
        SerialPattern.parse("{scan}").of_code(code)
    assert caught.value.cause == "bad-code"


def test_the_code_in_a_serial() -> None:
    """The code is found in a serial of the pattern, and in no other text."""
    pattern = SerialPattern.parse("A-{scan}-Z")
    assert pattern.code_in("A-17-Z") == "17"
    for text in ("17", "A-17", "17-Z", "A-Z"):
        with pytest.raises(InputError):
            pattern.code_in(text)


def test_the_counter_runs_out() -> None:
    """A number with more digits than the width is rejected, because sorting and labels rely on a fixed width."""
    pattern = SerialPattern.parse("A{n:02d}")
    assert pattern.serial(99) == "A99"
    for number in (0, -1, 100):
        with pytest.raises(InputError, match="does not fit"):
            pattern.serial(number)
    assert SerialPattern.parse("A{n}").serial(1000) == "A1000"


@given(TEXT, st.integers(1, 18), TEXT, st.integers(1, 10**18))
def test_round_trip(before: str, width: int, after: str, number: int) -> None:
    """A pattern round-trips through its text, and its serials are safe file names that contain the number."""
    text = f"{before}{{n:0{width}d}}{after}" if width > 1 else f"{before}{{n}}{after}"
    try:
        pattern = SerialPattern.parse(text)
        serial = pattern.serial(number)
    except InputError:
        return
    assert SerialPattern.parse(str(pattern)) == pattern
    assert is_safe_name(serial)
    assert int(serial[len(before) : len(serial) - len(after)]) == number
