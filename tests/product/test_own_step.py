"""`[[step]]` and `[verify] console_must` in product.toml."""

from __future__ import annotations

import pytest

from rmfab.errors import ComplaintsError
from rmfab.line.events import Step
from rmfab.product.console_pattern import ConsolePattern
from rmfab.product.own_step import PLACES, TAKEN, OwnStep, ValueLimits
from rmfab.product.product_file import parse_product

HEAD = """
[product]
name = "Lamp"
chip = "esp32c3"
serial = "LMP-{n:06d}"
"""


def steps_of(text, tmp_path):
    """Return the steps of a product with *text*."""
    return parse_product(HEAD + text, tmp_path / "product.toml").steps


def test_a_step(tmp_path):
    """A step has a name, a place and limits; a question may have a picture inside the workspace."""
    text = """
[[step]]
name = "relay"
after = "boot"
timeout = 5
limits = { current = { min = 10, max = 80.5, unit = "mA" }, noise = { max = 3 } }
[[step]]
name = "lamp"
after = "identify"
ask = "Is the lamp white?"
picture = "docs/lamp.png"
"""
    root = tmp_path.resolve()
    assert steps_of(text, tmp_path) == (
        OwnStep("relay", "boot", 5.0, {"current": ValueLimits(10, 80.5, "mA"), "noise": ValueLimits(None, 3)}),
        OwnStep("lamp", "identify", 300.0, {}, "Is the lamp white?", root / "docs" / "lamp.png"),
    )


RELAY = '[[step]]\nname = "relay"\nafter = "boot"\n'
BAD = {
    "a command": (RELAY + 'command = ["rm", "-rf"]', "product.toml names no commands"),
    "no place": ('[[step]]\nname = "relay"', "required"),
    "an unknown place": ('[[step]]\nname = "relay"\nafter = "label"', "is not one of"),
    "a step of the line": ('[[step]]\nname = "flash"\nafter = "boot"', "is a step of the line"),
    "a bad name": ('[[step]]\nname = "../x"\nafter = "boot"', "is not the name of a step"),
    "twice": (RELAY + RELAY, "the same name"),
    "no limit": (RELAY + "limits = { a = {} }", "needs min or max"),
    "crossed limits": (RELAY + "limits = { a = { min = 2, max = 1 } }", "is above max"),
    "limits of a question": (RELAY + 'ask = "x?"\nlimits = { a = { min = 2 } }', "a question has no measurements"),
    "a picture of no question": (RELAY + 'picture = "a.png"', "only a question has a picture"),
    "a picture elsewhere": (RELAY + 'ask = "x?"\npicture = "../a.png"', "inside the workspace"),
    "an absolute picture": (RELAY + 'ask = "x?"\npicture = "/etc/passwd"', "inside the workspace"),
    "control characters": (RELAY + 'ask = "x\\u001b[2J?"', "printable"),
    "a long timeout": (RELAY + "timeout = 1e9", "is not from"),
    "a pattern that is no text": ("[verify]\nconsole_must = { a = 1 }", "expected a text"),
    "a pattern of stars": ('[verify]\nconsole_must_not = { a = "**" }', "expected text"),
    "a pattern without console": ('[verify]\nconsole = "none"\nconsole_must = { a = "ok" }', "nobody reads"),
}


@pytest.mark.parametrize(("text", "what"), BAD.values(), ids=BAD)
def test_complaints(text, what, tmp_path):
    """Whatever is wrong with a step or pattern is a complaint with its key path."""
    with pytest.raises(ComplaintsError) as caught:
        steps_of(text, tmp_path)
    assert any(what in str(one) for one in caught.value.complaints), [str(one) for one in caught.value.complaints]


def test_the_names_of_the_line():
    """The names that a product cannot take, and the places, are those of the line's steps."""
    assert set(TAKEN) == {step.value for step in Step}
    assert set(PLACES) < set(TAKEN)


PATTERNS = {
    "plain": ("self test ok", "I (12) app: self test ok", True),
    "a star": ("self test * ok", "self test 3 of 3 ok", True),
    "in order": ("ok * self", "self ok", False),
    "no overlap": ("aba*aba", "ababa", False),
    "not a regular expression": ("a.c", "abc", False),
    "case": ("OK", "ok", False),
    "hostile": ("a*a*a*a*a*a*a*b", "a" * 4096, False),
}


@pytest.mark.parametrize(("text", "line", "matches"), PATTERNS.values(), ids=PATTERNS)
def test_patterns(text, line, matches):
    """A pattern is plain text, in which a star stands for anything; it is no regular expression."""
    assert ConsolePattern("x", text).matches(line) is matches
