"""The UART console of a running board: lines as they arrive, commands and their answers.

The console never judges: it hands lines to `rmfab.board.bootlog` and keeps the text for the log file.
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
    """Reads lines from an open port. *keep_going* is asked between reads and raises where the line is aborted."""

    def __init__(self, port: SerialPort, address: str, keep_going: Callable[[], None]) -> None:
        self._port = port
        self._address = address
        self._keep_going = keep_going
        self._pending = b""
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """Everything received so far, as text; it may hold the PoP."""
        return "".join(self._text) + _decode(self._pending)

    def lines(self, seconds: float) -> Iterator[str]:
        """Lines without ANSI colours as they arrive, for at most *seconds*. Raises PortError where the port goes."""
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
        """Types *command* and does not wait for an answer."""
        guarded(self._address, lambda: self._port.write(command.encode() + b"\r\n"))

    def ask(self, command: str, answer: re.Pattern[str], seconds: float) -> re.Match[str] | None:
        """Types *command* and returns the first line that *answer* finds, None where none came in *seconds*."""
        self.send(command)
        for line in self.lines(seconds):
            if match := answer.search(line):
                return match
        return None


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\x00", "")
