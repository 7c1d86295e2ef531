"""Read an NVS partition from a board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import write_file
from rmfab.line.flash_reader import reading
from rmfab.line.station import Slot, host_station, slots_for
from rmfab.nvs.decoding import decode_image
from rmfab.nvs.reader import Image
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.read_nvs import nvs_partition
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.release.partition_table import Partition
from rmfab.workspace.workspace import Workspace


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
    with reading(slot) as board:
        table = board.table()
        if table is None:
            raise InputError(
                "the board has no partition table", where=slot.link.address, hint="is it flashed?", cause="no-partition"
            )
        row = nvs_partition(table, label)
        return board.mac, row, board.read(row)
