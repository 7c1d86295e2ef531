"""Reading what is on a board, through its loader, without writing anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader
from rmfab.board.port import ROM_BAUD, open_port, swapped
from rmfab.errors import PortError, RmfabError, StationError
from rmfab.line.connection import BoardConnection
from rmfab.line.station import Slot
from rmfab.release.merged_image import LAST_TABLE
from rmfab.release.partition_table import SECTOR, Partition, PartitionTable
from rmfab.release.parts import APP, BOOTLOADER, TABLE
from rmfab.release.placed import parsed_table
from rmfab.release.release import Release

_FIRST_TABLE = 0x8000
"""The offset of the partition table unless it is configured (CONFIG_PARTITION_TABLE_OFFSET); no table is before it."""


class FlashReader:
    """The flash of the board *mac*. Every method raises PortError if the conversation fails."""

    def __init__(self, loader: Loader, mac: str) -> None:
        self._loader = loader
        self.mac = mac

    def table(self) -> PartitionTable | None:
        """Return the board's partition table, None if it has none."""
        for at in range(_FIRST_TABLE, LAST_TABLE, SECTOR):
            table = parsed_table(self._loader.read(at, SECTOR))
            if table is not None:
                return table
        return None

    def read(self, partition: Partition) -> bytes:
        """Return the content of *partition*."""
        return self._loader.read(partition.offset, partition.size)

    def holds(self, release: Release) -> bool:
        """Return whether bootloader, partition table and app are those of *release*. The OTA data change as it runs."""
        parts = (release.find(name) for name in (BOOTLOADER, TABLE, APP))
        return all(
            self._loader.md5(part.offset, part.size) == hashlib.md5(part.data, usedforsecurity=False).hexdigest()
            for part in parts
            if part is not None
        )


@contextmanager
def reading(slot: Slot) -> Iterator[FlashReader]:
    """Yield a reader of the board on *slot*, and restart the board at the end, also after an error.

    Raise StationError if its flash cannot be read, or if it is not the same board at the end.
    """
    connection = BoardConnection(slot.link, open_port(slot.link.address), lambda: None, ROM_BAUD)
    try:
        loader, facts = connection.into_loader()
        mac = _readable(facts)
        loader.prepare()
        yield FlashReader(loader, mac)
        if loader.mac() != mac:
            raise swapped(slot.link.address)
        connection.restart()
    except RmfabError:
        if connection.in_loader:
            with suppress(PortError):  # the first error says more
                connection.restart()
        raise
    finally:
        connection.close()


def _readable(facts: BoardFacts) -> str:
    """Return the board's MAC. Raise StationError if the board gives no plain flash to a reader."""
    if facts.security.secure_download or facts.mac is None:
        raise StationError(
            "the board is in secure download mode: its flash cannot be read", cause="secure-download-mode"
        )
    if facts.security.flash_encryption:
        raise StationError(
            "flash encryption is on: the board's partition table cannot be read", cause="flash-encryption"
        )
    return facts.mac
