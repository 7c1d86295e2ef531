"""The reader of NVS images: sees what firmware sees, and shares no code with the packer.

Pages are read in the order of their sequence numbers, and repaired in memory as firmware repairs them when it opens
a partition for writing. Each problem becomes a finding; no content makes the reader raise.
Source: components/nvs_flash/src/nvs_pagemanager.cpp (`PageManager::load`), nvs_storage.cpp (`Storage::init`,
`findItem`, `readMultiPageBlob`), nvs_types.hpp.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rmfab.errors import InputError
from rmfab.nvs.pages import LOADED, Item, NvsFinding, Page, PageReader, Severity
from rmfab.nvs.table import PAGE_SIZE, Entry, EntryKind, ItemType, PageState, PageVersion, name_complaint

__all__ = ["NvsFinding", "Image", "PageSummary", "Severity", "read_image"]

_INTEGERS = {
    int(ItemType.U8): (EntryKind.U8, struct.Struct("<B")),
    int(ItemType.I8): (EntryKind.I8, struct.Struct("<b")),
    int(ItemType.U16): (EntryKind.U16, struct.Struct("<H")),
    int(ItemType.I16): (EntryKind.I16, struct.Struct("<h")),
    int(ItemType.U32): (EntryKind.U32, struct.Struct("<I")),
    int(ItemType.I32): (EntryKind.I32, struct.Struct("<i")),
    int(ItemType.U64): (EntryKind.U64, struct.Struct("<Q")),
    int(ItemType.I64): (EntryKind.I64, struct.Struct("<q")),
}
_STRING, _BLOB_V1 = int(ItemType.STRING), int(ItemType.BLOB_V1)
_BLOB_DATA, _BLOB_INDEX, _NAMESPACE = int(ItemType.BLOB_DATA), int(ItemType.BLOB_INDEX), int(ItemType.U8)
_VERSIONS = {int(PageVersion.V1): 1, int(PageVersion.V2): 2}
_INDEX = struct.Struct("<IBB")  # data of a BLOB_INDEX item: size, number of chunks, first chunk index
_NAMESPACE_TABLE, _ANY_NAMESPACE = 0, 255


@dataclass(frozen=True, slots=True)
class PageSummary:
    """A page, in flash order. *version* is 1 or 2, 0 if unknown. *written* and *erased* count its 126 entries."""

    number: int
    state: PageState
    sequence: int
    version: int
    written: int
    erased: int


@dataclass(frozen=True, slots=True)
class Image:
    """The content of an image.

    *entries* are those that firmware reaches, in flash order. *mountable* is False if firmware would reject the whole
    partition; *entries* are then those that it would reach otherwise.
    """

    entries: tuple[Entry, ...]
    findings: tuple[NvsFinding, ...]
    pages: tuple[PageSummary, ...]
    mountable: bool = True
    _values: dict[tuple[str, str], int | str | bytes] = field(default_factory=dict, repr=False, compare=False)

    def value(self, namespace: str, key: str) -> int | str | bytes | None:
        """Return the value that firmware reads, None if it finds none or rejects the partition."""
        if not self.mountable:
            return None
        if not self._values:
            self._values.update({(entry.namespace, entry.key): entry.value for entry in self.entries})
        return self._values.get((namespace, key))

    @property
    def sound(self) -> bool:
        """Whether there are no errors among the findings."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def read_image(image: bytes) -> Image:
    """Decode *image*. Raise InputError if its size is not a multiple of 4096 bytes."""
    if len(image) % PAGE_SIZE or not image:
        raise InputError(
            f"wrong size of an NVS image: {len(image)} bytes",
            hint=f"use an image as large as its partition, a multiple of {PAGE_SIZE} bytes",
            cause="nvs-size",
        )
    reader = PageReader()
    pages = [
        reader.load(number, image[start : start + PAGE_SIZE])
        for number, start in enumerate(range(0, len(image), PAGE_SIZE))
    ]
    mounted, mountable = _mount(pages, reader)
    entries = _Assembly(mounted, reader).entries()
    return Image(entries, tuple(reader.findings), tuple(map(_summary, pages)), mountable)


def _summary(page: Page) -> PageSummary:
    version = _VERSIONS.get(page.version, 0) if page.state in LOADED else 0
    return PageSummary(page.number, page.state, page.sequence, version, page.written, page.erased)


