"""The arithmetic of packing: whether items fit a partition, computed without packing them.

Source: esp_idf_nvs_partition_gen 0.3.0, `Page.write_primitive_data`, `write_varlen_data`, `write_varlen_binary_data`.
"""

from __future__ import annotations

from collections.abc import Iterable

from rmfab.errors import InputError
from rmfab.nvs.table import (
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    MAX_BLOB_BYTES,
    MAX_BLOB_BYTES_V1,
    MAX_NAMESPACES,
    MIN_PARTITION_SIZE,
    PAGE_SIZE,
    Entry,
    EntryKind,
    Namespace,
    PageVersion,
)

LARGEST_STRING = (ENTRIES_PER_PAGE - 2) * ENTRY_SIZE - 1
"""The largest string in bytes: the generator never lets a string fill a page to its last entry."""


def judge_size(size: int) -> None:
    """Raise InputError unless firmware can open a partition of *size* bytes for writing."""
    if size % PAGE_SIZE or size < MIN_PARTITION_SIZE:
        raise InputError(
            f"cannot pack an NVS partition of {size:#x} bytes",
            hint=f"use a multiple of {PAGE_SIZE:#x} bytes, at least {MIN_PARTITION_SIZE:#x}",
            cause="nvs-size",
        )


def judge_fit(items: Iterable[Entry | Namespace], size: int, version: PageVersion) -> None:
    """Raise InputError unless the *items* fit an image of *size* bytes, and no key is twice in a namespace."""
    judge_size(size)
    filling = _Filling(version)
    for item in items:
        if isinstance(item, Namespace):
            filling.open(item.name)
        else:
            filling.add(item)
    if filling.size > size:
        raise InputError(
            f"the entries need a partition of {filling.size:#x} bytes, it has {size:#x}", cause="nvs-too-big"
        )


class _Filling:
    """The fill level of the pages while items are placed."""

    def __init__(self, version: PageVersion) -> None:
        self._version = version
        self._keys: dict[str, set[str]] = {}
        self._pages = 1
        self._used = 0

    @property
    def size(self) -> int:
        """The smallest partition in bytes, including the page that must stay free."""
        return max((self._pages + 1) * PAGE_SIZE, MIN_PARTITION_SIZE)

    def open(self, namespace: str) -> set[str]:
        """Return the keys of a namespace; add it if it is new."""
        keys = self._keys.get(namespace)
        if keys is None:
            keys = self._keys[namespace] = set()
            if len(self._keys) > MAX_NAMESPACES:
                raise InputError(f"more than {MAX_NAMESPACES} namespaces", cause="nvs-namespaces")
            self._place(1, ENTRIES_PER_PAGE)
        return keys

    def add(self, entry: Entry) -> None:
        """Add an entry, and its namespace if that is new."""
        keys = self._keys.get(entry.namespace)
        if keys is None:
            keys = self.open(entry.namespace)
        if entry.key in keys:
            raise InputError(f'duplicate key "{entry.key}" in namespace "{entry.namespace}"', cause="nvs-duplicate")
        keys.add(entry.key)
        if entry.kind.width:
            self._place(1, ENTRIES_PER_PAGE)
        elif entry.kind is EntryKind.STRING:
            self._add_string(entry)
        else:
            self._add_blob(entry)

    def _add_string(self, entry: Entry) -> None:
        size = entry.size
        largest = LARGEST_STRING if self._version is PageVersion.V2 else MAX_BLOB_BYTES_V1 - 1
        if size - 1 > largest:
            raise InputError(
                f'string "{entry.key}" has {size - 1} bytes, '
                f"the generator packs at most {largest} in page format {self._version.name}",
                hint="store longer values as a blob in page format V2",
                cause="nvs-value",
            )
        self._place(1 + _entries(size), ENTRIES_PER_PAGE - 1)

    def _add_blob(self, entry: Entry) -> None:
        size = entry.size
        largest = MAX_BLOB_BYTES if self._version is PageVersion.V2 else MAX_BLOB_BYTES_V1
        if size > largest:
            raise InputError(
                f'blob "{entry.key}" has {size} bytes, page format {self._version.name} holds at most {largest}',
                cause="nvs-value",
            )
        if self._version is PageVersion.V1:
            self._place(1 + _entries(size), ENTRIES_PER_PAGE - 1)
        else:
            self._add_chunks(size)

    def _add_chunks(self, left: int) -> None:
        if self._used >= ENTRIES_PER_PAGE:
            self._turn()
        while True:
            room = (ENTRIES_PER_PAGE - self._used - 1) * ENTRY_SIZE
            chunk = min(left, room)
            left -= chunk
            self._used += 1 + _entries(chunk)
            if left or room - chunk < ENTRY_SIZE:
                self._turn()
            if not left:
                self._used += 1  # the BLOB_INDEX entry
                return

    def _place(self, entries: int, roof: int) -> None:
        if self._used + entries > roof:
            self._turn()
        self._used += entries

    def _turn(self) -> None:
        self._pages += 1
        self._used = 0


def _entries(size: int) -> int:
    return (size + ENTRY_SIZE - 1) // ENTRY_SIZE
