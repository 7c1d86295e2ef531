"""The HTTP requests of one connection: parsed by the standard library, answered with files of the shelf.

A request that two parsers could read differently is rejected, because a proxy in front may be one of them.

Sources: RFC 9110 (§9.1 methods, §10.1.1 Expect, §15.5.6 Allow), RFC 9112 §9.3 (persistent connections), §5 (fields),
§6.1 and §6.3 (Transfer-Encoding, Content-Length), §3.2 (Host), §11.2 (request smuggling).
"""

from __future__ import annotations

import io
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from rmfab.ota.http_range import RangeReply, joined, judge
from rmfab.ota.static_files import Served, open_served

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_ALLOWED = ("GET", "HEAD")
_CHUNK = 32 << 10  # each must be sent within the patience, also over slow radio
_SMALL_BODY = 64 << 10
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_MOST_HEADER_BYTES = 32 << 10
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*\r?\n")
"""A field line: no folding, no space before the colon, no bare CR, no NUL (RFC 9112 §5, §2.2)."""


@dataclass(frozen=True)
class Access:
    """An answered request: client, method, path, status, and how many bytes of content were sent.

    *path* is printable, whatever was received.
    """

    client: str
    method: str
    path: str
    status: int
    sent: int


class Shelf(Protocol):
    """What a request uses of its server."""

    root: Path
    on_access: Callable[[Access], None] | None
    patience: float

    def waits_for(self, connection: ssl.SSLSocket) -> None:
        """Note that *connection* has to send a request."""

    def serves(self, connection: ssl.SSLSocket) -> None:
        """Note that *connection* has sent a request."""


class _Incoming(io.RawIOBase):
    """The bytes that a client sends. *patience* limits a whole request, however small its pieces."""

    def __init__(self, connection: ssl.SSLSocket, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self.next_request()

    def next_request(self) -> None:
        """Restart the client's time."""
        self._deadline = time.monotonic() + self._patience

    def readable(self) -> bool:
        """Return True: the stream is readable."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what has arrived. Raise TimeoutError when the client's time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request is incomplete")
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._patience)


class _Fields:
    """The field lines of a request as the standard library reads them. *plain*: each is a well-formed field."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = _MOST_HEADER_BYTES
        self.plain = True

    def readline(self, most: int) -> bytes:
        """Read a line. Raise LineTooLong (status 431) when the lines are too long together."""
        line = self._stream.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("header section")
        self.plain &= line in (b"\r\n", b"\n", b"") or _FIELD.fullmatch(line) is not None
        return line


def _has_one_length(headers: Message) -> bool:
    """Return whether every parser finds the same host and the same end of the request's body."""
    lengths, codings = headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", [])
    if len(headers.get_all("Host", [])) > 1 or (codings and lengths):
        return False
    if codings:
        return [coding.strip().lower() for coding in codings] == ["chunked"]
    return len(set(lengths)) <= 1 and all(re.fullmatch("[0-9]{1,18}", length.strip(" \t")) for length in lengths)


class Request(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other, in the connection's thread."""

    connection: ssl.SSLSocket
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Do the TLS handshake, then set up the streams."""
        self.request.do_handshake()
        super().setup()
        self._incoming = _Incoming(self.connection, self._shelf.patience)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        """Handle a request as the base class does, within the client's time."""
        self._incoming.next_request()
        self._shelf.waits_for(self.connection)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Parse a request as the base class does; reject ambiguous ones, and methods that do not read."""
        stream, fields = self.rfile, _Fields(self.rfile)
        self.rfile = cast("io.BufferedReader", fields)
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = stream
        if not fields.plain or not _has_one_length(self.headers):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return False
        self._shelf.serves(self.connection)
        if not self._discard_body():
            self.close_connection = True
        if self.command in _ALLOWED:
            return True
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(_ALLOWED)})
        return False

    def handle_expect_100(self) -> bool:
        """Return True without waiting for a body: the final answer follows at once."""
        return True

    def do_GET(self) -> None:
        """Answer with the file that the target names, or with 404."""
        with open_served(self._shelf.root, self.path) as served:
            if served is None:
                self._refuse(HTTPStatus.NOT_FOUND)
            else:
                headers = joined(self.headers.items())
                self._answer(served, judge(self.command, headers, served.etag, served.size))

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Reject what the parser could not read, and close the connection."""
        self.command, self.path = self.command or "?", ""
        self.close_connection = True
        self._refuse(HTTPStatus(code))

    def version_string(self) -> str:
        """Return the Server header, without versions."""
        return "rmfab"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Do nothing: accesses are reported through `on_access`."""

    @property
    def _shelf(self) -> Shelf:
        return cast("Shelf", self.server)

    def _discard_body(self) -> bool:
        """Skip a small body, which is not used. Return False if the next request cannot follow it."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or "Expect" in self.headers or not re.fullmatch("[0-9]{1,9}", length):
            return False
        return int(length) <= _SMALL_BODY and len(self.rfile.read(int(length))) == int(length)

    def _answer(self, served: Served, reply: RangeReply) -> None:
        headers = {"ETag": served.etag, "Cache-Control": served.cache_control, "Accept-Ranges": "bytes"}
        content_range = reply.content_range(served.size)
        if content_range is not None:
            headers["Content-Range"] = content_range
        if reply.status >= HTTPStatus.BAD_REQUEST:
            self._refuse(reply.status, headers)
            return
        if reply.status is not HTTPStatus.NOT_MODIFIED:
            headers |= {"Content-Type": served.content_type, "Content-Length": str(reply.length)}
        if self._send(reply.status, headers, _pieces(served, reply)) < reply.length and self.command == "GET":
            self.close_connection = True  # the file was truncated while it was sent: no other answer may follow

    def _refuse(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        body = f"{status.value} {status.phrase}\n".encode()
        plain = {"Content-Type": "text/plain", "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        self._send(status, dict(headers or {}) | plain, [body])

    def _send(self, status: HTTPStatus, headers: Mapping[str, str], pieces: Iterable[bytes | memoryview]) -> int:
        """Send an answer and report it, also if the client disconnects in the middle.

        Return how many bytes of content were sent.
        """
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        sent = 0
        try:
            self.end_headers()
            for piece in () if self.command == "HEAD" else pieces:
                self.wfile.write(piece)
                sent += len(piece)
        finally:
            if self._shelf.on_access is not None:
                path = _UNPRINTABLE.sub(lambda match: f"%{ord(match[0]):02X}", self.path)
                method = _UNPRINTABLE.sub("?", self.command)
                self._shelf.on_access(Access(str(self.client_address[0]), method, path, status.value, sent))
        return sent


def _pieces(served: Served, reply: RangeReply) -> Iterator[memoryview]:
    """Yield the bytes of the reply through one buffer: use each piece before requesting the next."""
    buffer, left = memoryview(bytearray(min(_CHUNK, reply.length))), reply.length
    served.stream.seek(reply.first)
    while left and (count := served.stream.readinto(buffer[:left])):
        yield buffer[:count]
        left -= count
