"""Read NVS images: from image files, and from dumps of a whole flash."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.nvs.decoding import decode_image
from rmfab.nvs.pages import is_page
from rmfab.nvs.reader import Image
from rmfab.nvs.table import PAGE_SIZE
from rmfab.release.merged_image import find_table
from rmfab.release.partition_table import DataSubtype, Partition, PartitionTable


def read_image_file(path: Path, partition: str | None = None) -> Image:
    """Read the image in *path*, or that of *partition* of a flash dump, with all findings.

    Raise InputError if it is not an NVS image, or encrypted.
    """
    try:
        return decode_image(_chosen(read_input(path, "NVS image"), partition))
    except InputError as error:
        raise InputError(error.what, where=error.where or str(path), hint=error.hint, cause=error.cause) from None


def _chosen(data: bytes, label: str | None) -> bytes:
    """Return *data*, or the content of the partition *label* if it is a flash dump."""
    table = _table_of_dump(data)
    if table is None:
        if label is None:
            return data
        raise InputError(
            "there is no partition table in this file", hint="leave out --partition for the image of one partition"
        )
    if label is None:
        names = ", ".join(row.label for row in table.data(DataSubtype.NVS)) or "none"
        raise InputError(
            f"this is a dump of a whole flash; NVS partitions: {names}",
            hint="choose one with --partition NAME",
            cause="not-nvs",
        )
    row = nvs_partition(table, label)
    if len(data) < row.end:
        raise InputError(f'the dump ends at {len(data):#x}, in or before the partition "{label}" ({row.offset:#x})')
    return data[row.offset : row.end]


def _table_of_dump(data: bytes) -> PartitionTable | None:
    """Return the partition table of a flash dump, None if *data* is none. No dump has NVS pages before its table."""
    found = find_table(data)
    if found is None:
        return None
    at, table = found
    pages = (data[start : start + PAGE_SIZE] for start in range(0, at, PAGE_SIZE))
    return None if any(is_page(page) and page.strip(b"\xff") for page in pages) else table


def nvs_partition(table: PartitionTable, label: str) -> Partition:
    """Return the NVS partition *label*. Raise InputError if there is none."""
    row = table.required(label)
    if not row.is_data(DataSubtype.NVS):
        names = ", ".join(one.label for one in table.data(DataSubtype.NVS)) or "none"
        raise InputError(
            f'the partition "{label}" is not of type data, subtype nvs',
            hint=f"NVS partitions: {names}",
            cause="not-nvs",
        )
    return row
