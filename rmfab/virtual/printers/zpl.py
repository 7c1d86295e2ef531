"""What reads ZPL in a virtual printer.

It is as strict as firmware: the head cuts what is wider, a graphic field with a wrong CRC is dropped, and a format
without ^XZ swallows the next one. ~ commands are obeyed at once, wherever they stand.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable
from contextlib import suppress

from rmfab.virtual.printers.bitmap import Bitmap
from rmfab.virtual.printers.faults import PrinterTrouble as Trouble
from rmfab.virtual.printers.mechanism import Mechanism, PrintedPage

_MOST = 1 << 24
_TALLEST = 32_000
_IMMEDIATE = re.compile(rb"~(HQ[A-Z]{2}|SD[0-9]{2}|(?!DG|HQ|SD)[A-Z]{2})")
_DOWNLOAD = re.compile(rb"~DG([^~^]*)(?=[~^])")
_GRAPHIC = re.compile(r"A,([0-9]{1,8}),([0-9]{1,8}),([0-9]{1,4}),(.*)", re.DOTALL)
_STORED = re.compile(r"(?:R:)?([A-Z0-9]{1,8}\.GRF),([0-9]{1,8}),([0-9]{1,4}),(.*)", re.DOTALL)
_NAMED = re.compile(r"(?:R:)?([A-Z0-9]{1,8}\.GRF)")
_MOST_STORED = 64
_PAIR = re.compile(r"([0-9]{1,5})(?:,([0-9]{1,5}))?")
_NIBBLES = frozenset("0123456789ABCDEF")


class ZplReader:
    """Reads ZPL for *mechanism*, and answers through *reply*."""

    def __init__(self, mechanism: Mechanism, reply: Callable[[bytes], None]) -> None:
        self._mechanism = mechanism
        self._reply = reply
        self._pending = b""
        self._page: Bitmap | None = None
        self._width = mechanism.spec.head_dots
        self._length = mechanism.spec.dots(mechanism.spec.height or 0)
        self._origin = self._home = (0, 0)
        self._copies = 1
        self._stored: dict[str, tuple[int, bytes]] = {}
        self._inverted = self._has_field = False

    def feed(self, data: bytes) -> None:
        """Read *data*."""
        self._pending += data
        if len(self._pending) > _MOST:
            self._pending = b""
        while self._step():
            pass
        if b"^" not in self._pending and b"~" not in self._pending:
            self._pending = b""

    def _step(self) -> bool:
        """Obey the first whole command that is pending, or a ~ command behind it."""
        if (found := _IMMEDIATE.search(self._pending)) and self._is_first_tilde(found.start()):
            before = self._pending[: found.start()]
            self._pending = self._pending[found.end() :]
            self._obey_before(before)
            self._obey_tilde(found[1])
            return True
        if found := _DOWNLOAD.match(self._pending.lstrip()):
            self._store(found[1].decode("latin-1"))
            self._pending = self._pending.lstrip()[found.end() :]
            return True
        start = self._pending.find(b"^")
        end = self._pending.find(b"^", start + 1)
        if start < 0 or (end < 0 and not self._pending.startswith(b"^XZ", start)):
            return False
        end = start + 3 if end < 0 else end
        command, self._pending = self._pending[start + 1 : end], self._pending[end:]
        self._obey(command[:2].decode("latin-1").upper(), command[2:].decode("latin-1"))
        return True

    def _is_first_tilde(self, at: int) -> bool:
        return b"^XZ" not in self._pending[:at] and self._pending.find(b"~") == at

    def _obey_before(self, before: bytes) -> None:
        """Obey the commands before a ~; it ends the data of the last one."""
        for command in before.split(b"^")[1:]:
            self._obey(command[:2].decode("latin-1").upper(), command[2:].decode("latin-1"))

    def _obey_tilde(self, name: bytes) -> None:
        match name:
            case b"HS":
                self._reply(self._host_status())
            case b"HI":
                self._reply(self._identification())
            case b"HQES":
                self._reply(self._extended_status())
            case b"JA":
                self._page = None
                self._mechanism.cancel()
            case b"PS":
                self._mechanism.fix(Trouble.PAUSED)

    def _obey(self, name: str, value: str) -> None:
        match name:
            case "XA" if self._page is None:
                self._page, self._copies = Bitmap(self._mechanism.spec.head_dots), 1
                self._has_field = False
            case "XZ":
                self._end_format()
            case "PW" if found := _PAIR.match(value):
                self._width = min(int(found[1]), self._mechanism.spec.head_dots)
            case "LL" if found := _PAIR.match(value):
                self._length = int(found[1])
            case "LH" if found := _PAIR.match(value):
                self._home = (int(found[1]), int(found[2] or 0))
            case "FO" if found := _PAIR.match(value):
                self._origin, self._has_field = (int(found[1]), int(found[2] or 0)), True
            case "PQ" if found := _PAIR.match(value):
                self._copies = max(int(found[1]), 1)
            case "GF" if self._page is not None:
                self._draw(self._page, value)
            case "XG" if self._page is not None and (found := _NAMED.match(value)):
                row_bytes, data = self._stored.get(found[1], (1, b""))
                self._draw_rows(self._page, data, row_bytes)
            case "ID" if found := _NAMED.match(value):
                self._stored.pop(found[1], None)
            case "PO":
                self._inverted = value.startswith("I")

    def _draw(self, page: Bitmap, value: str) -> None:
        """Draw a graphic field; one that is damaged is dropped."""
        found = _GRAPHIC.fullmatch(value)
        if found is None or not int(found[3]):
            return
        row_bytes, total = int(found[3]), int(found[2])
        self._draw_rows(page, _decoded("".join(found[4].split()), row_bytes, total), row_bytes)

    def _store(self, value: str) -> None:
        """Keep a picture that ~DG downloads; one that is damaged is dropped."""
        found = _STORED.fullmatch(value.strip())
        if found is not None and int(found[3]) and len(self._stored) < _MOST_STORED:
            data = _decoded("".join(found[4].split()), int(found[3]), int(found[2]))
            self._stored[found[1]] = (int(found[3]), data)

    def _draw_rows(self, page: Bitmap, data: bytes, row_bytes: int) -> None:
        """Draw a picture at the place of the field. What is wider than ^PW is lost."""
        left, top = self._home[0] + self._origin[0], self._home[1] + self._origin[1]
        clip = ((1 << self._width) - 1) << (page.width - self._width)
        for number in range(min(len(data) // row_bytes, _TALLEST)):
            page.put(left, top + number, data[number * row_bytes : (number + 1) * row_bytes])
            if top + number < len(page.rows):
                page.rows[top + number] &= clip

    def _end_format(self) -> None:
        page, self._page = self._page, None
        if page is None or not self._has_field:
            return
        if self._inverted:
            page.turn(self._width, self._length)
        if self._mechanism.spec.height is None:
            page.rows = (page.rows + [0] * self._length)[: self._length]
        self._mechanism.add(PrintedPage(page, self._copies))

    def _host_status(self) -> bytes:
        machine = self._mechanism
        current, waiting = machine.current, len(machine.queue)
        head = machine.has(Trouble.HEAD_OPEN, Trouble.COVER_OPEN)
        remaining = current.copies if current is not None else 0
        one = (
            f"030,{machine.has(Trouble.PAPER_OUT):d},{self._pauses:d},{self._length % 10000:04},{min(waiting, 999):03},"
            f"{machine.has(Trouble.BUFFER_FULL):d},0,{self._page is not None:d},000,0,{machine.has(Trouble.COLD):d},"
            f"{machine.has(Trouble.HOT):d}"
        )
        mode = 1 if machine.has(Trouble.PEEL) else 2
        ribbon = machine.has(Trouble.RIBBON_OUT)
        two = f"000,0,{head:d},{ribbon:d},1,{mode},6,{machine.label_waits:d},{remaining:08},1,000"
        return b"".join(b"\x02" + line.encode() + b"\x03\r\n" for line in (one, two, "1234,0"))

    @property
    def _pauses(self) -> bool:
        """A printer with an error pauses, too."""
        return any(one.stops for one in self._mechanism.troubles - {Trouble.STUCK, Trouble.BUFFER_FULL})

    def _identification(self) -> bytes:
        spec = self._mechanism.spec
        dots = {203: 8, 300: 12, 600: 24}.get(spec.dpi, 6)
        return f"\x02{spec.model} ,V93.21.26Z,{dots},8176KB\x03\r\n".encode()

    def _extended_status(self) -> bytes:
        bits = 0
        for trouble, bit in (
            (Trouble.PAPER_OUT, 0x1),
            (Trouble.JAM, 0x1),
            (Trouble.RIBBON_OUT, 0x2),
            (Trouble.HEAD_OPEN, 0x4),
            (Trouble.COVER_OPEN, 0x4),
            (Trouble.CUTTER, 0x8),
            (Trouble.HOT, 0x10),
            (Trouble.BROKEN, 0x40),
            (Trouble.PAUSED, 0x10000),
        ):
            bits |= bit if self._mechanism.has(trouble) else 0
        lines = ("", "  PRINTER STATUS", f"   ERRORS:         {bits > 0:d} 00000000 {bits:08X}",
                 "   WARNINGS:       0 00000000 00000000", "")  # fmt: skip
        return b"\x02" + "\r\n".join(lines).encode() + b"\x03\r\n"


def _decoded(data: str, row_bytes: int, total: int) -> bytes:
    """Return the bytes of a graphic field, empty if it is damaged."""
    if data.startswith((":Z64:", ":B64:")):
        return _from_base64(data)[:total]
    return _from_digits(data, row_bytes, total)


def _from_base64(data: str) -> bytes:
    text, _, crc = data[5:].partition(":")
    with suppress(ValueError, zlib.error):
        if binascii.crc_hqx(text.encode("ascii"), 0) == int(crc, 16):
            raw = base64.b64decode(text, validate=True)
            return zlib.decompressobj().decompress(raw, _MOST) if data[1] == "Z" else raw
    return b""


def _from_digits(data: str, row_bytes: int, total: int) -> bytes:
    """Return what hexadecimal digits with run lengths mean. Without enough of them, there is no picture."""
    rows: list[str] = []
    row, count, wide = "", 0, 2 * row_bytes
    for letter in data:
        if "G" <= letter <= "Y":
            count += ord(letter) - ord("F")
        elif "g" <= letter <= "z":
            count += 20 * (ord(letter) - ord("f"))
        elif letter.upper() in _NIBBLES:
            row += letter * (count or 1)
            count = 0
        elif letter == ":":
            row = rows[-1] if rows and not row else row
        elif letter in ",!":
            row += ("0" if letter == "," else "F") * (wide - len(row))
        while len(row) >= wide:
            rows.append(row[:wide])
            row = row[wide:]
        if len(rows) * row_bytes >= total:
            break
    found = bytes.fromhex("".join(rows))[:total]
    return found if len(found) == total else b""
