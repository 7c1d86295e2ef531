"""What reads TSPL in a virtual printer. <ESC>! commands are obeyed at once, except inside the data of a BITMAP."""

from __future__ import annotations

import re
from collections.abc import Callable

from rmfab.virtual.printers.bitmap import Bitmap
from rmfab.virtual.printers.faults import PrinterTrouble as Trouble
from rmfab.virtual.printers.mechanism import Mechanism, PrintedPage
from rmfab.virtual.printers.spec import MM_PER_INCH

_BITMAP = re.compile(rb"BITMAP (\d{1,5}),(\d{1,5}),(\d{1,4}),(\d{1,5}),[0-2],")
_SIZE = re.compile(rb"SIZE ([0-9.]{1,8}) ?(mm)? ?, ?([0-9.]{1,8}) ?(mm)?")
_PRINT = re.compile(rb"PRINT (\d{1,6})(?:,(\d{1,6}))?")
_LONGEST_LINE = 1 << 16
_INVERTED = bytes(255 - value for value in range(256))
_BITS = (
    (Trouble.HEAD_OPEN, 0x01),
    (Trouble.COVER_OPEN, 0x01),
    (Trouble.JAM, 0x02),
    (Trouble.CUTTER, 0x80),
    (Trouble.PAPER_OUT, 0x04),
    (Trouble.RIBBON_OUT, 0x08),
    (Trouble.PAUSED, 0x10),
    (Trouble.HOT, 0x80),
    (Trouble.BROKEN, 0x80),
)
_PRINTING = 0x20


class TsplReader:
    """Reads TSPL for *mechanism*, and answers through *reply*."""

    def __init__(self, mechanism: Mechanism, reply: Callable[[bytes], None]) -> None:
        self._mechanism = mechanism
        self._reply = reply
        self._pending = b""
        spec = mechanism.spec
        self._size = (spec.dots(spec.width), spec.dots(spec.height or 0))
        self._page = Bitmap(spec.head_dots)
        self._bitmap: tuple[int, int, int, int] | None = None

    def feed(self, data: bytes) -> None:
        """Read *data*."""
        self._pending += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Obey the first whole command; return False if there is none."""
        if self._bitmap is not None:
            return self._read_bitmap(*self._bitmap)
        if (at := self._pending.find(b"\x1b!")) >= 0 and len(self._pending) > at + 2 and self._is_free(at):
            command, self._pending = self._pending[at + 2 : at + 3], self._pending[:at] + self._pending[at + 3 :]
            self._obey_escape(command)
            return True
        if found := _BITMAP.match(self._pending):
            self._bitmap = (int(found[1]), int(found[2]), int(found[3]), int(found[4]))
            self._pending = self._pending[found.end() :]
            return True
        line, end, rest = self._pending.partition(b"\n")
        if not end:
            self._pending = b"" if len(line) > _LONGEST_LINE else self._pending.lstrip(b" \0")
            return False
        self._pending = rest
        self._obey(line.strip(b" \r\0"))
        return True

    def _is_free(self, at: int) -> bool:
        """Return whether the escape at *at* stands before any bitmap."""
        found = _BITMAP.search(self._pending)
        return found is None or found.start() > at

    def _read_bitmap(self, left: int, top: int, row_bytes: int, rows: int) -> bool:
        total = row_bytes * rows
        if len(self._pending) < total:
            return False
        data, self._pending = self._pending[:total].translate(_INVERTED), self._pending[total:]
        for number in range(rows):
            self._page.put(left, top + number, data[number * row_bytes : (number + 1) * row_bytes])
        self._bitmap = None
        return True

    def _obey_escape(self, command: bytes) -> None:
        if command == b"?":
            busy = self._mechanism.current is not None or bool(self._mechanism.queue)
            faults = sum({bit for trouble, bit in _BITS if self._mechanism.has(trouble)})
            self._reply(bytes([faults or (_PRINTING if busy else 0)]))
        elif command == b".":
            self._page = Bitmap(self._mechanism.spec.head_dots)
            self._mechanism.cancel()

    def _obey(self, line: bytes) -> None:
        if line == b"~!T":
            self._reply(self._mechanism.spec.model.encode() + b"\r\n")
        elif line == b"CLS":
            self._page = Bitmap(self._mechanism.spec.head_dots)
        elif found := _SIZE.fullmatch(line):
            self._size = (self._dots(found[1], found[2]), self._dots(found[3], found[4]))
        elif found := _PRINT.fullmatch(line):
            self._print(int(found[1]) * int(found[2] or 1))

    def _dots(self, number: bytes, unit: bytes | None) -> int:
        """Return a length: in mm, or without a unit in inches."""
        value = float(number) if number.count(b".") <= 1 and number != b"." else 0.0
        return self._mechanism.spec.dots(value if unit else value * MM_PER_INCH)

    def _print(self, copies: int) -> None:
        """Print what SIZE lets through."""
        width, height = self._size
        page = self._page.piece(0, 0, self._page.width, height)
        clip = ((1 << min(width, page.width)) - 1) << (page.width - min(width, page.width))
        page.rows = [row & clip for row in page.rows]
        self._mechanism.add(PrintedPage(page, max(copies, 1)))
