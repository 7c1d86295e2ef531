"""The reader of one NVS page, as firmware loads it: header, entry states, and items with both CRCs.

Nothing here raises: each problem becomes a finding, and what firmware does not see is left out.
Source: ESP-IDF, API reference "Non-Volatile Storage Library", sections "Structure of a Page" and "Structure of Entry";
components/nvs_flash/src/nvs_page.cpp (`Page::load`, `Page::mLoadEntryTable`), nvs_types.hpp (`Item`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import NamedTuple
from zlib import crc32

from rmfab.nvs.table import (
    ENTRIES_OFFSET,
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    MAX_NAME_LENGTH,
    PAGE_SIZE,
    ItemType,
    PageState,
    PageVersion,
)

CRC_SEED = 0xFFFFFFFF

_BLANK_PAGE = b"\xff" * PAGE_SIZE
_BLANK_ENTRY_HEAD = b"\xff\xff\xff\xff"
_HEADER = struct.Struct("<IIB19xI")  # state, sequence number, version, unused, CRC32
_ITEM = struct.Struct("<BBBBI16s8s")  # namespace, type, span, chunk index, CRC32, key, data
_LENGTH_AND_CRC = struct.Struct("<H2xI")  # data of an item with a payload: its size, reserved, its CRC32

# The two bits per entry in the entry state bitmap, at offset 32 of a page.
_EMPTY, _WRITTEN, _ERASED = 0b11, 0b10, 0b00
_ALL_WRITTEN = int("10" * 128, 2)

_LOW_BITS = int("01" * ENTRIES_PER_PAGE, 2)

_TYPES = {int(item_type) for item_type in ItemType}
_make = tuple.__new__
_SINGLE = _TYPES - {ItemType.STRING, ItemType.BLOB_V1, ItemType.BLOB_DATA}
_WITH_PAYLOAD = {int(ItemType.STRING), int(ItemType.BLOB_V1), int(ItemType.BLOB_DATA)}
_BLOB_DATA, _BLOB_INDEX = int(ItemType.BLOB_DATA), int(ItemType.BLOB_INDEX)
_NO_CHUNK = 0xFF
"""The chunk index of every item but a chunk (`Item::CHUNK_ANY`)."""
_STATES = {int(state): state for state in PageState}
LOADED = (PageState.ACTIVE, PageState.FULL, PageState.FREEING)
"""The states in which firmware reads a page's items."""


