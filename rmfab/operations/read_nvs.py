"""Read NVS partitions: from image files, from dumps of a whole flash, and from boards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader
from rmfab.board.port import open_port
from rmfab.errors import InputError, StationError
from rmfab.files import read_input, write_file
from rmfab.line.connection import BoardConnection
from rmfab.line.station import Slot, host_station, slots_for
from rmfab.nvs.foreign import foreign_kind, is_encrypted
from rmfab.nvs.pages import is_page
from rmfab.nvs.reader import Image, read_image
from rmfab.nvs.table import PAGE_SIZE
from rmfab.release.merged_image import LAST_TABLE, find_table
from rmfab.release.partition_table import SECTOR, DataSubtype, Partition, PartitionTable
from rmfab.release.placed import parsed_table
from rmfab.workspace.workspace import Workspace

_FIRST_TABLE = 0x8000
"""The offset of the partition table unless it is configured (CONFIG_PARTITION_TABLE_OFFSET); no table is before it."""


def read_image_file(path: Path, partition: str | None = None) -> Image:
    """Read the image in *path*, or that of *partition* of a flash dump, with all findings.

    Raise InputError if it is not an NVS image, or encrypted.
    """
    try:
        return _decoded(_chosen(read_input(path, "NVS image"), partition))
    except InputError as error:
        raise InputError(error.what, where=error.where or str(path), hint=error.hint, cause=error.cause) from None


def _decoded(data: bytes) -> Image:
    kind = foreign_kind(data)
    if kind is not None:
        raise InputError(f"this is not an NVS image but {kind}", cause="not-nvs")
    image = read_image(data)
    if not image.entries and is_encrypted(data):
        raise InputError(
            "this NVS image is encrypted",
            hint="decrypt it with its keys first: nvs_partition_gen decrypt",
            cause="nvs-encrypted",
        )
    return image


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
    row = _nvs_partition(table, label)
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


def _nvs_partition(table: PartitionTable, label: str) -> Partition:
    row = table.required(label)
    if not row.is_data(DataSubtype.NVS):
        names = ", ".join(one.label for one in table.data(DataSubtype.NVS)) or "none"
        raise InputError(
            f'the partition "{label}" is not of type data, subtype nvs',
            hint=f"NVS partitions: {names}",
            cause="not-nvs",
        )
    return row


@dataclass(frozen=True)
class ReadRequest:
    """The *partition* of the board on *port* (a port or a slot's name), to be written to *output*."""

    port: str
    output: Path
    partition: str = "nvs"
    baud: int | None = None
    force: bool = False


@dataclass(frozen=True)
class PartitionRead:
    """What was read: the *partition* of the board *mac*, and its *image*, None if that is encrypted or no NVS image."""

    mac: str
    partition: Partition
    image: Image | None


def read_partition(request: ReadRequest, workspace: Workspace | None = None) -> PartitionRead:
    """Read the partition of a board, write it to a file of mode 0600, and restart the board.

    *workspace* has the station with the slots, None if only ports are known. Raise StationError if the board cannot be
    read, InputError if it has no such partition or the file exists with different content.
    """
    station = workspace.station if workspace is not None else host_station()
    (slot,) = slots_for((request.port,), station, request.baud)
    mac, row, data = _read(slot, request.partition)
    write_file(request.output, data, secret=True, force=request.force)
    try:
        image = _decoded(data)
    except InputError:
        image = None
    return PartitionRead(mac, row, image)


def _read(slot: Slot, label: str) -> tuple[str, Partition, bytes]:
    connection = BoardConnection(slot.link, open_port(slot.link.address), lambda: None)
    try:
        loader, facts = connection.into_loader()
        _judge_readable(facts)
        loader.prepare()
        row = _nvs_partition(_table_of(loader, slot), label)
        data = loader.read(row.offset, row.size)
        connection.restart()
    finally:
        connection.close()
    return facts.mac or "", row, data


def _judge_readable(facts: BoardFacts) -> None:
    """Raise StationError if the board gives no plain flash to a reader."""
    if facts.security.secure_download:
        raise StationError(
            "the board is in secure download mode: its flash cannot be read", cause="secure-download-mode"
        )
    if facts.security.flash_encryption:
        raise StationError(
            "flash encryption is on: the board's partition table cannot be read", cause="flash-encryption"
        )


def _table_of(loader: Loader, slot: Slot) -> PartitionTable:
    for at in range(_FIRST_TABLE, LAST_TABLE, SECTOR):
        table = parsed_table(loader.read(at, SECTOR))
        if table is not None:
            return table
    raise InputError(
        "the board has no partition table", where=slot.link.address, hint="is it flashed?", cause="no-partition"
    )
