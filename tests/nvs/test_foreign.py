"""Neighbours of NVS partitions and encrypted images are recognised; damaged NVS images stay NVS images."""

import io
import os
import random

from esp_idf_nvs_partition_gen import nvs_partition_gen
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.nvs.foreign import foreign_kind, is_encrypted
from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind, Namespace

from .handmade import BLANK, crc

PLAIN = pack([Entry("ns", "cert", EntryKind.BLOB, os.urandom(900)), Entry("ns", "n", EntryKind.U8, 1)], 0x3000)


def keys_partition(keys: bytes = bytes(range(64))) -> bytes:
    return (keys + crc(keys).to_bytes(4, "little")).ljust(4096, b"\xff")


def encrypted(size: int = 0x4000) -> bytes:
    """Return an image that the generator encrypted."""
    stream = io.BytesIO()
    key = random.Random(1).randbytes(64)
    with nvs_partition_gen.nvs_open(stream, size - 4096, version=0xFE, is_encrypt=True, key=key) as nvs:
        nvs.write_namespace("ns")
        nvs.write_entry("n", 1, "u8", 1)
        nvs.write_entry("cert", bytes(5000), "binary", 1)
    return stream.getvalue()


def test_key_partition():
    """An NVS key partition, also without its blank rest, but not a blank one, and not one with a wrong CRC."""
    assert foreign_kind(keys_partition()) == "an NVS key partition"
    assert foreign_kind(keys_partition()[:68]) == "an NVS key partition"
    assert foreign_kind(BLANK) is None
    assert "key" not in (foreign_kind(bytes(65) + keys_partition()[65:]) or "")


def test_neighbours():
    """Secure certificates, app images, partition tables and noise."""
    assert "esp_secure_cert" in (foreign_kind((0xBA5EBA11).to_bytes(4, "little").ljust(8192, b"\xff")) or "")
    assert foreign_kind(b"\xe9" + bytes(8191)) == "an ESP app image"
    assert foreign_kind(b"\xaa\x50" + bytes(4094)) == "a partition table"
    assert "no NVS page" in (foreign_kind(random.Random(2).randbytes(8192)) or "")
    assert foreign_kind(b"text") is None, "its size says more"


def test_encrypted():
    """An encrypted image is an NVS image, with entries that look random and have no right CRC."""
    assert foreign_kind(encrypted()) is None
    assert is_encrypted(encrypted())
    assert not is_encrypted(PLAIN)
    assert not is_encrypted(BLANK * 3)
    assert not is_encrypted(pack([Namespace("one")], 0x3000))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=64)), min_size=1, max_size=6))
def test_damage_is_no_encryption(mutations):
    """An image with damage is neither encrypted nor foreign, as long as something of a page is left."""
    data = bytearray(PLAIN)
    for place, noise in mutations:
        data[place : place + len(noise)] = noise
    data = data[: len(PLAIN)]
    assert foreign_kind(bytes(data)) is None, "the last page is blank"
    assert not is_encrypted(bytes(data))


def test_damaged_entries():
    """Entries that all lost their CRC, but do not look random, are damaged."""
    data = bytearray(pack([Entry("ns", f"k{n}", EntryKind.U8, 1) for n in range(9)], 0x3000))
    for index in range(10):
        data[64 + 32 * index + 4] ^= 1
    assert not is_encrypted(bytes(data))
