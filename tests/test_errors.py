"""Tests of the error tree: what, where, hint, cause."""

from __future__ import annotations

import inspect
import re

import pytest

from rmfab import errors
from rmfab.errors import ComplaintsError, InputError, RmfabError, one_line, printable


def tree() -> dict[str, type[RmfabError]]:
    """Return every error class by name."""
    members = inspect.getmembers(errors, inspect.isclass)
    return {name: kind for name, kind in members if issubclass(kind, RmfabError)}


def test_the_drawing_is_the_tree() -> None:
    """The tree drawn at the top of the file lists every class under its parent."""
    lines = re.finditer(
        r"^ {4}([│├└─ ]*)(\w+Error|\w+Up|\w+Failed|UnitFault|BoardConflict)", errors.__doc__ or "", re.MULTILINE
    )
    drawn = [(len(match[1]), match[2]) for match in lines]
    assert {name for _, name in drawn} == set(tree())
    parents: list[tuple[int, str]] = []
    for depth, name in drawn:
        while parents and parents[-1][0] >= depth:
            parents.pop()
        if parents:
            assert tree()[name].__bases__ == (tree()[parents[-1][1]],)
        parents.append((depth, name))


@pytest.mark.parametrize("kind", [kind for name, kind in tree().items() if name != "ComplaintsError"])
def test_the_text_is_where_and_what(kind: type[RmfabError]) -> None:
    """The text of every error is its place and its clause; the hint is separate; each class has a cause."""
    error = kind("it broke", where="a.csv:3", hint="fix it")
    assert (str(error), error.hint) == ("a.csv:3: it broke", "fix it")
    assert str(kind("it broke")) == "it broke"
    assert re.fullmatch(r"[a-z-]+", error.cause)
    assert kind("x", cause="special").cause == "special"


def test_complaints() -> None:
    """Several complaints are one error; its head is the first of them, its text all of them."""
    error = ComplaintsError([InputError("a", where="f:1", hint="h", cause="c"), InputError("b", where="f:2")])
    assert str(error) == "f:1: a\nf:2: b"
    assert (error.what, error.where, error.hint, error.cause) == ("a", "f:1", "h", "c")
    with pytest.raises(ValueError, match="needs a complaint"):
        ComplaintsError([])


def test_nothing_steers_a_terminal() -> None:
    """Control characters and bidirectional overrides are escaped; newlines, tabs and letters stay."""
    assert printable("\u2028\u200b\u2066\ud800\x7f\x00\x1b]52;c;eA==\x07\xa0") == (
        "\\u2028\\u200b\\u2066\\ud800\\x7f\\x00\\x1b]52;c;eA==\\x07\xa0"
    )
    assert one_line("a\nb\tc" + "x" * 300, 20) == "a\\nb\\tc" + "x" * 13 + "…"
    assert printable("a\x1b[2J\r\x9b\u202eb\n\tß语") == "a\\x1b[2J\\r\\x9b\\u202eb\n\tß语"


def test_long_quotes() -> None:
    """A clause that quotes a megabyte is shortened; what is wrong with the quote can still be read."""
    error = InputError(f'"{"x" * (1 << 20)}" is not a size', where="y" * 10_000, hint="z" * 10_000)
    assert error.what.endswith('x" is not a size')
    assert max(len(text or "") for text in (error.what, error.where, error.hint)) < 5000
