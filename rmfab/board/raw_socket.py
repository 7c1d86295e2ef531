"""`socket://host:port` ports: raw bytes over TCP, without control lines or a baud. Fixes two defects of pyserial.

pyserial counts any number of waiting bytes as one, so that reading each byte is a system call, and it leaks the socket
if the other end has closed the connection.
"""

from __future__ import annotations

import select
import socket
from typing import Any

import serial
from serial.urlhandler import protocol_socket

_MOST = 65536


class RawSocketPort(protocol_socket.Serial):
    """pyserial's socket port with a true count of waiting bytes, which always closes its socket."""

    _socket: socket.socket | None

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
