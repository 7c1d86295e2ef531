"""`socket://host:port` ports: raw bytes over TCP, without control lines or a baud. Fixes three defects of pyserial.

pyserial counts any number of waiting bytes as one, so that reading each byte is a system call, it leaks the socket if
the other end has closed the connection, and it drops the error number of one that cannot be made.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import serial
from serial.urlhandler import protocol_socket

from rmfab.board.dial import dial

_MOST = 65536
_CONNECT_SECONDS = 5.0


class RawSocketPort(protocol_socket.Serial):
    """pyserial's socket port with a true count of waiting bytes, which always closes its socket."""

    _socket: socket.socket | None
    logger = None

    def __init__(self, keep_going: Callable[[], None] = lambda: None) -> None:
        self._keep_going = keep_going
        super().__init__()

    def open(self) -> None:
        """Connect; *keep_going* is called meanwhile, and raises to give up. Raise serial.SerialException."""
        parts = urlsplit(self.portstr or "")
        if not parts.hostname or parts.port is None:
            raise serial.SerialException(f"{self.portstr!r} is not of the form socket://host:port")
        try:
            self._socket = dial((parts.hostname, parts.port), _CONNECT_SECONDS, self._keep_going)
        except OSError as error:
            raise serial.SerialException(error.errno, f"could not open {self.portstr}: {error}") from error
        self._socket.setblocking(False)
        self.is_open = True
        self.reset_input_buffer()

    @property
    def in_waiting(self) -> int:
        """Number of bytes that `read` returns at once."""
        if self._socket is None:
            raise serial.PortNotOpenError
        if not select.select([self._socket], [], [], 0)[0]:
            return 0
        try:
            return len(self._socket.recv(_MOST, socket.MSG_PEEK))
        except OSError as error:
            raise serial.SerialException(error.errno, str(error)) from error

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        left: Any = self._socket if self.is_open else None
        super().close()
        if left is not None:
            left.close()
