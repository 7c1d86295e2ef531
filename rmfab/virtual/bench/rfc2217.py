"""The server side of RFC 2217: a serial port's bytes, baud rate and control lines over Telnet.

Written from RFC 854 and RFC 2217. It never waits for the client, so that both stock clients, which negotiate at length,
and lean ones, which only send subnegotiations, work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique

# Telnet commands: RFC 854; the COM port option, its subcommands and control values: RFC 2217, section 3.
_IAC = 0xFF
_SE, _SB, _WILL, _WONT, _DO, _DONT = 0xF0, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE
_COM_PORT = 44
_OPTIONS = frozenset({0, 1, 3, _COM_PORT})  # BINARY, ECHO, SUPPRESS GO AHEAD, COM-PORT-OPTION
_TO_CLIENT = 100  # added to a subcommand in the server's answers
_MODEM_STATE = bytes([0xB0])  # CTS, DSR and carrier detect are on
_LONGEST_SUBNEGOTIATION = 64
SIGNATURE = "rmfab virtual board"


@unique
class _Sub(IntEnum):
    SIGNATURE = 0
    SET_BAUDRATE = 1
    SET_DATASIZE = 2
    SET_PARITY = 3
    SET_STOPSIZE = 4
    SET_CONTROL = 5
    NOTIFY_LINESTATE = 6
    NOTIFY_MODEMSTATE = 7
    FLOW_SUSPEND = 8
    FLOW_RESUME = 9
    SET_LINESTATE_MASK = 10
    SET_MODEMSTATE_MASK = 11
    PURGE_DATA = 12


_DTR_ON, _DTR_OFF, _RTS_ON, _RTS_OFF = 8, 9, 11, 12
_PURGE_TO_CLIENT = (1, 3)


@dataclass
class Line:
    """The serial side of a Telnet connection: one callback for each action of a client.

    *send* sends raw bytes to the client; *baud* returns the current rate, *signature* names the port.
    """

    send: Callable[[bytes], None]
    on_data: Callable[[bytes], None]
    on_baud: Callable[[int], None]
    on_dtr: Callable[[bool], None]
    on_rts: Callable[[bool], None]
    on_purge: Callable[[], None]
    baud: Callable[[], int]
    dtr: Callable[[], bool]
    rts: Callable[[], bool]
    powered: Callable[[], bool]
    signature: str = SIGNATURE

    @property
    def modem_state(self) -> bytes:
        """CTS, DSR and carrier detect, which the supply of the board drives."""
        return _MODEM_STATE if self.powered() else b"\x00"


class TelnetPort:
    """One client's connection: `feed` processes what it sends, `escape` encodes what the serial line sends to it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._rest = b""
        self._ours: set[int] = set()
        self._theirs: set[int] = set()

    @staticmethod
    def escape(data: bytes) -> bytes:
        """Return serial bytes encoded for a Telnet stream."""
        return data.replace(b"\xff", b"\xff\xff")

    def feed(self, data: bytes) -> None:
        """Process bytes of the Telnet stream."""
        data = self._rest + data
        self._rest = b""
        plain: list[bytes] = []
        at = 0
        while (mark := data.find(_IAC, at)) >= 0:
            plain.append(data[at:mark])
            length = _command_length(data, mark)
            if length == 0:
                self._rest = data[mark:]
                break
            if data[mark + 1] == _IAC:
                plain.append(b"\xff")
            else:
                self._pass_on(plain)
                self._command(data[mark : mark + length])
            at = mark + length
        else:
            plain.append(data[at:])
        self._pass_on(plain)

    def _pass_on(self, plain: list[bytes]) -> None:
        joined = b"".join(plain)
        plain.clear()
        if joined:
            self._line.on_data(joined)

    def _command(self, command: bytes) -> None:
        verb = command[1]
        if verb == _SB:
            body = command[2:-2].replace(b"\xff\xff", b"\xff")
            if len(body) >= 2 and body[0] == _COM_PORT:
                self._subnegotiation(body[1], body[2:])
        elif verb in (_WILL, _WONT):
            self._negotiate(self._theirs, command[2], verb == _WILL, _DO, _DONT)
        elif verb in (_DO, _DONT):
            self._negotiate(self._ours, command[2], verb == _DO, _WILL, _WONT)

    def _negotiate(self, active: set[int], option: int, wanted: bool, yes: int, no: int) -> None:
        if wanted and option not in _OPTIONS:
            self._line.send(bytes([_IAC, no, option]))
        elif wanted and option not in active:
            active.add(option)
            self._line.send(bytes([_IAC, yes, option]))
            if option == _COM_PORT and yes == _DO:
                self._answer(_Sub.NOTIFY_MODEMSTATE, self._line.modem_state)
        elif not wanted and option in active:
            active.discard(option)
            self._line.send(bytes([_IAC, no, option]))

    def _subnegotiation(self, sub: int, value: bytes) -> None:
        line = self._line
        match sub:
            case _Sub.SET_BAUDRATE if len(value) == 4:
                if any(value):
                    line.on_baud(int.from_bytes(value, "big"))
                value = line.baud().to_bytes(4, "big")
            case _Sub.SET_DATASIZE | _Sub.SET_PARITY | _Sub.SET_STOPSIZE if value == b"\0":
                value = b"\x08" if sub == _Sub.SET_DATASIZE else b"\x01"
            case _Sub.SET_CONTROL if value:
                value = self._control(value[0])
            case _Sub.PURGE_DATA if value and value[0] in _PURGE_TO_CLIENT:
                line.on_purge()
            case _Sub.NOTIFY_MODEMSTATE:
                value = line.modem_state
            case _Sub.SIGNATURE:
                value = line.signature.encode()
            case _Sub.FLOW_SUSPEND | _Sub.FLOW_RESUME:
                return
        self._answer(sub, value)
        if sub == _Sub.SET_MODEMSTATE_MASK:
            self._answer(_Sub.NOTIFY_MODEMSTATE, self._line.modem_state)

    def _control(self, value: int) -> bytes:
        line = self._line
        if value in (_DTR_ON, _DTR_OFF):
            line.on_dtr(value == _DTR_ON)
        elif value in (_RTS_ON, _RTS_OFF):
            line.on_rts(value == _RTS_ON)
        elif value == 7:  # request the state of DTR
            return bytes([_DTR_ON if line.dtr() else _DTR_OFF])
        elif value == 10:  # request the state of RTS
            return bytes([_RTS_ON if line.rts() else _RTS_OFF])
        elif value == 0:  # request the flow control setting
            return b"\x01"
        return bytes([value])

    def _answer(self, sub: int, value: bytes) -> None:
        body = bytes([_COM_PORT, sub + _TO_CLIENT]) + self.escape(value)
        self._line.send(bytes([_IAC, _SB]) + body + bytes([_IAC, _SE]))


def _command_length(data: bytes, at: int) -> int:
    """Return the length of the Telnet command at *at*; 0 if it is not complete yet."""
    if at + 1 >= len(data):
        return 0
    verb = data[at + 1]
    if verb in (_WILL, _WONT, _DO, _DONT):
        return 3 if at + 2 < len(data) else 0
    if verb != _SB:
        return 2
    search = at + 2
    while (mark := data.find(_IAC, search)) >= 0 and mark + 1 < len(data):
        if data[mark + 1] == _SE:
            return mark + 2 - at
        search = mark + 2
    return 0 if len(data) - at <= _LONGEST_SUBNEGOTIATION else 2