def _mount(pages: Sequence[Page], reader: PageReader) -> tuple[list[Page], bool]:
    """Return the pages that firmware uses, in its order, and whether it opens the partition."""
    used = sorted((page for page in pages if page.state in LOADED), key=lambda page: page.sequence)
    mountable = all(page.version in _VERSIONS for page in used)
    for earlier, later in pairwise(used):
        if earlier.sequence == later.sequence:
            text = f"has the sequence number {later.sequence} of page {earlier.number}; one is from an older image"
            reader.error("stale-page", text, later.number)
        if earlier.state is PageState.ACTIVE:
            text = f"is active although page {later.number} follows it; one may be from an older image"
            reader.warn("active-page", text, earlier.number)
    _erase_superseded(used, reader)
    used = _finish_freeing(used, reader)
    if used and len(used) == len(pages):
        if len(pages) * PAGE_SIZE >= 3 * PAGE_SIZE:
            reader.error("no-free-page", "no page is free; firmware rejects the partition")
            mountable = False
        else:
            reader.warn("no-free-page", "no page is free; firmware opens the partition for reading only")
    return used, mountable


def _erase_superseded(used: Sequence[Page], reader: PageReader) -> None:
    """Drop the item that the last item of the last page replaces, as firmware does after a power cut."""
    if not used or not used[-1].items:
        return
    last = used[-1].items[-1]
    kinds = (last.type, _BLOB_V1) if last.type == _BLOB_INDEX else (last.type,)
    for kind in kinds:
        for page in used[:-1]:
            for item in page.items:
                same = (item.namespace, item.key, item.type) == (last.namespace, last.key, kind)
                if same and page.state is not PageState.FREEING and (kind != _BLOB_DATA or item.chunk == last.chunk):
                    page.items.remove(item)
                    text = f"{_name(item)} is replaced by entry {last.entry} of page {last.page}; firmware erases it"
                    reader.warn("superseded", text, item.page, item.entry)
                    return


def _finish_freeing(used: list[Page], reader: PageReader) -> list[Page]:
    """Move the content of a page that was being freed to the end, as firmware does after a power cut."""
    for freeing in used:
        if freeing.state is PageState.FREEING:
            reader.warn("freeing-page", "was being freed when power failed; firmware moves its entries", freeing.number)
            rest = [page for page in used if page is not freeing]
            if rest and rest[-1].state is PageState.ACTIVE and used[-1] is rest[-1]:
                rest.pop()
            return [*rest, freeing]
    return used


def _name(item: Item) -> str:
    return f'"{item.key.decode("ascii", "backslashreplace")}"'


