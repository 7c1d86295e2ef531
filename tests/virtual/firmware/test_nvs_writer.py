"""NVS as firmware writes it, checked by rmfab's reader and by the reference generator's images."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.nvs.reader import read_image
from rmfab.nvs.table import EntryKind
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.firmware.nvs_writer import NvsFull, NvsWriter
from tests.virtual.rig import factory_image

_KEYS = st.sampled_from(["a", "second", "fifteen_letters"])
_WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("blob"), _KEYS, st.binary(max_size=900)),
        st.tuples(st.just("integer"), _KEYS.map(lambda key: f"i{key}"[:15]), st.integers(-(2**31), 2**31 - 1)),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(_WRITES)
def test_whatever_is_written_is_read_again(writes):
    """After any sequence of writes, over many full pages, the reader finds the last value of each key and no fault."""
    flash = Flash(1 << 20)
    writer = NvsWriter(flash, 0x10000, 0x4000)
    expected = {}
    for kind, key, value in writes:
        if kind == "blob":
            writer.set_blob("space", key, value)
        else:
            writer.set_integer("space", key, EntryKind.I32, value)
        expected[key] = value
    image = read_image(flash.read(0x10000, 0x4000))
    assert image.sound, image.findings
    assert expected == {entry.key: entry.value for entry in image.entries}
    assert flash.is_blank(0, 0x10000)


def test_entries_join_a_generated_image():
    """New entries are appended to an image by the reference generator; its own entries do not change."""
    flash = Flash(1 << 20)
    original = factory_image(sec2_salt=None)
    flash.program(0, original)
    NvsWriter(flash, 0, 0x6000).set_blob("rmaker_creds", "sec2_salt", b"n" * 16)
    image = read_image(flash.read(0, 0x6000))
    assert image.sound
    assert image.value("rmaker_creds", "sec2_salt") == b"n" * 16
    assert image.value("rmaker_creds", "node_id") == b"NodeOfThisVeryTest"


def test_a_full_partition_says_so():
    """If nothing can be freed, the write is rejected and the existing entries stay."""
    flash = Flash(1 << 20)
    writer = NvsWriter(flash, 0, 0x3000)
    for number in range(4):
        writer.set_blob("space", f"key{number}", bytes(1500))
    with pytest.raises(NvsFull):
        writer.set_blob("space", "key4", bytes(1500))
    assert bytes(1500) == read_image(flash.read(0, 0x3000)).value("space", "key0")
