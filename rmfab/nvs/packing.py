"""The packer of NVS images: the only module that imports Espressif's esp_idf_nvs_partition_gen.

It works around the generator's known defects. `binary` counts characters instead of bytes, so values are passed as
checked bytes and text. Entries go into the namespace that was created last, so each entry names the index of its
namespace. Duplicate keys are accepted there, and rejected here. Each image is read back with our own reader before it
is returned. Encryption, once supported, belongs between packing and that check.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from rmfab.errors import IntegrityError
from rmfab.nvs.fit import judge_fit
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import (
    ENTRIES_OFFSET,
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    PAGE_SIZE,
    Entry,
    EntryKind,
    Namespace,
    PageVersion,
)

_ENCODINGS = {kind: "binary" if kind is EntryKind.BLOB else kind.value for kind in EntryKind}


def pack(items: Sequence[Entry | Namespace], size: int, version: PageVersion = PageVersion.V2) -> bytes:
    """Return an NVS image of exactly *size* bytes with the *items* in order.

    A namespace is created at its `Namespace` or its first entry; entries of several namespaces may be interleaved.
    Raise InputError if *size* is not that of a partition, a key is duplicate, or an item or all items do not fit,
    IntegrityError if the packed image does not read back as *items*.
    """
    judge_fit(items, size, version)
    image = _pack(items, size, version)
    _judge_image(image, items, size)
    return image


def _pack(items: Iterable[Entry | Namespace], size: int, version: PageVersion) -> bytes:
    stream = io.BytesIO()
    # The generator adds one reserved page to the size that it is given.
    nvs = _generator()(stream, size - PAGE_SIZE, int(version))
    indexes: dict[str, int] = {}
    for item in items:
        name = item.name if isinstance(item, Namespace) else item.namespace
        index = indexes.get(name)
        if index is None:
            nvs.write_namespace(name)
            index = indexes[name] = nvs.get_namespace_count()
        if isinstance(item, Entry):
            # Not the module's function of this name, which would add entries to Wi-Fi credentials.
            nvs.write_entry(item.key, item.value, _ENCODINGS[item.kind], index)
    nvs.__exit__(None, None, None)
    return stream.getvalue()


def _judge_image(image: bytes, items: Iterable[Entry | Namespace], size: int) -> None:
    found = read_image(image)
    wanted = tuple(item for item in items if isinstance(item, Entry))
    if len(image) != size or found.findings or found.entries != wanted:
        finding = f": {found.findings[0]}" if found.findings else ""
        raise IntegrityError(f"the packed image does not read back as its entries{finding}", cause="nvs-readback")


@cache
def _generator() -> Any:
    """Return the generator's class NVS, with pages that mark all entries of an item as written at once (faster)."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen  # slow to import: it includes a command line

    class FastPage(nvs_partition_gen.Page):  # type: ignore[misc, unused-ignore]
        def write_entry_to_buf(self, data: bytes, entrycount: int, nvs_obj: Any) -> None:
            if nvs_obj.encrypt:
                super().write_entry_to_buf(data, entrycount, nvs_obj)
                return
            start = ENTRIES_OFFSET + self.entry_num * ENTRY_SIZE
            self.page_buf[start : start + len(data)] = data
            self.entry_num += entrycount
            self.page_buf[ENTRY_SIZE:ENTRIES_OFFSET] = _BITMAPS[self.entry_num]

    class NVS(nvs_partition_gen.NVS):  # type: ignore[misc, unused-ignore]
        def create_new_page(self, *args: Any, **options: Any) -> Any:
            page = super().create_new_page(*args, **options)
            page.__class__ = FastPage
            return page

    return NVS


# The entry state bitmaps for 0 to 126 written entries: 0b10 is written, 0b11 is empty (see `pages.py`).
_BITMAPS = tuple(
    int("11" * (128 - written) + "10" * written, 2).to_bytes(ENTRY_SIZE, "little")
    for written in range(ENTRIES_PER_PAGE + 1)
)
