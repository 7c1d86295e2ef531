"""SoftAP over HTTP: `POST /<endpoint>` on one connection; the cookie of the first answer identifies the session.

A unit whose handler fails closes the connection without an answer, and so does a unit that loses power. A new
connection tells them apart: a unit that accepts it has rejected the request or stalled; one that does not is lost.
Source: ESP-IDF, protocomm/src/transports/protocomm_httpd.c and esp_http_server.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from rmfab.board.dial import dial
from rmfab.errors import InputError, UnitFault
from rmfab.provisioning.failures import LinkError, ProtocolError, RequestRefused, Stalled
from rmfab.provisioning.patience import Patience

SOFTAP_URL = "http://192.168.4.1"
_IN_ITS_NETWORK = "check that this host is in the unit's own Wi-Fi network"
_AT_ITS_URL = "check that the unit runs, and that --unit-url, or unit in station.toml ([[slot]]), is its address"
_HEAD_BYTES = 8192
_BODY_BYTES = 65536
_KNOCK_SECONDS = 3.0
_MOST_INTERIM = 8
_WITHOUT_BODY = (204, 304)  # RFC 9110 section 6.4.1
_ENDPOINT = re.compile(r"[A-Za-z0-9_./-]{1,64}")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\Z")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class HttpReply:
    """One HTTP answer. *headers* by lower-case name, the first of each; *keeps* the connection open afterwards."""

    status: int
    headers: dict[str, str]
    body: bytes
    keeps: bool


class CutShort(ProtocolError):
    """The connection ended in the middle of an answer."""

    cause = "cut-short"


class HttpTransport:
    """A link to the unit at *url*, `http://host[:port]`; *timeout* limits an exchange, *connect_timeout* a connection.

    Both are in seconds; *patience* limits everything, and ends a wait when the operator stops.
    """

    def __init__(
        self,
        url: str = SOFTAP_URL,
        *,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        patience: Patience | None = None,
    ) -> None:
        self.url = url
        self._patience = patience or Patience()
        self._place = _place(url)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._socket: socket.socket | None = None
        self._cookie: str | None = None

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        """See `ProvisioningTransport.exchange`; a missing endpoint is a UnitFault (`no-endpoint`)."""
        request = self._request(endpoint, data)
        self._patience.check()
        connection = self._socket or self._connect(self._connect_timeout)
        self._socket = connection
        ending = time.monotonic() + self._timeout
        try:
            connection.settimeout(self._patience.slice(ending))
            connection.sendall(request)
            reply = read_reply(lambda size: _receive(connection, size, ending, self._patience))
        except TimeoutError:
            self._judge_silence()
        except (ConnectionError, EOFError):
            self._judge_closing()
        except OSError as error:
            self.close()
            raise LinkError(f"the link broke: {error}", where=self.url, cause="link-lost") from error
        except ProtocolError as error:
            self.close()
            error.where = self.url
            raise
        return self._judge(endpoint, reply)

    def close(self) -> None:
        """Close the connection; the next exchange starts a new session."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = self._cookie = None

    def _request(self, endpoint: str, data: bytes) -> bytes:
        if not _ENDPOINT.fullmatch(endpoint):
            raise ValueError(f'"{endpoint}" is not the name of an endpoint')
        head = [
            f"POST /{endpoint} HTTP/1.1",
            f"Host: {self._place[0]}:{self._place[1]}",
            "Content-Type: application/x-www-form-urlencoded",
            "Accept: text/plain",
            f"Content-Length: {len(data)}",
        ]
        if self._cookie is not None:
            head.append(f"Cookie: {self._cookie}")
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + data

    def _judge(self, endpoint: str, reply: HttpReply) -> bytes:
        """Return the body of a good answer, and keep its cookie."""
        if reply.status != 200:
            self.close()
        if reply.status == 404:
            raise UnitFault(f"the unit has no endpoint {endpoint}", where=self.url, cause="no-endpoint")
        if reply.status != 200:
            raise ProtocolError(f"the unit answered {endpoint} with HTTP status {reply.status}", where=self.url)
        self._keep_cookie(reply)
        if not reply.keeps and self._socket is not None:
            self._socket.close()
            self._socket = None
        return reply.body

    def _keep_cookie(self, reply: HttpReply) -> None:
        told = reply.headers.get("set-cookie")
        if told is None:
            return
        cookie = told.split(";", 1)[0].strip()
        if self._cookie is not None and cookie != self._cookie:
            self.close()
            raise UnitFault(
                "the unit did not recognize its session's cookie and started a new session",
                where=self.url,
                cause="cookie-mismatch",
            )
        self._cookie = cookie

    def _judge_silence(self) -> NoReturn:
        self._knock()
        raise Stalled(f"the unit did not answer within {self._timeout:g} s", where=self.url)

    def _judge_closing(self) -> NoReturn:
        self._knock()
        raise RequestRefused("the unit closed the connection instead of answering", where=self.url)

    def _knock(self) -> None:
        """Raise LinkError unless the unit still accepts a connection."""
        self.close()
        try:
            self._connect(min(self._connect_timeout, _KNOCK_SECONDS)).close()
        except LinkError as error:
            raise LinkError(
                "the unit was lost in the middle of the conversation",
                where=self.url,
                hint="check the unit's power, and the Wi-Fi link between station and unit",
                cause="link-lost",
            ) from error

    def _connect(self, seconds: float) -> socket.socket:
        try:
            connection = dial(self._place, seconds, self._patience.keep_going)
        except OSError as error:
            raise LinkError(
                f"cannot connect to the unit: {error}",
                where=self.url,
                hint=_IN_ITS_NETWORK if self.url == SOFTAP_URL else _AT_ITS_URL,
            ) from error
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def read_reply(receive: Callable[[int], bytes]) -> HttpReply:
    """Read one HTTP answer; *receive* returns up to the given number of bytes, none at the end.

    Raise EOFError if there is no answer, CutShort if it ends early, ProtocolError if it is not HTTP.
    """
    status, headers, rest = _read_final_head(receive)
    keeps = headers.get("connection", "").lower() != "close"
    told = headers.get("content-length")
    if status in _WITHOUT_BODY:
        return HttpReply(status, headers, b"", keeps)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return HttpReply(status, headers, _read_chunks(_Rest(receive, rest)), keeps)
    if told is not None:
        if not re.fullmatch(r"[0-9]{1,9}", told) or int(told) > _BODY_BYTES:
            raise ProtocolError("the unit's answer has an invalid length, or more than 64 KiB")
        return HttpReply(status, headers, _Rest(receive, rest).exactly(int(told)), keeps)
    return HttpReply(status, headers, _Rest(receive, rest).to_the_end(), keeps=False)