@unique
class Severity(Enum):
    """The severity of a finding. With an error, firmware loses or confuses data; with a warning, it does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class NvsFinding:
    """A problem in an image. *page* and *entry* count from 0, in flash order.

    *kind* is a stable name such as `data-crc`.
    """

    severity: Severity
    kind: str
    text: str
    page: int | None = None
    entry: int | None = None

    @property
    def place(self) -> str:
        """`page N entry M`, `page N`, or empty for the whole image."""
        parts = [] if self.page is None else [f"page {self.page}"]
        if self.entry is not None:
            parts.append(f"entry {self.entry}")
        return " ".join(parts)

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


class Item(NamedTuple):
    """One item of a page. *payload* is its string or chunk, None if it has none or the CRC is wrong."""

    page: int
    entry: int
    namespace: int
    type: int
    chunk: int
    key: bytes
    data: bytes
    payload: bytes | None


@dataclass(slots=True)
class Page:
    """A page and its items. *state* is CORRUPT if firmware would erase the page."""

    number: int
    state: PageState
    sequence: int = 0
    version: int = int(PageVersion.V2)
    items: list[Item] = field(default_factory=list)
    written: int = 0
    erased: int = 0


class PageReader:
    """The reader of pages. It collects the findings."""

    def __init__(self) -> None:
        self.findings: list[NvsFinding] = []

    def load(self, number: int, data: bytes) -> Page:
        """Return page *number* of the flash from *data*, its 4096 bytes."""
        if data == _BLANK_PAGE:
            return Page(number, PageState.UNINITIALIZED)
        word, sequence, version, crc = _HEADER.unpack_from(data)
        page = Page(number, _STATES.get(word, PageState.INVALID), sequence, version)
        if word == PageState.UNINITIALIZED:
            self._corrupt(page, "page-not-blank", "has no header but is not blank; firmware will erase it")
        elif crc32(data[4:28], CRC_SEED) != crc:
            self._corrupt(page, "page-crc", "has a wrong header CRC; firmware ignores it and will erase it")
        elif page.state not in LOADED:
            self._corrupt(page, "page-state", f"has the unknown state {word:#010x}; firmware will erase it")
        elif version not in (PageVersion.V1, PageVersion.V2):
            self.error("page-version", f"has format version {version:#04x}; firmware rejects the partition", number)
        else:
            self._load_items(page, data)
        return page

    def _corrupt(self, page: Page, kind: str, text: str) -> None:
        page.state = PageState.CORRUPT
        self.error(kind, text, page.number)

    def _load_items(self, page: Page, data: bytes) -> None:
        states = int.from_bytes(data[32:64], "little")
        end = self._end(page, data, states)
        run_end = 0
        index = 0
        while index < end:
            state = states >> 2 * index & 3
            if state == _WRITTEN:
                if index >= run_end:
                    run_end = _end_of_run(states, index)
                step = self._load_item(page, data, index, run_end)
                page.written += step
                index += step
                continue
            if state == _ERASED:
                page.erased += 1
            elif state != _EMPTY:
                self.error("entry-state", "has an impossible state", page.number, index)
            index += 1

    def _end(self, page: Page, data: bytes, states: int) -> int:
        """Return the entry at which the items end. On an active page, firmware stops at the first empty entry."""
        if page.state is not PageState.ACTIVE:
            return ENTRIES_PER_PAGE
        empty = states & states >> 1 & _LOW_BITS
        end = ((empty & -empty).bit_length() - 1) // 2 if empty else ENTRIES_PER_PAGE
        if end < ENTRIES_PER_PAGE:
            start = ENTRIES_OFFSET + end * ENTRY_SIZE
            if data[start : start + 4] != _BLANK_ENTRY_HEAD:
                self.warn("half-written", "was half written when power failed; firmware drops it", page.number, end)
            self._look_behind(page, states, end)
        return end

    def _look_behind(self, page: Page, states: int, end: int) -> None:
        rest = states >> 2 * end
        left = ENTRIES_PER_PAGE - end
        if rest & ((1 << 2 * left) - 1) == (1 << 2 * left) - 1:
            return
        for index in range(end, ENTRIES_PER_PAGE):
            if states >> 2 * index & 3 == _WRITTEN:
                self.error(
                    "entry-after-end", "is written after the first empty entry; firmware misses it", page.number, index
                )
                return

    def _load_item(self, page: Page, data: bytes, index: int, run_end: int) -> int:
        """Load the item at *index*, and return the number of its entries, 1 if it is wrong.

        *run_end* is the first entry after it that is not written.
        """
        start = ENTRIES_OFFSET + index * ENTRY_SIZE
        span: int
        namespace, kind, span, chunk, crc, key, value = _ITEM.unpack_from(data, start)
        end = start + ENTRY_SIZE
        if crc32(data[start + 8 : end], crc32(data[start : start + 4], CRC_SEED)) != crc:
            self.error("entry-crc", "has a wrong CRC; firmware drops it", page.number, index)
            return 1
        payload = None
        if kind in _WITH_PAYLOAD and 1 <= span <= run_end - index and (kind != _BLOB_DATA or chunk != _NO_CHUNK):
            length, payload_crc = _LENGTH_AND_CRC.unpack(value)
            payload = data[end : end + length]
            if span != 1 + (length + ENTRY_SIZE - 1) // ENTRY_SIZE or crc32(payload, CRC_SEED) != payload_crc:
                self._report_payload(page, index, span, length)
                payload = None
        elif span != 1 or kind not in _SINGLE or (kind == _BLOB_INDEX and chunk != _NO_CHUNK):
            self.error("entry-shape", _shape_complaint(kind, span, index, chunk), page.number, index)
            return 1
        name = key.rstrip(b"\0")
        if b"\0" in name or len(name) > MAX_NAME_LENGTH:
            name = key[:MAX_NAME_LENGTH].partition(b"\0")[0]
        item = (page.number, index, namespace, kind, chunk, name, value, payload)
        page.items.append(_make(Item, item))
        return span

    def _report_payload(self, page: Page, index: int, span: int, length: int) -> None:
        """Report why an item has no payload."""
        if span != 1 + (length + ENTRY_SIZE - 1) // ENTRY_SIZE:
            text = f"has {length} bytes but spans {span} entries; firmware drops it"
            self.error("entry-shape", text, page.number, index)
        else:
            self.error("data-crc", "has data with a wrong CRC; firmware drops it", page.number, index)

    def error(self, kind: str, text: str, page: int | None = None, entry: int | None = None) -> None:
        """Add a finding that makes firmware lose or confuse data."""
        self.findings.append(NvsFinding(Severity.ERROR, kind, text, page, entry))

    def warn(self, kind: str, text: str, page: int | None = None, entry: int | None = None) -> None:
        """Add a finding that does not make firmware lose data."""
        self.findings.append(NvsFinding(Severity.WARNING, kind, text, page, entry))


def is_page(data: bytes) -> bool:
    """Return whether *data* is a page, blank or not, or at least the rest of one: its state and version are known."""
    if data == _BLANK_PAGE:
        return True
    if len(data) < PAGE_SIZE:
        return False
    word, _, version, crc = _HEADER.unpack_from(data)
    return crc32(data[4:28], CRC_SEED) == crc or (word in _STATES and version in (PageVersion.V1, PageVersion.V2))


def _end_of_run(states: int, index: int) -> int:
    """Return the first entry after *index* that is not written."""
    other = states >> 2 * index ^ _ALL_WRITTEN
    return min(index + ((other & -other).bit_length() - 1) // 2, ENTRIES_PER_PAGE)


def _shape_complaint(kind: int, span: int, index: int, chunk: int) -> str:
    if kind not in _TYPES:
        return f"has the unknown type {kind:#04x}; firmware drops it"
    if kind in _SINGLE and span != 1:
        return f"spans {span} entries, its type only one"
    if (kind == _BLOB_INDEX) != (chunk == _NO_CHUNK) and kind in (_BLOB_DATA, _BLOB_INDEX):
        return f"has the chunk index {chunk:#04x}, which its type cannot have; firmware drops it"
    if not 1 <= span <= ENTRIES_PER_PAGE - index:
        return f"spans {span} entries, past the end of its page"
    return "is only partly written; firmware drops it"
