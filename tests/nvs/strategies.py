"""Random NVS tables for hypothesis."""

from __future__ import annotations

import string
from collections.abc import Sequence

from hypothesis import strategies as st

from rmfab.nvs.table import Entry, EntryKind

GENERATOR_KINDS = tuple(kind for kind in EntryKind if kind not in (EntryKind.FLOAT, EntryKind.DOUBLE))
"""The kinds that Espressif's generator packs."""

NAMES = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=15)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=120)


def _value(kind: EntryKind, blob: int) -> st.SearchStrategy[int | float | str | bytes]:
    if kind is EntryKind.STRING:
        return TEXTS
    if kind is EntryKind.BLOB:
        return st.binary(max_size=64) | st.integers(0, blob).map(lambda size: bytes(i * 7 & 255 for i in range(size)))
    if kind in (EntryKind.FLOAT, EntryKind.DOUBLE):
        return st.floats(allow_nan=False, width=8 * kind.width)
    return st.integers(kind.lowest, kind.highest)


@st.composite
def tables(draw: st.DrawFn, blob: int = 9000, kinds: Sequence[EntryKind] = tuple(EntryKind)) -> list[Entry]:
    """Draw entries of up to three namespaces, interleaved at random, each key once in its namespace."""
    spaces = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    names = st.tuples(st.sampled_from(spaces), NAMES)
    entries = []
    for namespace, key in draw(st.lists(names, max_size=40, unique=True)):
        kind = draw(st.sampled_from(kinds))
        entries.append(Entry(namespace, key, kind, draw(_value(kind, blob))))
    return entries
