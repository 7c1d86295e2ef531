"""A `socket://host:port` port: raw bytes over TCP, without lines or a baud; pyserial's own, with two defects mended.

pyserial says of any number of waiting bytes that it is one, which makes reading a byte a system call, and leaks the
socket of a connection that the other end has closed.
"""

from __future__ import annotations

import select
import socket
from typing import Any

import serial
from serial.urlhandler import protocol_socket

_MOST = 65536


class RawSocketPort(protocol_socket.Serial):
    """pyserial's socket port that knows how much is waiting, and always closes its socket."""

    _socket: socket.socket | None

    @property
    def in_waiting(self) -> int:
        """Bytes that `read` returns at once."""
        if self._socket is None:
            raise serial.PortNotOpenError
        if not select.select([self._socket], [], [], 0)[0]:
            return 0
        try:
            return len(self._socket.recv(_MOST, socket.MSG_PEEK))
        except OSError as error:
            raise serial.SerialException(error.errno, str(error)) from error

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        left: Any = self._socket if self.is_open else None
        super().close()
        if left is not None:
            left.close()
