"""What reads Brother's raster language in a virtual QL-820NWB.

It is as strict as firmware: with the valid flags set it compares the roll, it accepts rows only in raster mode, and it
reports each page in packets of 32 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from rmfab.virtual.printers.bitmap import Bitmap
from rmfab.virtual.printers.faults import PrinterTrouble as Trouble
from rmfab.virtual.printers.mechanism import Mechanism, PrintedPage
from rmfab.virtual.printers.ql_rolls import ROLL_AREAS

_ROW = 90
_REPLY, _COMPLETED, _ERROR, _PHASE = 0, 1, 2, 6
_CONTINUOUS, _DIE_CUT = 0x0A, 0x0B
_LENGTHS = {b"a": 1, b"z": 10, b"M": 1, b"A": 1, b"K": 1, b"d": 2, b"!": 1, b"S": 0}
_WRONG_MEDIA, _COMMUNICATION = 0x0100, 0x0400
_MOST_ROWS = 12_000
_ERROR_BITS = (
    (Trouble.CUTTER, 0x04),
    (Trouble.COVER_OPEN, 0x1000),
    (Trouble.HEAD_OPEN, 0x1000),
    (Trouble.JAM, 0x4000),
    (Trouble.BUFFER_FULL, 0x0200),
    (Trouble.HOT, 0x2000),
    (Trouble.BROKEN, 0x8000),
)


class QlReader:
    """Reads raster jobs for *mechanism*, and answers through *reply*."""

    def __init__(self, mechanism: Mechanism, reply: Callable[[bytes], None]) -> None:
        self._mechanism = mechanism
        self._reply = reply
        self._pending = b""
        self._error = 0
        self._forget()
        mechanism.started = lambda: self._report(_PHASE)
        mechanism.finished = self._finished
        mechanism.stopped = lambda: self._report(_ERROR) if self._bits else None

    def _forget(self) -> None:
        self._raster = False
        self._media = b""
        self._rows: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Read *data*."""
        self._pending += data
        while (used := self._used()) and self._pending:
            command, self._pending = self._pending[:used], self._pending[used:]
            self._obey(command)

    def _used(self) -> int:
        """Return the length of the first command, 0 if it is not whole yet."""
        data = self._pending
        match data[:1]:
            case b"\x1b" if data[1:2] == b"i":
                length = 3 + _LENGTHS.get(data[2:3], 0)
            case b"\x1b":
                length = 2
            case b"g" | b"G":
                length = 3 + (data[2] if len(data) > 2 else 0)
                length = length if len(data) > 2 else 3
            case b"M":
                length = 2
            case _:
                length = 1
        return length if len(data) >= length else 0

    def _obey(self, command: bytes) -> None:
        match command[:1]:
            case b"\x00" | b"M":
                return
            case b"g" if len(command) == 3 + _ROW and self._raster and len(self._rows) < _MOST_ROWS:
                self._rows.append(command[3:])
            case b"Z" if self._raster:
                self._rows.append(bytes(_ROW))
            case b"\x0c" | b"\x1a" if self._raster:
                self._print()
            case b"\x1b":
                self._obey_escape(command)
            case _:
                self._fail(_COMMUNICATION)

    def _obey_escape(self, command: bytes) -> None:
        match command[1:3]:
            case b"@":
                self._forget()
                self._error = 0
                self._mechanism.cancel()
            case b"iS" if self._is_free:
                self._report(_REPLY)
            case b"ia":
                self._raster = command[3:4] == b"\x01"
            case b"iz":
                self._media = command[3:]

    @property
    def _is_free(self) -> bool:
        """Whether it answers questions: not while it prints."""
        return self._mechanism.current is None or bool(self._bits)

    def _print(self) -> None:
        """Queue the page, unless the job is for a different roll."""
        rows, self._rows = self._rows, []
        flags, kind, width, length = self._media[:4] if len(self._media) == 10 else bytes(4)
        here = self._roll
        matches = (
            (not flags & 0x02 or kind == (_DIE_CUT if here[1] else _CONTINUOUS))
            and (not flags & 0x04 or width == here[0])
            and (not flags & 0x08 or length == here[1])
        )
        if not matches or here not in ROLL_AREAS:
            self._fail(_WRONG_MEDIA)
            return
        self._mechanism.add(PrintedPage(self._page(rows)))

    def _page(self, rows: list[bytes]) -> Bitmap:
        """Return the label: what of the head is over the printable area, in the middle of it."""
        across, along, right = ROLL_AREAS[self._roll]
        width, height = (self._mechanism.spec.dots(mm) for mm in self._roll)
        left, top = (width - across) // 2, (height - along) // 2 if along else 0
        page = Bitmap(width)
        for number, row in enumerate(rows[: along or len(rows)]):
            value = int(f"{int.from_bytes(row, 'big'):0{8 * _ROW}b}"[::-1], 2) >> right & ((1 << across) - 1)
            page.rows += [0] * (top + number + 1 - len(page.rows))
            page.rows[top + number] = value << (width - left - across)
        return page

    @property
    def _roll(self) -> tuple[int, int]:
        width, height = self._mechanism.media
        return int(width), int(height or 0)

    @property
    def _bits(self) -> int:
        """Both bytes of errors, the second one in the upper half."""
        bits = sum(bit for trouble, bit in _ERROR_BITS if self._mechanism.has(trouble))
        if self._mechanism.has(Trouble.PAPER_OUT):
            bits |= 0x02 if self._roll[1] else 0x01
        return bits | self._error

    def _fail(self, bits: int) -> None:
        self._error |= bits
        self._report(_ERROR)

    def _finished(self) -> None:
        self._report(_COMPLETED, printing=True)
        self._report(_PHASE, printing=False)

    def _report(self, kind: int, *, printing: bool | None = None) -> None:
        bits, (width, length) = self._bits, self._roll
        has_paper = not self._mechanism.has(Trouble.PAPER_OUT)
        media = _DIE_CUT if length else _CONTINUOUS
        packet = bytearray(struct.pack("<BBB", 0x80, 0x20, 0x42) + b"\x34\x41\x30").ljust(32, b"\0")
        packet[8:12] = bytes((bits & 0xFF, bits >> 8, width if has_paper else 0, media if has_paper else 0))
        packet[17], packet[18] = (length if has_paper else 0), kind
        packet[19] = kind == _PHASE if printing is None else printing
        self._reply(bytes(packet))
