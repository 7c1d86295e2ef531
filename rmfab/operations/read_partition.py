"""Read an NVS partition from a board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader
from rmfab.board.port import ROM_BAUD, open_port
from rmfab.errors import InputError, StationError
from rmfab.files import write_file
from rmfab.line.connection import BoardConnection
from rmfab.line.station import Slot, host_station, slots_for
from rmfab.nvs.reader import Image
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.read_nvs import decode_image, nvs_partition
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.release.merged_image import LAST_TABLE
from rmfab.release.partition_table import SECTOR, Partition, PartitionTable
from rmfab.release.placed import parsed_table
from rmfab.workspace.workspace import Workspace

_FIRST_TABLE = 0x8000
"""The offset of the partition table unless it is configured (CONFIG_PARTITION_TABLE_OFFSET); no table is before it."""


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


def read_partition(
    request: ReadRequest, workspace: Workspace | None = None, terminal: Terminal = UNATTENDED
) -> PartitionRead:
    """Read the partition of a board, write it to a file of mode 0600, and restart the board.

    *workspace* has the station with the slots, None if only ports are known. Raise StationError if the board cannot be
    read, InputError if it has no such partition or the file exists with different content.
    """
    station = workspace.station if workspace is not None else host_station()
    (slot,) = slots_for((request.port,), station, request.baud)
    mac, row, data = _read(slot, request.partition)
    write_file(request.output, data, secret=True, force=request.force)
    warn_of_git(terminal, "the secrets of a unit", request.output)
    try:
        image = decode_image(data)
    except InputError:
        image = None
    return PartitionRead(mac, row, image)


def _read(slot: Slot, label: str) -> tuple[str, Partition, bytes]:
    connection = BoardConnection(slot.link, open_port(slot.link.address), lambda: None, ROM_BAUD)
    try:
        loader, facts = connection.into_loader()
        _judge_readable(facts)
        loader.prepare()
        row = nvs_partition(_table_of(loader, slot), label)
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
