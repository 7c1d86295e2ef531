"""A write in progress, from FLASH_BEGIN or DEFL_BEGIN to the matching END, with the time that NOR flash needs."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from rmfab.virtual.chip.flash import BLOCK, PAGE, SECTOR, Flash
from rmfab.virtual.chip.flash_cipher import CIPHER_BLOCK

# Typical values of NOR flash datasheets, not of one part: 64 KB erase 0.15 to 0.3 s, page program 0.4 to 0.7 ms. The
# rate of the MD5 lies within what chips need for 1.5 MB, 0.2 to 0.5 s.
BLOCK_ERASE_SECONDS = 0.2
SECTOR_ERASE_SECONDS = 0.045
PAGE_PROGRAM_SECONDS = 0.0005
MD5_SECONDS_PER_BYTE = 0.25 / (1 << 20)
_DICTIONARY = 0x8000  # TINFL_LZ_DICT_SIZE of miniz, which ROM and stub inflate with


class Inflation(Exception):
    """The compressed stream is broken."""


class Overrun(Exception):
    """More data than the BEGIN command announced."""


class FlashWriting:
    """Writes *size* bytes from *offset* on, in order.

    A compressed stream is inflated into a dictionary of 32 KB, which is written whenever it is full and at the end of
    the stream. With *erase_ahead*, sectors are erased just before they are written, except the blank ones before the
    first that is not, as the stub does (esp-flasher-stub `command_handler.c`, s_conditional_erase_next). Otherwise the
    caller has erased them. *cipher* encrypts what goes into the flash. Durations are in seconds.
    """

    def __init__(
        self,
        flash: Flash,
        offset: int,
        size: int,
        *,
        compressed: bool,
        erase_ahead: bool,
        cipher: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._flash = flash
        self._cipher = cipher
        self._at = offset
        self._end = offset + size
        self._erased = offset - offset % SECTOR if erase_ahead else self._end
        self._all_blank = True
        self._inflate = zlib.decompressobj() if compressed else None
        self._inflated = b""  # in the dictionary, not written yet
        self._held = b""  # less than a block of the cipher

    @property
    def ended(self) -> bool:
        """Whether the compressed stream has reached its end."""
        return self._inflate is not None and self._inflate.eof

    @property
    def remaining(self) -> int:
        """Uncompressed bytes still to be written."""
        return self._end - self._at - len(self._held)

    def restart_stream(self) -> None:
        """Reset the inflate window: block 0 starts a new stream."""
        if self._inflate is not None:
            self._inflate = zlib.decompressobj()
            self._inflated = b""

    def write(self, data: bytes) -> float:
        """Write one block; return the seconds it takes.

        Raise Inflation if the stream is broken, Overrun if it is too long, and FlashError beyond the end of the flash.
        """
        if self._inflate is None:
            return self._program(data)
        room = self.remaining - len(self._inflated)
        try:
            data = self._inflate.decompress(data, room + 1)
        except zlib.error as error:
            raise Inflation from error
        if len(data) > room:
            raise Overrun
        self._inflated += data
        full = len(self._inflated) if self._inflate.eof else len(self._inflated) // _DICTIONARY * _DICTIONARY
        data, self._inflated = self._inflated[:full], self._inflated[full:]
        return self._program(data)

    def _program(self, data: bytes) -> float:
        data = data[: self.remaining]
        if self._cipher is not None:
            data = self._cipher(self._whole_blocks(data))
        seconds = self._erase_to(self._at + len(data))
        self._flash.program(self._at, data)
        self._at += len(data)
        return seconds + -(-len(data) // PAGE) * PAGE_PROGRAM_SECONDS

    def _whole_blocks(self, data: bytes) -> bytes:
        """Return what can be encrypted by now; at the end, that is everything."""
        data = self._held + data
        cut = len(data) if self._at + len(data) == self._end else len(data) - len(data) % CIPHER_BLOCK
        self._held = data[cut:]
        return data[:cut]

    def _erase_to(self, end: int) -> float:
        """Erase what lies before *end*; from the first sector that is not blank on, everything."""
        seconds = 0.0
        while self._erased < end:
            at = self._erased
            if self._all_blank and self._flash.is_blank(at, min(SECTOR, self._flash.size - at)):
                self._erased += SECTOR
                continue
            self._all_blank = False
            piece = BLOCK if at % BLOCK == 0 and self._end - at >= BLOCK else SECTOR
            self._flash.erase(at, piece)
            seconds += erase_seconds(at, piece)
            self._erased += piece
        return seconds


def erase_seconds(address: int, length: int) -> float:
    """Return how long erasing takes: aligned 64 KB blocks as blocks, the rest by sectors."""
    end = address + length
    first = min(-(-address // BLOCK) * BLOCK, end)
    last = max(end - end % BLOCK, first)
    sectors = -(-(first - address) // SECTOR) + -(-(end - last) // SECTOR)
    return (last - first) // BLOCK * BLOCK_ERASE_SECONDS + sectors * SECTOR_ERASE_SECONDS
