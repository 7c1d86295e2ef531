"""The port of a virtual board: RFC 2217, a raw TCP socket, or a pseudo-terminal.

One host at a time: a second connection is closed at once. Output is lost while no host is connected, as with a real
adapter.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rmfab.listening import LOOPBACK
from rmfab.virtual.bench.board import Board, Mode
from rmfab.virtual.bench.rfc2217 import SIGNATURE, Line, TelnetPort
from rmfab.virtual.chip.uart import ROM_BAUD
from rmfab.virtual.spec import PortKind


class Port(Protocol):
    """A port. `url` is what pyserial opens."""

    url: str

    async def open(self) -> None:
        """Start to accept hosts."""

    def attach(self, board: Board) -> None:
        """Put *board* behind the port."""

    def vanish(self) -> None:
        """Remove the port and disconnect its host; `open` brings it back under the same name."""

    def close(self) -> None:
        """Remove the port permanently."""


class TcpPort:
    """A listening socket on loopback. While the port is removed, a socket that does not listen reserves its number."""

    _board: Board

    def __init__(self, link: PortKind, number: int = 0) -> None:
        self._link = link
        self._number = number
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._host: _Host | None = None
        self.url = ""

    def attach(self, board: Board) -> None:
        """Put *board* behind the port."""
        self._board = board
        board.uart.to_host = self._send

    async def open(self) -> None:
        """Start to accept hosts."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, LOOPBACK, self._number, reuse_address=True, backlog=1)
        self._number = self._server.sockets[0].getsockname()[1]
        self._let_go()
        self.url = f"{self._link.value}://{LOOPBACK}:{self._number}"

    def vanish(self) -> None:
        """Remove the port but keep its number reserved."""
        self.close()
        if os.name == "posix":  # elsewhere not even `open` could bind the number again
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind((LOOPBACK, self._number))

    def close(self) -> None:
        """Remove the port."""
        self._let_go()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._host is not None:
            self._host.cut()
            self._host = None

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _accept(self) -> asyncio.Protocol:
        return _Host(self._board, self._link, self._admit, self._left)

    def _admit(self, host: _Host) -> bool:
        if self._host is not None:
            return False
        self._host = host
        self._board.uart.host_baud = ROM_BAUD
        return True

    def _left(self, host: _Host) -> None:
        if self._host is host:
            self._host = None
            self._board.circuit.drop()

    def _send(self, data: bytes) -> None:
        if self._host is not None:
            self._host.send(data)


class _Host(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, board: Board, link: PortKind, admit: Callable[[_Host], bool], left: Callable[[_Host], None]
    ) -> None:
        self._board = board
        self._admit = admit
        self._left = left
        self._transport: asyncio.Transport | None = None
        self._telnet = None if link is PortKind.SOCKET else TelnetPort(self._line())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            return
        if not self._admit(self):
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._telnet is not None:
            self._telnet.feed(data)
        else:
            uart = self._board.uart
            uart.host_baud = uart.chip_baud  # a raw port carries no baud rate
            uart.from_host(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._left(self)

    def send(self, data: bytes) -> None:
        self._raw(data if self._telnet is None else TelnetPort.escape(data))

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _raw(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _line(self) -> Line:
        board = self._board
        uart = board.uart

        return Line(
            send=self._raw,
            on_data=uart.from_host,
            on_baud=uart.set_host_baud,
            on_dtr=board.circuit.set_dtr,
            on_rts=board.circuit.set_rts,
            on_purge=lambda: None,
            baud=lambda: uart.host_baud,
            dtr=lambda: board.circuit.dtr,
            rts=lambda: board.circuit.rts,
            signature=SIGNATURE if uart.bridge is None else f"{SIGNATURE} usb={uart.bridge.limits.usb}",
            powered=lambda: board.mode is not Mode.OFF,
        )


def make_port(link: PortKind, name: Path, number: int = 0) -> Port:
    """Return a port of the kind *link*: TCP port *number* (0: a free one), or a pseudo-terminal with a link *name*."""
    if link is not PortKind.PTY:
        return TcpPort(link, number)
    from rmfab.virtual.bench.pty import PtyPort

    return PtyPort(name)
