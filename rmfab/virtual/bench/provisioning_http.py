"""The HTTP server of protocomm on a loopback port: the provisioning service of a virtual board.

It has the limits of the chip's server: one socket at a time, one task that handles requests in order, and no response
on failure, only a closed socket. Sources: ESP-IDF `protocomm_httpd.c`, `components/esp_http_server` (facts only).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from rmfab.listening import LOOPBACK
from rmfab.virtual.bench.board import Board
from rmfab.virtual.faults import BoardFault

_BACKLOG = 5
_MOST_HEADERS = 1024
_MOST_BODY = 4096
_LONGEST_COOKIE = 19  # the buffer has 20 bytes; a longer header is ignored
_RECEIVE_SECONDS = 5.0  # recv_wait_timeout of HTTPD_DEFAULT_CONFIG
_RECEIVE_LOOKS = 50
_REQUEST = re.compile(rb"([A-Z]+) (/\S*) HTTP/1\.[01]")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
}


class ProvisioningPort:
    """A port that keeps its number while the board restarts; it accepts connections only while a service is offered."""

    def __init__(self, number: int = 0) -> None:
        self.url = ""
        self._number = number
        self._socket: socket.socket | None = None
        self._listening = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._board: Board | None = None

    def open(self) -> None:
        """Bind a port number. Raise OSError if that fails."""
        self._socket = socket.socket()
        self._socket.setblocking(False)
        if os.name == "posix":  # elsewhere it would let other processes bind the same number
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, self._number))
        self._number = self._socket.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self._number}"

    def close(self) -> None:
        """Release the port number."""
        self._stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def attach(self, board: Board) -> None:
        """Follow the service of *board* from now on."""
        self._board = board
        board.on_service = self._follow

    def _follow(self, serving: bool) -> None:
        if self._socket is None or self._board is None:
            return
        if serving and not self._listening:
            self._socket.listen(_BACKLOG)
            self._listening = True
            self._spawn(self._accept(self._socket, _Server(self._board)))
        elif not serving and self._listening:  # a socket cannot stop listening: a new one takes over the number
            self._stop()
            self._socket.close()
            self.open()

    def _stop(self) -> None:
        self._listening = False
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:  # at once, since a new socket may reuse its descriptor
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().remove_reader(self._socket)

    async def _accept(self, listener: socket.socket, server: _Server) -> None:
        loop = asyncio.get_running_loop()
        for number in range(1 << 62):
            with contextlib.suppress(ConnectionAbortedError):
                connection, _ = await loop.sock_accept(listener)
                self._spawn(server.talk(connection, number))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(frozen=True)
class _Head:
    method: str
    uri: str
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, data: bytes) -> _Head | None:
        """Parse a request head; return None if it is not HTTP/1."""
        first, *lines = data.split(b"\r\n")
        match = _REQUEST.fullmatch(first)
        if match is None or any(b":" not in line for line in lines if line):
            return None
        pairs = (line.decode("latin-1").split(":", 1) for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        return cls(match[1].decode(), match[2].decode("latin-1"), headers)

    @property
    def length(self) -> int:
        """The length of the body; 0 if the header is missing."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdecimal() else 0


class _Server:
    """One run of the service, from its start to its end."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._turn = asyncio.Lock()
        self._current: asyncio.StreamWriter | None = None
        self._session: int | None = None
        self._session_socket: int | None = None

    async def talk(self, connection: socket.socket, number: int) -> None:
        """Serve one connection; the previous one is closed once its request is answered."""
        with contextlib.suppress(OSError):  # already disconnected
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=connection, limit=_MOST_HEADERS)
        try:
            async with self._turn:
                if self._current is not None:
                    self._current.close()
                self._current = writer
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._request(reader, writer, number):
                    pass
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            if self._session_socket == number:
                self._session_socket = None
            if self._current is writer:
                self._current = None
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        """Handle one request; return whether the connection stays open."""
        first = await reader.read(1)
        if not first:
            return False
        async with self._turn:
            if self._current is not writer:
                return False
            try:
                rest = await _received(reader.readuntil(b"\r\n\r\n"))
            except TimeoutError:
                return await _refuse(writer, 408)
            except asyncio.LimitOverrunError:
                return await _refuse(writer, 431)
            head = _Head.parse((first + rest)[:-4])
            if head is None:
                return await _refuse(writer, 400)
            service = self._board.service
            if service is None or not service.has(head.uri.split("?")[0][1:]):
                return await _refuse(writer, 404)
            if head.method != "POST":
                return await _refuse(writer, 405)
            return await self._exchange(head, reader, writer, number)

    async def _exchange(
        self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        """Pass a request to its endpoint and send the reply; without a reply, close the connection."""
        spec, endpoint = self._board.spec, head.uri[1:]
        new = self._take_session(head.headers.get("cookie"), number)
        if not self._board.note_request() or (spec.has(BoardFault.STALLED_SESSION) and endpoint == "prov-session"):
            await asyncio.get_running_loop().create_future()  # the server's only task hangs
        if not 0 < head.length <= _MOST_BODY:
            return False
        try:
            body = await _received(reader.readexactly(head.length))
        except TimeoutError:
            return False
        answer = self._board.provision(endpoint, body)
        if answer.reply is None:
            return False
        await asyncio.sleep(answer.after + spec.number(BoardFault.JUST_IN_TIME))
        known = (self._session or 0) ^ (1 if spec.has(BoardFault.OTHER_COOKIE) else 0)
        short = spec.has(BoardFault.SHORT_REPLY)
        return await _respond(writer, 200, answer.reply, f"Set-Cookie: session={known}\r\n" if new else "", short=short)

    def _take_session(self, cookie: str | None, number: int) -> bool:
        """Find a request's session by its cookie, or without one by its socket; return whether a new one was opened."""
        if cookie is not None and len(cookie) <= _LONGEST_COOKIE:
            if self._session is not None and cookie == f"session={self._session}":
                self._session_socket = None
                return False
        elif self._session is not None and number == self._session_socket:
            return False
        if self._board.service is not None:
            self._board.service.open_session()
        self._session = secrets.randbits(32)
        self._session_socket = number
        return True


async def _received(reading: Coroutine[Any, Any, bytes]) -> bytes:
    """Return what *reading* returns. Raise TimeoutError if the chip would not wait for it any longer.

    The time is counted in short waits, so that it stands still while the host's machine does not run this process: a
    chip does not stop with the computer that talks to it.
    """
    task = asyncio.ensure_future(reading)
    try:
        for _ in range(_RECEIVE_LOOKS):
            if (await asyncio.wait({task}, timeout=_RECEIVE_SECONDS / _RECEIVE_LOOKS))[0]:
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()


async def _refuse(writer: asyncio.StreamWriter, code: int) -> bool:
    """Send an error of the server itself; the connection is closed."""
    await _respond(writer, code, _REASONS[code].encode())
    return False


async def _respond(
    writer: asyncio.StreamWriter, code: int, body: bytes, headers: str = "", *, short: bool = False
) -> bool:
    """Write a response; return whether the connection stays open. *short* sends half of the body and closes."""
    head = (
        f"HTTP/1.1 {code} {_REASONS[code]}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    )
    writer.write(head.encode() + (body[: len(body) // 2] if short else body))
    await writer.drain()
    return not short
