"""Images packed by Espressif's own generator: the one door to esp_idf_nvs_partition_gen.

Its known defects are fenced here: values come as checked bytes and text (its `binary` counts characters, not bytes),
every entry names its namespace's index (it would write into the one created last), keys are unique, and nothing
leaves before our own reader found in the image exactly what went in. Encryption, when it comes, belongs between
packing and that check.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from rmfab.errors import InputError, IntegrityError
from rmfab.nvs.reader import read
from rmfab.nvs.table import (
    ENTRY_SIZE,
    MAX_BLOB_BYTES,
    MAX_BLOB_BYTES_V1,
    MAX_NAMESPACES,
    MIN_PARTITION_SIZE,
    PAGE_SIZE,
    Entry,
    Kind,
    Namespace,
    PageVersion,
)

_ENCODINGS = {kind: "binary" if kind is Kind.BLOB else kind.value for kind in Kind}


def pack(items: Sequence[Entry | Namespace], size: int, version: PageVersion = PageVersion.V2) -> bytes:
    """An NVS image of exactly *size* bytes with the *items* in their order.

    A namespace is created where its first entry or its `Namespace` stands; entries of several may be interleaved.
    Raises InputError on a size that is no partition, a key given twice, a blob that the version cannot hold, or
    items that need more room; IntegrityError where the packed image does not read back as what was asked for.
    """
    check_size(size)
    _check_items(items, version)
    image = _pack(items, size, version)
    _check_image(image, items, size)
    return image


def check_size(size: int) -> None:
    """Raises InputError unless *size* is a partition that firmware can open for writing."""
    if size % PAGE_SIZE or size < MIN_PARTITION_SIZE:
        raise InputError(
            f"an NVS partition of {size:#x} bytes cannot be packed",
            hint=f"the size is a multiple of {PAGE_SIZE:#x} and at least {MIN_PARTITION_SIZE:#x}",
            cause="nvs-size",
        )


def _check_items(items: Iterable[Entry | Namespace], version: PageVersion) -> None:
    seen = set()
    namespaces = set()
    largest = MAX_BLOB_BYTES if version is PageVersion.V2 else MAX_BLOB_BYTES_V1
    for item in items:
        if isinstance(item, Namespace):
            namespaces.add(item.name)
            continue
        name = (item.namespace, item.key)
        if name in seen:
            raise InputError(f'"{item.key}" stands twice in namespace "{item.namespace}"', cause="nvs-duplicate")
        seen.add(name)
        if item.kind is Kind.BLOB and item.size > largest:
            raise InputError(
                f'"{item.key}" is a blob of {item.size} bytes, pages of format {version.name} take at most {largest}',
                cause="nvs-value",
            )
    namespaces.update(namespace for namespace, _ in seen)
    if len(namespaces) > MAX_NAMESPACES:
        raise InputError(f"{len(namespaces)} namespaces, NVS takes at most {MAX_NAMESPACES}", cause="nvs-namespaces")


def _pack(items: Sequence[Entry | Namespace], size: int, version: PageVersion) -> bytes:
    generator = _generator()
    stream = io.BytesIO()
    # The generator keeps one page in reserve beside the size that it is given.
    nvs = generator.nvs_open(stream, size - PAGE_SIZE, version=int(version))
    try:
        _write(nvs, items)
    except generator.InsufficientSizeError:
        needed = _size_needed(items, version)
        raise InputError(
            f"these entries need a partition of {needed:#x} bytes, it has {size:#x}", cause="nvs-too-big"
        ) from None
    generator.nvs_close(nvs)
    return stream.getvalue()


def _write(nvs: Any, items: Iterable[Entry | Namespace]) -> None:
    generator = _generator()
    indexes: dict[str, int] = {}
    for item in items:
        name = item.name if isinstance(item, Namespace) else item.namespace
        index = indexes.get(name)
        if index is None:
            nvs.write_namespace(name)
            index = indexes[name] = nvs.get_namespace_count()
        if isinstance(item, Namespace):
            continue
        try:
            nvs.write_entry(item.key, item.value, _ENCODINGS[item.kind], index)
        except generator.PageFullError:
            raise InputError(
                f'"{item.key}" is a string of {item.size - 1} bytes, which the generator fits on no page',
                hint="up to 3967 bytes fit; a longer value can be a blob",
                cause="nvs-value",
            ) from None


def _size_needed(items: Sequence[Entry | Namespace], version: PageVersion) -> int:
    roof = sum(item.size + 4 * ENTRY_SIZE for item in items if isinstance(item, Entry)) + len(items) * ENTRY_SIZE
    nvs = _generator().nvs_open(
        io.BytesIO(), (roof // PAGE_SIZE * 2 + 2 + len(items)) * PAGE_SIZE, version=int(version)
    )
    _write(nvs, items)
    used = len(nvs.pages)
    return max((used + 1) * PAGE_SIZE, MIN_PARTITION_SIZE)


def _check_image(image: bytes, items: Iterable[Entry | Namespace], size: int) -> None:
    found = read(image)
    wanted = tuple(item for item in items if isinstance(item, Entry))
    if len(image) != size or found.findings or found.entries != wanted:
        finding = f": {found.findings[0]}" if found.findings else ""
        raise IntegrityError(
            f"the packed image does not read back as what was asked for{finding}", cause="nvs-readback"
        )


@cache
def _generator() -> ModuleType:
    from esp_idf_nvs_partition_gen import nvs_partition_gen  # slow: it brings its command line

    return nvs_partition_gen  # type: ignore[no-any-return, unused-ignore]
