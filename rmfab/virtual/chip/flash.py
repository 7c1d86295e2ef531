"""The NOR flash of a virtual board: programming clears bits, erasing sets them, a file keeps them.

The file is memory-mapped, so that written data survives the end of the process at any moment, as in the chip.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

SECTOR = 0x1000
BLOCK = 0x10000
PAGE = 0x100

_BLANK = b"\xff" * BLOCK
_PROTECTED = 0x1C  # BP0 to BP2 of status register 1


class FlashError(Exception):
    """An address beyond the end of the flash."""


class Flash:
    """*size* bytes of NOR flash, kept in *path* if given; blank if the file does not exist.

    If *flawed*, one bit always reads 0; it lies in the first write of a sector or more.
    """

    def __init__(self, size: int, path: Path | None = None) -> None:
        self.size = size
        self.status = [0, 0, 0]
        self.flawed = False
        self._stuck: tuple[int, int] | None = None
        self._cells: bytearray | mmap.mmap = (
            bytearray(_BLANK) * (size // BLOCK) if path is None else _mapped(path, size)
        )

    @property
    def rdid(self) -> int:
        """Manufacturer (0xC8, GigaDevice), type and capacity as RDID returns them; byte 0 is the lowest."""
        return 0xC8 | 0x40 << 8 | (self.size.bit_length() - 1) << 16

    @property
    def protected(self) -> bool:
        """Whether the block protection bits make the chip ignore programming and erasing."""
        return bool(self.status[0] & _PROTECTED)

    def read(self, address: int, length: int) -> bytes:
        """Return *length* bytes from *address*. Raise FlashError beyond the end."""
        self._check(address, length)
        return bytes(self._cells[address : address + length])

    def seen(self, address: int, length: int) -> bytes:
        """Return the bytes as the CPU reads them: addresses beyond the end wrap around, as missing address lines do."""
        if address + length <= self.size:
            return self.read(address, length)
        first = self.read(address % self.size, min(length, self.size - address % self.size))
        return first + (self.seen(0, length - len(first)) if length > len(first) else b"")

    def md5(self, address: int, length: int) -> bytes:
        """Return the MD5 of a range. Raise FlashError beyond the end."""
        self._check(address, length)
        with memoryview(self._cells) as view, view[address : address + length] as part:
            return hashlib.md5(part, usedforsecurity=False).digest()

    def is_blank(self, address: int, length: int) -> bool:
        """Whether all bytes of the range are 0xFF."""
        return self.read(address, length).count(0xFF) == length

    def program(self, address: int, data: bytes) -> None:
        """Clear the bits that are 0 in *data*. Raise FlashError beyond the end."""
        self._check(address, len(data))
        if self.protected or not data:
            return
        old = self._cells[address : address + len(data)]
        if old.count(0xFF) != len(old):
            merged = int.from_bytes(old, "little") & int.from_bytes(data, "little")
            data = merged.to_bytes(len(data), "little")
        self._cells[address : address + len(data)] = data
        if self.flawed and self._stuck is None and len(data) >= SECTOR:
            self._stuck = next(((address + n, byte & -byte) for n, byte in enumerate(data) if n > PAGE and byte), None)
        self._stick()

    def erase(self, address: int, length: int) -> int:
        """Erase the sectors that the range touches; return how many were not blank. Raise FlashError beyond the end."""
        start = address - address % SECTOR
        end = -(-(address + length) // SECTOR) * SECTOR
        self._check(start, end - start)
        if self.protected:
            return 0
        dirty = 0
        for at in range(start, end, BLOCK):
            piece = min(BLOCK, end - at)
            if self._cells[at : at + piece].count(0xFF) != piece:
                dirty += self._dirty_sectors(at, piece)
                self._cells[at : at + piece] = _BLANK[:piece]
        self._stick()
        return dirty

    def sync(self) -> None:
        """Flush the file's pages to disk."""
        if isinstance(self._cells, mmap.mmap):
            self._cells.flush()

    def _dirty_sectors(self, address: int, length: int) -> int:
        cells = self._cells
        return sum(cells[at : at + SECTOR].count(0xFF) != SECTOR for at in range(address, address + length, SECTOR))

    def _stick(self) -> None:
        if self.flawed and self._stuck is not None:
            address, mask = self._stuck
            self._cells[address] &= ~mask & 0xFF

    def _check(self, address: int, length: int) -> None:
        if address < 0 or length < 0 or address + length > self.size:
            raise FlashError(f"0x{address:x}+0x{length:x} is beyond the flash of 0x{self.size:x} bytes")


def _mapped(path: Path, size: int) -> mmap.mmap:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        held = file.seek(0, os.SEEK_END)
        while held < size:
            held += file.write(_BLANK[: min(BLOCK, size - held)])
        file.flush()
        return mmap.mmap(file.fileno(), size)
