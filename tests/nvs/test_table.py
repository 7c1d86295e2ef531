"""Entries are validated when they are made."""

import pytest

from rmfab.errors import InputError
from rmfab.nvs.table import INTEGER_KINDS, Entry, EntryKind, Namespace


@pytest.mark.parametrize("kind", INTEGER_KINDS)
def test_integer_limits(kind):
    """Each integer kind accepts its whole range and nothing beyond."""
    for value in (kind.lowest, kind.highest):
        assert Entry("n", "k", kind, value).value == value
    for value in (kind.lowest - 1, kind.highest + 1):
        with pytest.raises(InputError, match="is not in the range"):
            Entry("n", "k", kind, value)


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"),
    [(EntryKind.U8, 0, 255), (EntryKind.I8, -128, 127), (EntryKind.I16, -32768, 32767), (EntryKind.U64, 0, 2**64 - 1)],
)
def test_ranges_are_those_of_c(kind, lowest, highest):
    """The ranges are those of the C types."""
    assert (kind.lowest, kind.highest) == (lowest, highest)


@pytest.mark.parametrize("name", ["", "sixteen_letters_", "tab\t", "umläut", "nul\0"])
def test_names(name):
    """Keys and namespaces are 1 to 15 printable ASCII characters."""
    with pytest.raises(InputError):
        Entry(name, "k", EntryKind.U8, 1)
    with pytest.raises(InputError):
        Entry("n", name, EntryKind.U8, 1)
    with pytest.raises(InputError):
        Namespace(name)


def test_fifteen_characters_fit():
    """The longest name has 15 characters."""
    assert Entry("n" * 15, "k" * 15, EntryKind.U8, 1).key == "k" * 15


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (EntryKind.U8, "1"),
        (EntryKind.U8, True),
        (EntryKind.U8, b"1"),
        (EntryKind.STRING, b"text"),
        (EntryKind.STRING, 1),
        (EntryKind.STRING, "a\0b"),
        (EntryKind.STRING, "\ud800"),
        (EntryKind.STRING, "x" * 4000),
        (EntryKind.STRING, "ä" * 2000),
        (EntryKind.STRING, b"\xff" * 4000),
        (EntryKind.STRING, b"\xff\0"),
        (EntryKind.FLOAT, 1),
        (EntryKind.FLOAT, 0.1),
        (EntryKind.FLOAT, 1e300),
        (EntryKind.FLOAT, float("nan")),
        (EntryKind.DOUBLE, float("nan")),
        (EntryKind.DOUBLE, "1.0"),
        (EntryKind.U8, 1.0),
        (EntryKind.BLOB, "text"),
        (EntryKind.BLOB, 5),
    ],
)
def test_values_match_their_kind(kind, value):
    """A value of the wrong type, a NUL in a string, or a string over 3999 bytes is rejected."""
    with pytest.raises(InputError):
        Entry("n", "k", kind, value)


def test_repr_hides_the_value():
    """An entry's repr does not show its value, which may be a private key."""
    assert "hunter2" not in repr(Entry("n", "k", EntryKind.STRING, "hunter2"))


def test_size_counts_the_nul():
    """A string's size includes its closing NUL, in UTF-8 bytes."""
    assert Entry("n", "k", EntryKind.STRING, "hé").size == 4
    assert Entry("n", "k", EntryKind.BLOB, b"abc").size == 3
    assert Entry("n", "k", EntryKind.I32, 5).size == 4
