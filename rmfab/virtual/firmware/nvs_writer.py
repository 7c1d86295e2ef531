"""The NVS library as firmware on a virtual board uses it: entries are appended to pages in the board's flash.

Format: ESP-IDF, "Non-Volatile Storage Library", section "Internals". It shares only the numbers of the format with
`rmfab.nvs`; the reader there checks what is written here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from rmfab.nvs.table import (
    ENTRIES_OFFSET,
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    PAGE_SIZE,
    EntryKind,
    ItemType,
    PageState,
    PageVersion,
)
from rmfab.virtual.chip.flash import Flash

# Layouts of nvs_page.hpp and nvs_types.hpp: page header (state, sequence, version, reserved, CRC), entry (namespace,
# type, span, chunk index, CRC, key, data), and the data of an entry with a payload (size, reserved, CRC).
_HEADER = struct.Struct("<IIB19sI")
_ITEM = struct.Struct("<BBBBI16s8s")
_SPANNED = struct.Struct("<HHI")
_BITMAP = 32
_WRITTEN, _ERASED, _EMPTY = 0b10, 0b00, 0b11  # two bits per entry; each change only clears bits
_NO_CHUNK = 0xFF  # CHUNK_ANY
_VERSION_STEP = 0x80  # a new blob's chunks start at 0 or 0x80, whichever the old blob does not use
_INTEGERS = {
    EntryKind.U8: ItemType.U8, EntryKind.I8: ItemType.I8, EntryKind.U16: ItemType.U16, EntryKind.I16: ItemType.I16,
    EntryKind.U32: ItemType.U32, EntryKind.I32: ItemType.I32, EntryKind.U64: ItemType.U64, EntryKind.I64: ItemType.I64,
}  # fmt: skip


class NvsFull(Exception):
    """No page has room for this value."""


@dataclass(frozen=True)
class _Found:
    page: int
    index: int
    namespace: int
    type: int
    span: int
    chunk: int
    key: str
    data: bytes


class NvsWriter:
    """One NVS partition of *size* bytes at *offset*. Values have a single chunk, at most 4000 bytes."""

    def __init__(self, flash: Flash, offset: int, size: int) -> None:
        self._flash = flash
        self._offset = offset
        self._pages = size // PAGE_SIZE

    def set_integer(self, namespace: str, key: str, kind: EntryKind, value: int) -> None:
        """Set an integer. Raise NvsFull if there is no room."""
        data = value.to_bytes(kind.width, "little", signed=kind.signed).ljust(8, b"\xff")
        self._replace(namespace, key, [(_INTEGERS[kind], _NO_CHUNK, data, b"")])

    def set_blob(self, namespace: str, key: str, value: bytes) -> None:
        """Set a blob. Raise NvsFull if there is no room."""
        old = [item for item in self._items() if item.key == key and item.type == ItemType.BLOB_INDEX]
        start = _VERSION_STEP if old and old[-1].data[5] == 0 else 0
        index = struct.pack("<IBBH", len(value), 1, start, 0xFFFF)
        data = (ItemType.BLOB_DATA, start, _spanned(value), value)
        self._replace(namespace, key, [data, (ItemType.BLOB_INDEX, _NO_CHUNK, index, b"")])

    def set_string(self, namespace: str, key: str, value: str) -> None:
        """Set a string. Raise NvsFull if there is no room."""
        data = value.encode() + b"\0"
        self._replace(namespace, key, [(ItemType.STRING, _NO_CHUNK, _spanned(data), data)])

    def erase(self, namespace: str, key: str) -> None:
        """Erase the value of a key. Raise NvsFull if there is no room for the namespace's own entry."""
        self._replace(namespace, key, [])

    def erase_all(self) -> None:
        """Erase the partition."""
        self._flash.erase(self._offset, self._pages * PAGE_SIZE)

    def _replace(self, namespace: str, key: str, items: list[tuple[int, int, bytes, bytes]]) -> None:
        """Append *items* (type, chunk, data, payload), then erase the old entries of the key."""
        number = self._namespace(namespace)
        old = [item for item in self._items() if item.namespace == number and item.key == key]
        fresh = [self._append(number, kind, chunk, key, data, payload) for kind, chunk, data, payload in items]
        for item in old:
            if (item.page, item.index) not in fresh:
                self._mark(item.page, item.index, item.span, _ERASED)

    def _namespace(self, name: str) -> int:
        known = {item.key: item.data[0] for item in self._items() if item.namespace == 0}
        if name not in known:
            known[name] = max(known.values(), default=0) + 1
            self._append(0, ItemType.U8, _NO_CHUNK, name, bytes([known[name]]).ljust(8, b"\xff"), b"")
        return known[name]

    def _append(self, namespace: int, kind: int, chunk: int, key: str, data: bytes, payload: bytes) -> tuple[int, int]:
        span = 1 + -(-len(payload) // ENTRY_SIZE)
        page, index = self._room_for(span)
        name = key.encode().ljust(16, b"\0")
        head = struct.pack("<BBBB", namespace, kind, span, chunk)
        crc = _crc(head + name + data)
        entry = _ITEM.pack(namespace, kind, span, chunk, crc, name, data)
        at = self._at(page) + ENTRIES_OFFSET + index * ENTRY_SIZE
        self._flash.program(at, (entry + payload).ljust(span * ENTRY_SIZE, b"\xff"))
        self._mark(page, index, span, _WRITTEN)
        return page, index

    def _room_for(self, span: int) -> tuple[int, int]:
        """Return a page and an index with *span* free entries; open a page if the active one is full."""
        for _ in range(self._pages + 2):
            page = self._active()
            if page is None:
                page = self._open_page()
            states = self._states(page)
            free = next((i for i in range(ENTRIES_PER_PAGE) if all(s == _EMPTY for s in states[i:])), ENTRIES_PER_PAGE)
            if free + span <= ENTRIES_PER_PAGE:
                return page, free
            self._flash.program(self._at(page), PageState.FULL.to_bytes(4, "little"))
        raise NvsFull

    def _open_page(self) -> int:
        """Return a new active page.

        The last blank page is used only to move a full page into it, which is then erased.
        """
        blank = [page for page in range(self._pages) if self._flash.is_blank(self._at(page), PAGE_SIZE)]
        used = [page for page in range(self._pages) if self._used(page)]
        if len(blank) > 1:
            self._begin_page(blank[0])
            return blank[0]
        worst = max(used, key=lambda page: self._states(page).count(_ERASED), default=None)
        if not blank or worst is None or not self._states(worst).count(_ERASED):
            raise NvsFull
        self._begin_page(blank[0])
        self._move(worst, blank[0])
        return blank[0]

    def _begin_page(self, page: int) -> None:
        sequence = 1 + max((self._header(n)[1] for n in range(self._pages) if self._used(n)), default=-1)
        body = struct.pack("<IB19s", sequence, PageVersion.V2, b"\xff" * 19)
        self._flash.program(self._at(page), PageState.ACTIVE.to_bytes(4, "little") + body + _crc_bytes(body))

    def _move(self, source: int, target: int) -> None:
        """Move the live entries of one page to a blank one, and erase the first."""
        index = 0
        for item in self._items_of(source):
            start = self._at(source) + ENTRIES_OFFSET + item.index * ENTRY_SIZE
            at = self._at(target) + ENTRIES_OFFSET + index * ENTRY_SIZE
            self._flash.program(at, self._flash.read(start, item.span * ENTRY_SIZE))
            self._mark(target, index, item.span, _WRITTEN)
            index += item.span
        self._flash.erase(self._at(source), PAGE_SIZE)

    def _active(self) -> int | None:
        """Return the active page with the highest sequence number."""
        pages = [(self._header(n)[1], n) for n in range(self._pages) if self._used(n)]
        active = [pair for pair in pages if self._header(pair[1])[0] == PageState.ACTIVE]
        return max(active)[1] if active else None

    def _items(self) -> list[_Found]:
        pages = sorted((self._header(n)[1], n) for n in range(self._pages) if self._used(n))
        return [item for _, page in pages for item in self._items_of(page)]

    def _items_of(self, page: int) -> Iterator[_Found]:
        states = self._states(page)
        cells = self._flash.read(self._at(page) + ENTRIES_OFFSET, ENTRIES_PER_PAGE * ENTRY_SIZE)
        index = 0
        while index < ENTRIES_PER_PAGE:
            namespace, kind, span, chunk, crc, name, data = _ITEM.unpack_from(cells, index * ENTRY_SIZE)
            head = cells[index * ENTRY_SIZE : index * ENTRY_SIZE + 4]
            sound = states[index] == _WRITTEN and crc == _crc(head + name + data) and span
            if sound:
                key = name.rstrip(b"\0").decode("ascii", "replace")
                yield _Found(page, index, namespace, kind, span, chunk, key, data)
            index += span if sound else 1

    def _at(self, page: int) -> int:
        return self._offset + page * PAGE_SIZE

    def _header(self, page: int) -> tuple[int, int]:
        state, sequence, _, _, _ = _HEADER.unpack(self._flash.read(self._at(page), _HEADER.size))
        return state, sequence

    def _used(self, page: int) -> bool:
        head = self._flash.read(self._at(page), _HEADER.size)
        state, _, _, _, crc = _HEADER.unpack(head)
        return state in (PageState.ACTIVE, PageState.FULL) and crc == _crc(head[4:28])

    def _states(self, page: int) -> list[int]:
        bits = int.from_bytes(self._flash.read(self._at(page) + _HEADER.size, _BITMAP), "little")
        return [bits >> 2 * index & 0b11 for index in range(ENTRIES_PER_PAGE)]

    def _mark(self, page: int, index: int, span: int, state: int) -> None:
        mask = (1 << 8 * _BITMAP) - 1
        for at in range(index, index + span):
            mask &= ~((0b11 ^ state) << 2 * at)
        self._flash.program(self._at(page) + _HEADER.size, mask.to_bytes(_BITMAP, "little"))


def _spanned(value: bytes) -> bytes:
    return _SPANNED.pack(len(value), 0xFFFF, _crc(value))


def _crc(data: bytes) -> int:
    """Return the CRC-32 as esp_rom_crc32_le(UINT32_MAX, …) computes it."""
    return zlib.crc32(data, 0xFFFFFFFF)


def _crc_bytes(data: bytes) -> bytes:
    return _crc(data).to_bytes(4, "little")