class _Rest:
    """The bytes after the head: those received with it, then those still to receive."""

    def __init__(self, receive: Callable[[int], bytes], begun: bytes) -> None:
        self._receive = receive
        self._begun = bytearray(begun)

    def exactly(self, size: int) -> bytes:
        while len(self._begun) < size:
            more = self._receive(size - len(self._begun))
            if not more:
                raise CutShort(f"the unit's answer ends after {len(self._begun)} of {size} bytes")
            self._begun += more
        taken = bytes(self._begun[:size])
        del self._begun[:size]
        return taken

    def line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += self.exactly(1)
            if len(line) > 64:
                raise ProtocolError("the unit's answer has a chunk without a size")
        return bytes(line[:-2])

    def to_the_end(self) -> bytes:
        while len(self._begun) <= _BODY_BYTES:
            more = self._receive(4096)
            if not more:
                return bytes(self._begun)
            self._begun += more
        raise ProtocolError("the unit's answer is longer than 64 KiB")


def _read_chunks(rest: _Rest) -> bytes:
    body = bytearray()
    while True:
        told = rest.line().split(b";", 1)[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,6}", told):
            raise ProtocolError("the unit's answer has a chunk without a size")
        size = int(told, 16)
        if len(body) + size > _BODY_BYTES:
            raise ProtocolError("the unit's answer is longer than 64 KiB")
        body += rest.exactly(size)
        if rest.exactly(2) != b"\r\n":
            raise ProtocolError("the unit's answer has a chunk of the wrong size")
        if size == 0:
            return bytes(body)


def _read_final_head(receive: Callable[[int], bytes]) -> tuple[int, dict[str, str], bytes]:
    """Return status and headers of the answer, and the bytes read after them. Skip interim answers, such as 100."""
    rest = b""
    for _ in range(_MOST_INTERIM + 1):
        head, rest = _read_head(receive, rest)
        status, headers = _parse_head(head)
        if not 100 <= status < 200:
            return status, headers, rest
    raise ProtocolError("the unit sends interim answers only")


def _read_head(receive: Callable[[int], bytes], begun: bytes) -> tuple[bytes, bytes]:
    read = bytearray(begun)
    while True:
        head, separator, rest = bytes(read).partition(b"\r\n\r\n")
        if separator:
            return head, rest
        if len(read) > _HEAD_BYTES:
            raise ProtocolError("the unit's answer is not HTTP: its head does not end")
        more = receive(4096)
        if not more:
            if not read:
                raise EOFError
            raise CutShort("the unit's answer ends in its head")
        read += more


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.split(b"\r\n")
    status = _STATUS_LINE.match(lines[0])
    headers: dict[str, str] = {}
    for line in lines[1:]:
        header = _HEADER.match(line)
        if header is None:
            raise ProtocolError("the unit's answer is not HTTP")
        headers.setdefault(header[1].decode("ascii").lower(), header[2].strip(b" \t").decode("latin-1"))
    if status is None:
        raise ProtocolError("the unit's answer is not HTTP")
    return int(status[1]), headers


def _receive(connection: socket.socket, size: int, ending: float, patience: Patience) -> bytes:
    """Return the next bytes before *ending*, none after the unit closed or reset the connection.

    Raise TimeoutError or OSError, or what `Patience.slice` raises.
    """
    while True:
        connection.settimeout(patience.slice(ending))
        try:
            return connection.recv(size)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""


def _place(url: str) -> tuple[str, int]:
    """Return host and port of *url*. Raise InputError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    else:
        if parts.scheme != "http" or parts.path not in ("", "/") or parts.query:
            host = None
    if not host:
        raise InputError(
            f'"{url}" is not the URL of a unit', hint="use http://host or http://host:port", cause="bad-url"
        )
    return host, port
