"""A lean RFC 2217 client port, for remote stations and virtual boards.

pyserial's own client renegotiates every setting when esptool changes a timeout, and waits 50 ms for each answer; that
costs 240 ms per command. This client sends only what changed and does not wait: TCP keeps the order.
Source: RFC 2217 §3, RFC 854.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import serial

from rmfab.board.dial import dial
from rmfab.signals import SLICE_SECONDS

_IAC, _DONT, _DO, _WONT, _WILL, _SB, _SE = 255, 254, 253, 252, 251, 250, 240
_BINARY, _SGA, _COM_PORT = 0, 3, 44
_SIGNATURE, _SET_BAUDRATE, _SET_DATASIZE, _SET_PARITY, _SET_STOPSIZE, _SET_CONTROL, _PURGE_DATA = 0, 1, 2, 3, 4, 5, 12
_NOTIFY_MODEMSTATE = 7
_ANSWER = 100  # added to a subcommand in the server's answer
_MODEM_SECONDS, _MODEM_REST_SECONDS = 0.5, 0.05
_CTS, _DSR, _RI, _CD = 0x10, 0x20, 0x40, 0x80
_CONTROL_NO_FLOW, _CONTROL_DTR_ON, _CONTROL_DTR_OFF, _CONTROL_RTS_ON, _CONTROL_RTS_OFF = 1, 8, 9, 11, 12
_PURGE_RECEIVED = 1
_CONNECT_SECONDS = 5.0
_AGREE_SECONDS = 3.0
_SEND_SECONDS = 10.0
_ANSWER_SECONDS = 0.5
_LONGEST_SIGNATURE = 200


class Rfc2217Port(serial.SerialBase):
    """A `rfc2217://host:port` URL as a pyserial port: 8N1, no flow control, DTR and RTS as control lines.

    Raise serial.SerialException as every pyserial port does: on open if the server is unreachable or has a different
    client, later if the connection is lost. *keep_going* is called while it opens, and raises to give up.
    """

    def __init__(self, keep_going: Callable[[], None] = lambda: None) -> None:
        self._keep_going = keep_going
        self._unanswered = 0
        self._told_baud: int | None = None
        self.signature = ""
        super().__init__()

    def open(self) -> None:
        """Connect, agree on RFC 2217 and binary transmission, and set baud and control lines."""
        parts = urlsplit(self.portstr or "")
        if parts.scheme != "rfc2217" or not parts.hostname or parts.port is None:
            raise serial.SerialException(f"{self.portstr!r} is not of the form rfc2217://host:port")
        try:
            self._socket = dial((parts.hostname, parts.port), _CONNECT_SECONDS, self._keep_going)
        except OSError as error:
            raise serial.SerialException(error.errno, f"could not open {self.portstr}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(_SEND_SECONDS)
        self._received = bytearray()
        self._undecoded = b""
        self._agreed = False
        self._modem_state: int | None = None
        self._sent_baud: int | None = None
        self._unanswered = 0
        self._told_baud = None
        self.signature = ""
        self.is_open = True
        try:
            self._agree()
            self._reconfigure_port()
            self._com_port(_SIGNATURE, b"")
            self._control(_CONTROL_NO_FLOW)
            self._update_dtr_state()
            self._update_rts_state()
        except serial.SerialException as error:
            self.close()
            if error.errno == errno.ECONNRESET:  # a server that has a client hangs up on a second one
                raise serial.SerialException(errno.EBUSY, f"{self.portstr} hung up at once") from error
            raise
        except BaseException:
            self.close()
            raise

    def _agree(self) -> None:
        offers = ((_WILL, _COM_PORT), (_WILL, _BINARY), (_DO, _BINARY), (_WILL, _SGA), (_DO, _SGA))
        self._send(b"".join(bytes((_IAC, verb, option)) for verb, option in offers))
        deadline = time.monotonic() + _AGREE_SECONDS
        while not self._agreed:
            left = deadline - time.monotonic()
            if left <= 0:
                raise serial.SerialException(f"{self.portstr} does not speak RFC 2217")
            self._keep_going()
            self._pull(min(left, SLICE_SECONDS))

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if self.is_open:
            self.is_open = False
            self._socket.close()

    def _send(self, data: bytes) -> None:
        if not self.is_open:
            raise serial.PortNotOpenError
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, why: object) -> serial.SerialException:
        return serial.SerialException(errno.ECONNRESET, str(getattr(why, "strerror", None) or why))

    def _com_port(self, command: int, value: bytes) -> None:
        body = bytes((_COM_PORT, command)) + value.replace(b"\xff", b"\xff\xff")
        self._send(bytes((_IAC, _SB)) + body + bytes((_IAC, _SE)))

    def _control(self, value: int) -> None:
        self._com_port(_SET_CONTROL, bytes((value,)))

    def _reconfigure_port(self) -> None:
        # pyserial calls this for every property, timeouts included; only the baud matters to the server
        if not self.is_open or self._sent_baud == self.baudrate:
            return
        if self._sent_baud is None:
            for command in (_SET_DATASIZE, _SET_PARITY, _SET_STOPSIZE):
                self._com_port(command, b"\x08" if command == _SET_DATASIZE else b"\x01")
        self._com_port(_SET_BAUDRATE, struct.pack("!I", self.baudrate))
        self._sent_baud = self.baudrate
        self._unanswered += 1

    def confirmed_baud(self) -> int | None:
        """Return the rate that the server has set, None if it does not tell within half a second."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._unanswered and (left := deadline - time.monotonic()) > 0:
            self._pull(left)
        return None if self._unanswered else self._told_baud

    def _update_dtr_state(self) -> None:
        self._control(_CONTROL_DTR_ON if self.dtr else _CONTROL_DTR_OFF)

    def _update_rts_state(self) -> None:
        self._control(_CONTROL_RTS_ON if self.rts else _CONTROL_RTS_OFF)

    def _modem(self, line: int) -> bool:
        """Ask for the modem lines, and return whether *line* is set. Raise serial.SerialException without an answer.

        A server also reports them unasked, so that the last report that comes in a moment counts, not the first.
        """
        self._modem_state = None
        self._com_port(_NOTIFY_MODEMSTATE, b"\x00")
        deadline = time.monotonic() + _MODEM_SECONDS
        while self._modem_state is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise serial.SerialException(errno.ENOTTY, f"{self.portstr} does not report its modem lines")
            self._pull(left)
        while self._pull(_MODEM_REST_SECONDS) and time.monotonic() < deadline:
            pass
        return bool(self._modem_state & line)

    @property
    def cts(self) -> bool:
        """Whether Clear To Send is set."""
        return self._modem(_CTS)

    @property
    def dsr(self) -> bool:
        """Whether Data Set Ready is set."""
        return self._modem(_DSR)

    @property
    def ri(self) -> bool:
        """Whether Ring Indicator is set."""
        return self._modem(_RI)

    @property
    def cd(self) -> bool:
        """Whether Carrier Detect is set."""
        return self._modem(_CD)

    @property
    def in_waiting(self) -> int:
        """Number of bytes that `read` returns at once."""
        self._pull(0)
        return len(self._received)

    def read(self, size: int = 1, /) -> bytes:
        """Return up to *size* bytes, fewer if the timeout ends."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while len(self._received) < size:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._pull(left) and deadline is not None and time.monotonic() >= deadline:
                break
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        """Send *data* and return its length."""
        self._send(bytes(data).replace(b"\xff", b"\xff\xff"))
        return len(data)

    def flush(self) -> None:
        """Do nothing: TCP_NODELAY is on."""

    def reset_input_buffer(self) -> None:
        """Discard the received bytes, here and at the server."""
        self._com_port(_PURGE_DATA, bytes((_PURGE_RECEIVED,)))
        self._pull(0)
        self._received.clear()

    def reset_output_buffer(self) -> None:
        """Do nothing: this port has no output buffer."""

    def _pull(self, seconds: float | None) -> bool:
        """Receive what arrives within *seconds* (None: no limit). Return False if nothing did."""
        if not self.is_open:
            raise serial.PortNotOpenError
        try:
            ready, _, _ = select.select([self._socket], [], [], seconds)
            if not ready:
                return False
            data = self._socket.recv(65536)
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost("connection closed by the server")
        self._decode(self._undecoded + data)
        return True

    def _decode(self, data: bytes) -> None:
        """Separate data from telnet commands; keep an unfinished command until its rest arrives."""
        self._undecoded = b""
        while (at := data.find(_IAC)) >= 0:
            self._received += data[:at]
            data = data[at:]
            length = _command_length(data)
            if length is None:
                self._undecoded = data
                return
            self._obey(data[:length])
            data = data[length:]
        self._received += data

    def _obey(self, command: bytes) -> None:
        verb = command[1]
        if verb == _IAC:
            self._received.append(_IAC)
        elif verb == _SB:
            self._note_answer(command[2:-2].replace(b"\xff\xff", b"\xff"))
        elif verb in (_DO, _WILL) and command[2] == _COM_PORT:
            self._agreed = True
        elif verb == _DO and command[2] not in (_BINARY, _SGA):
            self._send(bytes((_IAC, _WONT, command[2])))
        elif verb == _WILL and command[2] not in (_BINARY, _SGA):
            self._send(bytes((_IAC, _DONT, command[2])))

    def _note_answer(self, body: bytes) -> None:
        if len(body) == 6 and body[:2] == bytes((_COM_PORT, _SET_BAUDRATE + _ANSWER)):
            self._unanswered = max(0, self._unanswered - 1)
            (self._told_baud,) = struct.unpack_from("!I", body, 2)
        elif len(body) > 2 and body[:2] == bytes((_COM_PORT, _SIGNATURE + _ANSWER)):
            self.signature = body[2 : 2 + _LONGEST_SIGNATURE].decode("ascii", "replace")
        elif len(body) > 2 and body[:2] == bytes((_COM_PORT, _NOTIFY_MODEMSTATE + _ANSWER)):
            self._modem_state = body[2]


def _command_length(data: bytes) -> int | None:
    """Return the length of the telnet command at the start of *data*, None if it is incomplete."""
    if len(data) < 2:
        return None
    if data[1] in (_DO, _DONT, _WILL, _WONT):
        return 3 if len(data) >= 3 else None
    if data[1] != _SB:
        return 2
    at = 2
    while (at := data.find(_IAC, at)) >= 0:
        if len(data) < at + 2:
            return None
        if data[at + 1] == _SE:
            return at + 2
        at += 2
    return None