class _Assembly:
    """The assembly of entries from items: names of namespaces, blobs from chunks, the first item of each name."""

    def __init__(self, pages: Sequence[Page], reader: PageReader) -> None:
        self._reader = reader
        self._pages = pages
        self._items = [item for page in pages for item in page.items]
        self._names: dict[int, str] = {}
        self._chunks: dict[tuple[int, bytes, int], Item] = {}
        self._claimed: set[tuple[int, bytes, int]] = set()

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry that firmware reaches."""
        self._drop_older_twins()
        self._name_namespaces()
        self._chunks = {}
        for item in self._items:
            if item.type == _BLOB_DATA:
                self._chunks.setdefault((item.namespace, item.key, item.chunk), item)
        found = [entry for item in self._visible() if (entry := self._entry(item)) is not None]
        self._look_for_orphans()
        return tuple(found)

    def _drop_older_twins(self) -> None:
        """Drop the earlier of two items with one name on an active page, as firmware does."""
        for page in self._pages:
            if page.state is not PageState.ACTIVE:
                continue
            latest: dict[tuple[int, bytes, int], Item] = {}
            for item in page.items:
                latest[item.namespace, item.key, item.chunk] = item
            if len(latest) == len(page.items):
                continue
            kept = set(map(id, latest.values()))
            for item in page.items:
                if id(item) not in kept:
                    kind = "duplicate-item" if item.namespace != _NAMESPACE_TABLE else "duplicate-namespace"
                    text = f"{_name(item)} is twice on this page; firmware keeps the later one"
                    self._reader.error(kind, text, item.page, item.entry)
            self._items = [item for item in self._items if item.page != page.number or id(item) in kept]

    def _name_namespaces(self) -> None:
        indexes: dict[str, int] = {}
        for item in self._items:
            if item.namespace != _NAMESPACE_TABLE:
                continue
            name = item.key.decode("ascii", "backslashreplace")
            index = item.data[0]
            if item.type != _NAMESPACE or index in (_NAMESPACE_TABLE, _ANY_NAMESPACE) or name_complaint(name):
                self._reader.error("namespace-entry", f"{_name(item)} is not a namespace", item.page, item.entry)
            elif name in indexes:
                text = f'namespace "{name}" has two indexes, {indexes[name]} and {index}; firmware uses the first'
                self._reader.error("duplicate-namespace", text, item.page, item.entry)
            elif index in self._names:
                text = f'namespaces "{self._names[index]}" and "{name}" share the index {index}'
                self._reader.error("duplicate-namespace", text, item.page, item.entry)
            else:
                indexes[name] = index
                self._names[index] = name

    def _visible(self) -> list[Item]:
        """Return the first item of each name, without chunks and namespaces."""
        first: dict[tuple[int, bytes], Item] = {}
        repeats: dict[int, int] = {}
        for item in self._items:
            if item.type == _BLOB_DATA or item.namespace == _NAMESPACE_TABLE:
                continue
            earlier = first.setdefault((item.namespace, item.key), item)
            if earlier is not item:
                text = f"{_name(item)} is already on page {earlier.page} entry {earlier.entry}"
                self._reader.error("duplicate-item", text, item.page, item.entry)
                if earlier.page != item.page:
                    repeats[item.page] = repeats.get(item.page, 0) + 1
        for page, count in repeats.items():
            text = f"repeats {count} item(s) of earlier pages; it may be from an older image"
            self._reader.error("stale-page", text, page)
        return list(first.values())

    def _entry(self, item: Item) -> Entry | None:
        namespace = self._names.get(item.namespace)
        if namespace is None:
            text = f"{_name(item)} is in namespace {item.namespace}, which has no name; firmware cannot reach it"
            self._reader.error("no-namespace", text, item.page, item.entry)
            return None
        value = self._value(item)
        if value is None:
            return None
        kind, content = value
        try:
            return Entry(namespace, item.key.decode("ascii", "backslashreplace"), kind, content)
        except InputError as error:
            self._reader.warn("odd-entry", f"{error.what}; skipped", item.page, item.entry)
            return None

    def _value(self, item: Item) -> tuple[EntryKind, int | str | bytes] | None:
        integer = _INTEGERS.get(item.type)
        if integer is not None:
            kind, layout = integer
            return kind, layout.unpack_from(item.data)[0]
        if item.type == _BLOB_INDEX:
            blob = self._blob(item)
            return None if blob is None else (EntryKind.BLOB, blob)
        if item.payload is None:
            return None
        if item.type == _BLOB_V1:
            return EntryKind.BLOB, item.payload
        text = self._text(item, item.payload)
        return None if text is None else (EntryKind.STRING, text)

    def _text(self, item: Item, payload: bytes) -> str | None:
        if payload[-1:] != b"\0":
            self._reader.error("string-end", f"{_name(item)} is a string without a closing NUL", item.page, item.entry)
            return None
        try:
            return payload[:-1].decode()
        except UnicodeDecodeError:
            self._reader.warn(
                "string-utf8", f"{_name(item)} is a string that is not UTF-8; skipped", item.page, item.entry
            )
            return None

    def _blob(self, item: Item) -> bytes | None:
        size, count, start = _INDEX.unpack_from(item.data)
        chunks = []
        for number in range(start, start + count):
            name = (item.namespace, item.key, number)
            chunk = self._chunks.get(name)
            if chunk is None:
                text = f"{_name(item)} is a blob; its chunk {number - start + 1} of {count} is missing"
                self._reader.error("blob-chunk", text, item.page, item.entry)
                return None
            self._claimed.add(name)
            if chunk.payload is None:
                return None
            chunks.append(chunk.payload)
        blob = chunks[0] if count == 1 else b"".join(chunks)
        if len(blob) != size:
            text = f"{_name(item)} is a blob of {size} bytes, its chunks have {len(blob)}"
            self._reader.error("blob-size", text, item.page, item.entry)
            return None
        return blob

    def _look_for_orphans(self) -> None:
        if len(self._claimed) == len(self._chunks):
            return
        for name, item in self._chunks.items():
            if name not in self._claimed:
                text = f"{_name(item)} is a chunk without a blob; firmware erases it"
                self._reader.warn("orphan-chunk", text, item.page, item.entry)
