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
from operator import itemgetter
from typing import NamedTuple

from rmfab.errors import InputError
from rmfab.nvs.pages import LOADED, Item, NvsFinding, Page, PageReader, Severity
from rmfab.nvs.table import PAGE_SIZE, Entry, EntryKind, ItemType, PageState, PageVersion, Value, name_complaint

__all__ = ["NvsFinding", "Image", "PageSummary", "Severity", "read_image"]

_NUMBERS = {
    int(ItemType.U8): (EntryKind.U8, struct.Struct("<B")),
    int(ItemType.I8): (EntryKind.I8, struct.Struct("<b")),
    int(ItemType.U16): (EntryKind.U16, struct.Struct("<H")),
    int(ItemType.I16): (EntryKind.I16, struct.Struct("<h")),
    int(ItemType.U32): (EntryKind.U32, struct.Struct("<I")),
    int(ItemType.I32): (EntryKind.I32, struct.Struct("<i")),
    int(ItemType.U64): (EntryKind.U64, struct.Struct("<Q")),
    int(ItemType.I64): (EntryKind.I64, struct.Struct("<q")),
    int(ItemType.FLOAT): (EntryKind.FLOAT, struct.Struct("<f")),
    int(ItemType.DOUBLE): (EntryKind.DOUBLE, struct.Struct("<d")),
}
_STRING, _BLOB_V1 = int(ItemType.STRING), int(ItemType.BLOB_V1)
_BLOB_DATA, _BLOB_INDEX, _NAMESPACE = int(ItemType.BLOB_DATA), int(ItemType.BLOB_INDEX), int(ItemType.U8)
_VERSIONS = {int(PageVersion.V1): 1, int(PageVersion.V2): 2}
_CHUNK_COUNT = 4  # offset of the number of chunks in the data of a BLOB_INDEX item
_INDEX = struct.Struct("<IBB")  # data of a BLOB_INDEX item: size, number of chunks, first chunk index
_NAMESPACE_TABLE, _ANY_NAMESPACE = 0, 255


class PageSummary(NamedTuple):
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
    _values: dict[tuple[str, str], Value] = field(default_factory=dict, repr=False, compare=False)

    def value(self, namespace: str, key: str) -> Value | None:
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


_SECOND_VERSION = 0x80
"""Chunks have numbers from 0 or from 0x80: a blob that is changed toggles between them (`VerOffset`)."""


def _length(chunk: Item) -> int:
    """Return the size of a chunk as its entry says, whether its data are right or not."""
    return chunk.data[0] | chunk.data[1] << 8


_identity = itemgetter(2, 5, 4)  # namespace, key and chunk of an Item: what firmware compares on a page


