"""The packer of NVS images. Its bytes are those of Espressif's esp_idf_nvs_partition_gen, against which tests compare.

Unlike there, a namespace may be opened again, and a duplicate key is an error. Each image is read back with our own
reader, which shares no code with the packer, before it is returned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from rmfab.errors import InputError, IntegrityError
from rmfab.nvs.page_writer import PageWriter
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import (
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    INTEGER_KINDS,
    MAX_BLOB_BYTES,
    MAX_BLOB_BYTES_V1,
    MAX_NAMESPACES,
    MIN_PARTITION_SIZE,
    PAGE_SIZE,
    Entry,
    EntryKind,
    ItemType,
    Namespace,
    PageVersion,
    Value,
)

LARGEST_STRING = (ENTRIES_PER_PAGE - 2) * ENTRY_SIZE - 1
"""The largest string in bytes: the generator never lets a string fill a page to its last entry."""

_INTEGERS: dict[EntryKind, tuple[int, int, bool]] = {
    kind: (int(ItemType[kind.name]), kind.width, kind.signed) for kind in INTEGER_KINDS
}
_FLOATS = {EntryKind.FLOAT: (int(ItemType.FLOAT), "<f"), EntryKind.DOUBLE: (int(ItemType.DOUBLE), "<d")}
_NAMESPACE_TABLE = 0


def pack(items: Sequence[Entry | Namespace], size: int, version: PageVersion = PageVersion.V2) -> bytes:
    """Return an NVS image of exactly *size* bytes with the *items* in order.

    A namespace is created at its `Namespace` or its first entry; entries of several namespaces may be interleaved.
    Raise InputError if *size* is not that of a partition, a key is duplicate, or an item or all items do not fit,
    IntegrityError if the packed image does not read back as *items*.
    """
    image = _pack(items, size, version)
    _judge_image(image, items, size)
    return image


def judge_size(size: int) -> None:
    """Raise InputError unless firmware can open a partition of *size* bytes for writing."""
    if size % PAGE_SIZE or size < MIN_PARTITION_SIZE:
        raise InputError(
            f"cannot pack an NVS partition of {size:#x} bytes",
            hint=f"use a multiple of {PAGE_SIZE:#x} bytes, at least {MIN_PARTITION_SIZE:#x}",
            cause="nvs-size",
        )


def judge_fit(items: Iterable[Entry | Namespace], size: int, version: PageVersion) -> None:
    """Raise InputError unless `pack` can pack the *items*."""
    _pack(items, size, version)


def _pack(items: Iterable[Entry | Namespace], size: int, version: PageVersion) -> bytes:
    judge_size(size)
    packer = _Packer(version)
    for item in items:
        if isinstance(item, Namespace):
            packer.open(item.name)
        else:
            packer.add(item)
    if packer.size > size:
        raise InputError(
            f"the entries need a partition of {packer.size:#x} bytes, it has {size:#x}", cause="nvs-too-big"
        )
    return packer.writer.image(size)


def _judge_image(image: bytes, items: Iterable[Entry | Namespace], size: int) -> None:
    found = read_image(image)
    findings = [finding for finding in found.findings if finding.kind != "string-utf8"]
    wanted = tuple(item for item in items if isinstance(item, Entry))
    if len(image) != size or findings or found.entries != wanted:
        finding = f": {findings[0]}" if findings else ""
        raise IntegrityError(f"the packed image does not read back as its entries{finding}", cause="nvs-readback")


class _Packer:
    """Packer of items into the pages of *writer*. It rejects what NVS cannot store."""

    def __init__(self, version: PageVersion) -> None:
        self.writer = PageWriter(version)
        self._version = version
        self._spaces: dict[str, tuple[int, set[str]]] = {}

    @property
    def size(self) -> int:
        """The smallest partition in bytes, including the page that must stay free."""
        return max((self.writer.page_count + 1) * PAGE_SIZE, MIN_PARTITION_SIZE)

    def open(self, name: str) -> tuple[int, set[str]]:
        """Return the index and the keys of a namespace; add it if it is new."""
        space = self._spaces.get(name)
        if space is None:
            if len(self._spaces) == MAX_NAMESPACES:
                raise InputError(f"more than {MAX_NAMESPACES} namespaces", cause="nvs-namespaces")
            space = self._spaces[name] = (len(self._spaces) + 1, set())
            self.writer.add_single(_NAMESPACE_TABLE, ItemType.U8, name.encode(), bytes((space[0],)))
        return space

    def add(self, entry: Entry) -> None:
        """Add an entry, and its namespace if that is new."""
        index, keys = self.open(entry.namespace)
        if entry.key in keys:
            raise InputError(f'duplicate key "{entry.key}" in namespace "{entry.namespace}"', cause="nvs-duplicate")
        keys.add(entry.key)
        key = entry.key.encode()
        if entry.kind is EntryKind.BLOB:
            content = entry.content
            self._judge_blob(entry, len(content))
            self.writer.add_blob(index, key, content)
        elif entry.kind is EntryKind.STRING:
            content = entry.content
            self._judge_string(entry, len(content))
            self.writer.add_string(index, key, content + b"\0")
        else:
            kind, data = _number(entry.kind, entry.value)
            self.writer.add_single(index, kind, key, data)

    def _judge_string(self, entry: Entry, size: int) -> None:
        largest = LARGEST_STRING if self._version is PageVersion.V2 else MAX_BLOB_BYTES_V1 - 1
        if size > largest:
            raise InputError(
                f'string "{entry.key}" has {size} bytes, page format {self._version.name} holds at most {largest}',
                hint="store longer values as a blob in page format V2",
                cause="nvs-value",
            )

    def _judge_blob(self, entry: Entry, size: int) -> None:
        largest = MAX_BLOB_BYTES if self._version is PageVersion.V2 else MAX_BLOB_BYTES_V1
        if size > largest:
            raise InputError(
                f'blob "{entry.key}" has {size} bytes, page format {self._version.name} holds at most {largest}',
                cause="nvs-value",
            )


def _number(kind: EntryKind, value: Value) -> tuple[int, bytes]:
    """Return the type byte and the bytes of a number."""
    if isinstance(value, int):
        item_type, width, signed = _INTEGERS[kind]
        return item_type, value.to_bytes(width, "little", signed=signed)
    item_type, layout = _FLOATS[kind]
    return item_type, struct.pack(layout, value)
