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
    """An NVS image of exactly *size* bytes with the *items* in their order.

    A namespace is created where its first entry or its `Namespace` stands; entries of several may be interleaved.
    Raises InputError on a size that is no partition, a key given twice, a blob that the version cannot hold, or
    items that need more room; IntegrityError where the packed image does not read back as what was asked for.
    """
    judge_fit(items, size, version)
    image = _pack(items, size, version)
    _judge_image(image, items, size)
    return image


def _pack(items: Iterable[Entry | Namespace], size: int, version: PageVersion) -> bytes:
    stream = io.BytesIO()
    # The generator keeps one page in reserve beside the size that it is given.
    nvs = _generator()(stream, size - PAGE_SIZE, int(version))
    indexes: dict[str, int] = {}
    for item in items:
        name = item.name if isinstance(item, Namespace) else item.namespace
        index = indexes.get(name)
        if index is None:
            nvs.write_namespace(name)
            index = indexes[name] = nvs.get_namespace_count()
        if isinstance(item, Entry):
            # The class's own method: the function of this name would add entries to Wi-Fi credentials.
            nvs.write_entry(item.key, item.value, _ENCODINGS[item.kind], index)
    nvs.__exit__(None, None, None)
    return stream.getvalue()


def _judge_image(image: bytes, items: Iterable[Entry | Namespace], size: int) -> None:
    found = read_image(image)
    wanted = tuple(item for item in items if isinstance(item, Entry))
    if len(image) != size or found.findings or found.entries != wanted:
        finding = f": {found.findings[0]}" if found.findings else ""
        raise IntegrityError(
            f"the packed image does not read back as what was asked for{finding}", cause="nvs-readback"
        )


@cache
def _generator() -> Any:
    """The generator's class NVS, with pages that mark entries as written all at once instead of bit by bit."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen  # slow: it brings its command line

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


_BITMAPS = tuple(
    int("11" * (128 - written) + "10" * written, 2).to_bytes(ENTRY_SIZE, "little")
    for written in range(ENTRIES_PER_PAGE + 1)
)
