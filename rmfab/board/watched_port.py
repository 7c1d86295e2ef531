"""A port whose waits can be given up: each read and write calls a function between slices, which raises to stop.

esptool and the console wait for a board inside one call of the port, up to minutes. Only the port can end such a wait.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import serial

from rmfab.board.port import ANSWER_SECONDS, SerialPort
from rmfab.signals import SLICE_SECONDS

_PIECE_BYTES = 512  # a terminal device with room accepts as much at once


def watched(port: SerialPort, keep_going: Callable[[], None]) -> SerialPort:
    """Return *port*, whose reads and writes call *keep_going* before each slice of their wait."""
    return cast("SerialPort", _WatchedPort(port, keep_going))


class _WatchedPort:
    """A stand-in for an open port: its own `timeout`, `read` and `write`; everything else is the port's."""

    _own = ("_port", "_keep_going", "timeout")

    def __init__(self, port: SerialPort, keep_going: Callable[[], None]) -> None:
        self._port = port
        self._keep_going = keep_going
        self.timeout: float | None = ANSWER_SECONDS  # not the port's: that is what an earlier read has left of its wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self._port, name, value)

    def read(self, size: int = 1, /) -> bytes:
        """Return up to *size* bytes within `timeout`, as the port does."""
        ending = None if self.timeout is None else time.monotonic() + self.timeout
        received = b""
        while True:
            self._keep_going()
            left = SLICE_SECONDS if ending is None else ending - time.monotonic()
            wanted = min(SLICE_SECONDS, max(0.0, left))
            if self._port.timeout != wanted:
                self._port.timeout = wanted
            received += self._port.read(size - len(received))
            if len(received) >= size or (ending is not None and left <= SLICE_SECONDS):
                return received

    def write(self, data: bytes, /) -> int:
        """Send all of *data*, in pieces if the device says when it has room. Raise as the port does."""
        self._keep_going()
        if not isinstance(self._port, serial.Serial) or sys.platform == "win32":
            return self._port.write(data) or len(data)
        for start in range(0, len(data), _PIECE_BYTES):
            self._await_room(self._port)
            self._port.write(data[start : start + _PIECE_BYTES])
        return len(data)

    def _await_room(self, port: serial.Serial) -> None:
        ending = None if port.write_timeout is None else time.monotonic() + port.write_timeout
        while not select.select([], [port.fileno()], [], SLICE_SECONDS)[1]:
            self._keep_going()
            if ending is not None and time.monotonic() >= ending:
                raise serial.SerialTimeoutException("Write timeout")
