"""The UART console of a running board: lines as they arrive, commands and their answers.

The console judges nothing: it passes lines to `rmfab.board.bootlog` and keeps the text for the log file. Whatever the
board sends, a line, a read and the text that is kept have a largest size.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator

from rmfab.board.port import SerialPort, guarded

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_POLL_SECONDS = 0.1
_LONGEST_LINE = 4096
_LARGEST_READ = 64 * 1024
_KEPT_BYTES = 256 * 1024
_MOST_READS = 64


class Transcript:
    """The beginning and the end of everything that was received, at most *kept* bytes (and a line) of each."""

    def __init__(self, kept: int = _KEPT_BYTES) -> None:
        self._kept = kept
        self._beginning = bytearray()
        self._end = bytearray()
        self._left_out = 0

    def add(self, data: bytes) -> None:
        """Add *data*. Leave out what is now too old, up to the end of a line, so that no secret is cut in two."""
        if not self._end and len(self._beginning) < self._kept:
            self._beginning += data
            return
        self._end += data
        if len(self._end) > 2 * self._kept:
            old = self._end.find(b"\n", len(self._end) - self._kept) + 1 or len(self._end) - self._kept
            self._left_out += old
            del self._end[:old]

    @property
    def text(self) -> str:
        """The text, with a line in place of what was left out."""
        gap = f"\n[rmfab: {self._left_out} bytes left out]\n" if self._left_out else ""
        return f"{_decode(bytes(self._beginning))}{gap}{_decode(bytes(self._end))}"


class UnitConsole:
    """A reader of lines from an open port. *keep_going* is called between reads and may raise to abort."""

    def __init__(self, port: SerialPort, address: str, keep_going: Callable[[], None]) -> None:
        self._port = port
        self._address = address
        self._keep_going = keep_going
        self._pending = b""
        self._unread: deque[str] = deque()
        self._transcript = Transcript()
        self._follower: Callable[[str], None] | None = None

    @property
    def text(self) -> str:
        """The text received so far; it may contain the PoP."""
        return self._transcript.text

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield lines without ANSI colours as they arrive, for *seconds*. Raise PortError if the port is lost.

        Lines that have arrived but were not asked for are kept for the next call.
        """
        deadline = time.monotonic() + seconds
        yield from self._unread_lines()
        while (left := deadline - time.monotonic()) > 0:
            self._keep_going()
            self._receive(min(left, _POLL_SECONDS))
            yield from self._unread_lines()

    def hear(self) -> None:
        """Pass the lines that have arrived to the follower, without waiting for more. Raise PortError."""
        for _ in range(_MOST_READS):
            more = self._receive(0.0)
            for _line in self._unread_lines():
                pass
            if not more:
                return

    def _unread_lines(self) -> Iterator[str]:
        while self._unread:
            text = self._unread.popleft()
            if self._follower is not None:
                self._follower(text)
            yield text

    def follow(self, follower: Callable[[str], None]) -> None:
        """Pass every line that is read from now on to *follower* too."""
        self._follower = follower

    def _receive(self, seconds: float) -> bool:
        """Receive what arrives within *seconds*; return whether anything did."""

        def pull() -> bytes:
            self._port.timeout = seconds
            first = self._port.read(1)
            waiting = min(self._port.in_waiting, _LARGEST_READ) if first else 0
            return first + self._port.read(waiting) if waiting else first

        data = guarded(self._address, pull)
        self._transcript.add(data)
        *whole, rest = (self._pending + data).split(b"\n")
        pieces = [piece for line in whole for piece in _cut(line)]
        *more, self._pending = _cut(rest)
        self._unread.extend(_ANSI.sub("", _decode(piece)).rstrip("\r") for piece in (*pieces, *more))
        return bool(data)

    def send(self, command: str) -> None:
        """Send *command* without waiting for an answer."""
        guarded(self._address, lambda: self._port.write(command.encode() + b"\r\n"))

    def ask(self, command: str, answer: re.Pattern[str], seconds: float) -> re.Match[str] | None:
        """Send *command* and return the first match of *answer* in a line, None if there is none within *seconds*."""
        self.send(command)
        for line in self.lines(seconds):
            if match := answer.search(line):
                return match
        return None


def _cut(line: bytes) -> list[bytes]:
    """Return *line* in pieces of at most `_LONGEST_LINE` bytes, since a board may never send a line end."""
    return [line[start : start + _LONGEST_LINE] for start in range(0, len(line), _LONGEST_LINE)] or [b""]


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\x00", "")