class _Assembly:
    """The assembly of entries from items: names of namespaces, blobs from chunks, the first item of each name."""

    def __init__(self, pages: Sequence[Page], reader: PageReader) -> None:
        self._reader = reader
        self._pages = pages
        self._names: dict[int, str] = {}
        self._data: list[Item] = []
        self._chunks: dict[tuple[int, bytes, int], Item] = {}  # those that no blob has used yet
        self._may_mismatch = False

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry that firmware reaches."""
        spaces, others, indexed = [], [], 0
        for page in self._pages:
            for item in self._without_older_twins(page):
                if item.type == _BLOB_DATA:
                    self._data.append(item)
                    self._chunks.setdefault((item.namespace, item.key, item.chunk), item)
                elif item.namespace == _NAMESPACE_TABLE:
                    spaces.append(item)
                else:
                    others.append(item)
                    if item.type == _BLOB_INDEX:
                        indexed += item.data[_CHUNK_COUNT]
        self._may_mismatch = indexed != len(self._data)
        self._name_namespaces(spaces)
        found = [entry for item in self._visible(others) if (entry := self._entry(item)) is not None]
        self._look_for_orphans()
        return tuple(found)

    def _without_older_twins(self, page: Page) -> list[Item]:
        """Return the items of a page; of two with one name on an active page only the later one, as firmware does."""
        items = page.items
        if page.state is not PageState.ACTIVE or len({_identity(item) for item in items}) == len(items):
            return items
        latest = {_identity(item): item for item in items}
        for item in items:
            later = latest[_identity(item)]
            if later is not item:
                self._report_twin(item, later, page)
        return [item for item in items if latest[_identity(item)] is item]

    def _report_twin(self, item: Item, later: Item, page: Page) -> None:
        """Report *item*, which *later* replaces on the same page.

        It is what a power cut leaves only if *later* was the last that was written.
        """
        if item.namespace == _NAMESPACE_TABLE:
            text = f"{_name(item)} is twice on this page; firmware keeps the later one"
            self._reader.error("duplicate-namespace", text, item.page, item.entry)
        elif later is page.items[-1] and page is self._pages[-1]:
            text = f"{_name(item)} is replaced by entry {later.entry} of this page; firmware erases it"
            self._reader.warn("superseded", text, item.page, item.entry)
        else:
            text = f"{_name(item)} is twice on this page; firmware keeps the later one"
            self._reader.error("duplicate-item", text, item.page, item.entry)

    def _name_namespaces(self, items: Sequence[Item]) -> None:
        indexes: dict[str, int] = {}
        for item in items:
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

    def _visible(self, items: list[Item]) -> list[Item]:
        """Return those of *items* that firmware finds by their names."""
        if len({(item.namespace, item.key) for item in items}) == len(items):
            return items
        return self._found_by_type(items)

    def _found_by_type(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that firmware finds of *items*, of which some have the same name.

        It asks for a name and a type. On a page it finds only the first item of a name, whatever its type; of several
        pages it takes the first where the type is right too. A blob of format 1 is found if there is none of format 2.
        """
        on_page: dict[tuple[int, int, bytes], Item] = {}
        found: dict[tuple[int, bytes], dict[int, Item]] = {}
        repeats: dict[int, int] = {}
        for item in items:
            same = found.setdefault((item.namespace, item.key), {})
            earlier = on_page.setdefault((item.page, item.namespace, item.key), item)
            if earlier is item:
                earlier = same.setdefault(item.type, item)
            if earlier is item:
                continue
            text = f"{_name(item)} is already on page {earlier.page} entry {earlier.entry}"
            self._reader.error("duplicate-item", text, item.page, item.entry)
            if earlier.page != item.page:
                repeats[item.page] = repeats.get(item.page, 0) + 1
        for page, count in repeats.items():
            text = f"repeats {count} item(s) of earlier pages; it may be from an older image"
            self._reader.error("stale-page", text, page)
        return [item for same in found.values() for item in self._of_one_name(same)]

    def _of_one_name(self, same: dict[int, Item]) -> list[Item]:
        """Return the items that firmware finds of those with one name, by their types."""
        if _BLOB_INDEX in same and (old := same.pop(_BLOB_V1, None)) is not None:
            new = same[_BLOB_INDEX]
            text = f"{_name(old)} is also a blob of format 2 on page {new.page} entry {new.entry}, which firmware reads"
            self._reader.error("duplicate-item", text, old.page, old.entry)
        items = list(same.values())
        for other in items[1:]:
            first = items[0]
            text = (
                f"{_name(other)} has a different type on page {first.page} entry {first.entry}; firmware reads the one "
                "of the type that it asks for"
            )
            self._reader.warn("two-types", text, other.page, other.entry)
        return items

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

    def _value(self, item: Item) -> tuple[EntryKind, Value] | None:
        if item.type == _BLOB_INDEX:
            blob = self._blob(item)
            return None if blob is None else (EntryKind.BLOB, blob)
        number = _NUMBERS.get(item.type)
        if number is not None:
            kind, layout = number
            return kind, layout.unpack_from(item.data)[0]
        if item.payload is None:
            return None
        if item.type == _BLOB_V1:
            return EntryKind.BLOB, item.payload
        text = self._text(item, item.payload)
        return None if text is None else (EntryKind.STRING, text)

    def _text(self, item: Item, payload: bytes) -> str | bytes | None:
        if payload[-1:] != b"\0":
            self._reader.error("string-end", f"{_name(item)} is a string without a closing NUL", item.page, item.entry)
            return None
        try:
            return payload[:-1].decode()
        except UnicodeDecodeError:
            self._reader.warn("string-utf8", f"{_name(item)} is a string that is not UTF-8", item.page, item.entry)
            return payload[:-1]

    def _blob(self, item: Item) -> bytes | None:
        size, count, start = _INDEX.unpack_from(item.data)
        pieces = []
        length = 0
        for number in range(start, start + count):
            chunk = self._chunks.pop((item.namespace, item.key, number), None)
            if chunk is not None:
                length += _length(chunk)
                pieces.append(chunk.payload)
        if (self._may_mismatch or len(pieces) != count or length != size) and self._is_mismatch(item):
            return None
        whole = [piece for piece in pieces if piece is not None]
        if len(whole) != count:
            return None
        return whole[0] if count == 1 else b"".join(whole)

    def _is_mismatch(self, item: Item) -> bool:
        """Return whether an index does not match the chunks of its version, and report it.

        Source: nvs_storage.cpp, `eraseMismatchedBlobIndexes`, since ESP-IDF 5.3.
        """
        size, count, start = _INDEX.unpack_from(item.data)
        mine = (item.namespace, item.key, start >= _SECOND_VERSION)
        family = [one for one in self._data if (one.namespace, one.key, one.chunk >= _SECOND_VERSION) == mine]
        length = sum(map(_length, family))
        if (len(family), length) == (count, size):
            return False
        text = (
            f"{_name(item)} is a blob of {size} bytes in {count} chunk(s), its chunks are {len(family)} with "
            f"{length} bytes; firmware of ESP-IDF 5.3 and later erases it"
        )
        kind = "blob-size" if len(family) == count else "blob-chunk"
        self._reader.error(kind, text, item.page, item.entry)
        for one in family:
            self._chunks.pop(_identity(one), None)
        return True

    def _look_for_orphans(self) -> None:
        for item in self._chunks.values():
            text = f"{_name(item)} is a chunk without a blob; firmware erases it"
            self._reader.warn("orphan-chunk", text, item.page, item.entry)
