"""The writer of NVS pages: places items one after the other, as Espressif's generator does, so that the bytes agree.

Source of the format: ESP-IDF, API reference "Non-Volatile Storage Library", sections "Structure of a Page", "Structure
of Entry", "CRC32"; of the placement: components/nvs_flash/src/nvs_storage.cpp (`writeMultiPageBlob`), and
esp_idf_nvs_partition_gen 0.3.0 where that differs: a string or a blob of format 1 never fills the last entry of a page,
and a blob of format 2 starts on any page with a free entry, even if its first chunk is empty.
"""

from __future__ import annotations

import struct
from functools import cache
from zlib import crc32

from rmfab.nvs.table import (
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    PAGE_SIZE,
    ItemType,
    PageState,
    PageVersion,
)

_CRC_SEED = 0xFFFFFFFF
_NO_CHUNK = 0xFF
"""The chunk index of every item but a chunk (`Item::CHUNK_ANY`)."""

_FIRST_CHUNK = 0x00
"""The number of a blob's first chunk when it is first written (`VerOffset::VER_0_OFFSET`)."""

_LENGTH_AND_CRC = struct.Struct("<HHI")  # size, reserved, CRC32 of the payload
_BLOB_INDEX = struct.Struct("<IBBH")  # size, number of chunks, first chunk, reserved
_HEADER = struct.Struct("<IB19s")  # sequence number, version, unused
_RESERVED = 0xFFFF

_NAMESPACE_TYPE, _STRING_TYPE, _BLOB_V1_TYPE = int(ItemType.U8), int(ItemType.STRING), int(ItemType.BLOB_V1)
_DATA_TYPE, _INDEX_TYPE = int(ItemType.BLOB_DATA), int(ItemType.BLOB_INDEX)


class PageWriter:
    """Writer of pages of one format *version*. *pages* are those that are full, the last one is open."""

    def __init__(self, version: PageVersion) -> None:
        self._version = version
        self._pages: list[bytes] = []
        self._pieces: list[bytes] = []
        self._used = 0

    @property
    def page_count(self) -> int:
        """The number of pages that have items."""
        return len(self._pages) + 1

    def image(self, size: int) -> bytes:
        """Return all pages, followed by blank ones up to *size* bytes."""
        return b"".join((*self._pages, self._page(PageState.ACTIVE))).ljust(size, b"\xff")

    def add_single(self, namespace: int, kind: int, key: bytes, data: bytes) -> None:
        """Add an item of one entry: an integer with its little-endian *data*, or a namespace with its index."""
        self._make_room(1, ENTRIES_PER_PAGE)
        self._put(namespace, kind, 1, _NO_CHUNK, key, data.ljust(8, b"\xff"))

    def add_string(self, namespace: int, key: bytes, text: bytes) -> None:
        """Add a string with its closing NUL."""
        self._add_whole(namespace, _STRING_TYPE, key, text)

    def add_blob(self, namespace: int, key: bytes, blob: bytes) -> None:
        """Add a blob; in format 2 in as many chunks as pages need, and an index."""
        if self._version is PageVersion.V1:
            self._add_whole(namespace, _BLOB_V1_TYPE, key, blob)
            return
        self._make_room(1, ENTRIES_PER_PAGE)
        chunks = offset = 0
        while True:
            room = (ENTRIES_PER_PAGE - self._used - 1) * ENTRY_SIZE
            piece = blob[offset : offset + room]
            self._put_long(namespace, _DATA_TYPE, _FIRST_CHUNK + chunks, key, piece)
            chunks += 1
            offset += len(piece)
            if offset < len(blob) or room - len(piece) < ENTRY_SIZE:
                self._turn()
            if offset >= len(blob):
                break
        index = _BLOB_INDEX.pack(len(blob), chunks, _FIRST_CHUNK, _RESERVED)
        self._put(namespace, _INDEX_TYPE, 1, _NO_CHUNK, key, index)

    def _add_whole(self, namespace: int, kind: int, key: bytes, payload: bytes) -> None:
        self._make_room(1 + _entries(len(payload)), ENTRIES_PER_PAGE - 1)
        self._put_long(namespace, kind, _NO_CHUNK, key, payload)

    def _put_long(self, namespace: int, kind: int, chunk: int, key: bytes, payload: bytes) -> None:
        entries = _entries(len(payload))
        data = _LENGTH_AND_CRC.pack(len(payload), _RESERVED, crc32(payload, _CRC_SEED))
        self._put(namespace, kind, 1 + entries, chunk, key, data)
        self._pieces.append(payload.ljust(entries * ENTRY_SIZE, b"\xff"))

    def _put(self, namespace: int, kind: int, span: int, chunk: int, key: bytes, data: bytes) -> None:
        head = bytes((namespace, kind, span, chunk))
        body = key.ljust(16, b"\0") + data
        self._pieces.append(head + crc32(body, crc32(head, _CRC_SEED)).to_bytes(4, "little") + body)
        self._used += span

    def _make_room(self, entries: int, most: int) -> None:
        if self._used + entries > most:
            self._turn()

    def _turn(self) -> None:
        self._pages.append(self._page(PageState.FULL))
        self._pieces = []
        self._used = 0

    def _page(self, state: PageState) -> bytes:
        head = _head(state, len(self._pages), self._version)
        return b"".join((head, _BITMAPS[self._used], *self._pieces)).ljust(PAGE_SIZE, b"\xff")


@cache
def _head(state: PageState, sequence: int, version: PageVersion) -> bytes:
    checked = _HEADER.pack(sequence, version, b"\xff" * 19)
    return state.to_bytes(4, "little") + checked + crc32(checked, _CRC_SEED).to_bytes(4, "little")


def _entries(size: int) -> int:
    return (size + ENTRY_SIZE - 1) // ENTRY_SIZE


# The entry state bitmaps for 0 to 126 written entries: 0b10 is written, 0b11 is empty (see `pages.py`).
_BITMAPS = tuple(
    int("11" * (128 - written) + "10" * written, 2).to_bytes(ENTRY_SIZE, "little")
    for written in range(ENTRIES_PER_PAGE + 1)
)
