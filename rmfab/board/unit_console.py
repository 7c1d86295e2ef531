"""The UART console of a running board: lines as they arrive, commands and their answers.

The console judges nothing: it passes lines to `rmfab.board.bootlog` and keeps the text for the log file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from rmfab.board.port import SerialPort, guarded

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_POLL_SECONDS = 0.1
_LONGEST_LINE = 4096


class UnitConsole:
    """A reader of lines from an open port. *keep_going* is called between reads and may raise to abort."""

    def __init__(self, port: SerialPort, address: str, keep_going: Callable[[], None]) -> None:
        self._port = port
        self._address = address
        self._keep_going = keep_going
        self._pending = b""
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """The text received so far; it may contain the PoP."""
        return "".join(self._text) + _decode(self._pending)

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield lines without ANSI colours as they arrive, for *seconds*. Raise PortError if the port is lost."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._keep_going()
            for line in self._receive(min(left, _POLL_SECONDS)):
                yield _ANSI.sub("", line).rstrip("\r\n")

    def _receive(self, seconds: float) -> list[str]:
        def pull() -> bytes:
            self._port.timeout = seconds
            first = self._port.read(1)
            return first + self._port.read(waiting) if first and (waiting := self._port.in_waiting) else first

        data = self._pending + guarded(self._address, pull)
        *whole, self._pending = data.split(b"\n")
        if len(self._pending) > _LONGEST_LINE:
            whole.append(self._pending)
            self._pending = b""
        lines = [_decode(line) + "\n" for line in whole]
        self._text.extend(lines)
        return lines

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


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\x00", "")
