"""The HTTPS server of a virtual cloud: one thread per connection, and one request at a time takes effect."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from rmfab.errors import cannot_listen
from rmfab.listening import bound_to
from rmfab.virtual.cloud.faults import CloudFault, CloudFaultCall, fault_at
from rmfab.virtual.cloud.request import ApiAnswer, ApiRequest, VirtualCloud

_MOST_BYTES = 256 << 20
_PATIENCE = 60.0  # seconds for the handshake, and for each piece of a request
_PAGE = b"<!doctype html><html><body>Sign in to this network</body></html>"


class ServedCloud(VirtualCloud, Protocol):
    """A cloud that a server serves: it learns its URL when the server listens."""

    base: str

    @property
    def now(self) -> Callable[[], datetime]:
        """The clock of the cloud."""


class ApiServer(ThreadingHTTPServer):
    """The server of *cloud*. *faults* happen at some of its *calls*, the requests that came: method, path, and the
    names in the query.

    *before* and *after* are called around the effect of each request, with its number from 1.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, cloud: ServedCloud, context: ssl.SSLContext) -> None:
        self.cloud = cloud
        self.calls: list[str] = []
        self.faults: Iterable[CloudFaultCall] = ()
        self.before: Callable[[int], None] = lambda _: None
        self.after: Callable[[int], None] = lambda _: None
        self.ended = threading.Event()
        self.context = context
        self._turn = threading.Lock()
        self.connections: set[ssl.SSLSocket] = set()
        self.address_family, place = bound_to(host, port)
        super().__init__(place, _Handler)

    def effect(self, request: ApiRequest) -> tuple[ApiAnswer | None, CloudFault | None]:
        """Let *request* take effect, unless its fault comes before; return the answer and the fault."""
        with self._turn:
            names = ",".join(sorted(request.query))
            self.calls.append(f"{request.method} {request.path}" + (f"?{names}" if names else ""))
            number = len(self.calls)
            fault = fault_at(self.faults, number)
            self.before(number)
            if fault is not None and not fault.after:
                return None, fault
            answer = self.cloud.answer(request)
            self.after(number)
            return answer, fault

    def server_close(self) -> None:
        """Stop listening, and end all connections."""
        self.ended.set()
        for connection in list(self.connections):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has gone, or does not speak TLS."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ApiServer

    def setup(self) -> None:
        self.request.settimeout(_PATIENCE)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.server.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        with suppress(OSError):
            self.request.close()
        self.server.connections.discard(self.request)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - the cloud's clock counts
        return format_datetime(self.server.cloud.now(), usegmt=True)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(min(int(length), _MOST_BYTES)) if length.isdecimal() else b""
        if len(body) < int(length if length.isdecimal() else 0):  # a half upload never takes effect
            self.close_connection = True
            return
        fields = {name.lower(): value for name, value in self.headers.items()}
        answer, fault = self.server.effect(ApiRequest(self.command, self.path, fields, body))
        if fault is not None or answer is None:
            self.close_connection = True
            self._fail(fault, answer)
            return
        self._send(answer.status, answer.content_type, answer.body)

    def _fail(self, fault: CloudFault | None, answer: ApiAnswer | None) -> None:
        body = b"{}" if answer is None else answer.body
        match fault:
            case CloudFault.BUSY:
                self._send(429, "application/json", b'{"message": "Too Many Requests"}', {"Retry-After": "7"})
            case CloudFault.FAILS:
                self._send(500, "application/json", b'{"message": "Internal server error"}')
            case CloudFault.FAILS_LATE:
                self._send(502, "text/html", _PAGE)
            case CloudFault.WEB_PAGE:
                self._send(200, "text/html", _PAGE)
            case CloudFault.REDIRECT:
                self._send(302, "text/html", b"", {"Location": "https://elsewhere.example/"})
            case CloudFault.SILENT:
                self.server.ended.wait()
            case CloudFault.CUT:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body) + 2))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
            case CloudFault.GARBAGE:
                self.wfile.write(b"\x00\xff\x7f" * 100 + b"\r\n\r\n")

    def _send(self, status: int, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serve_api(
    cloud: ServedCloud, context: ssl.SSLContext, *, host: str = "127.0.0.1", port: int = 0, name: str = "localhost"
) -> Iterator[ApiServer]:
    """Serve *cloud* in threads until the block ends; port 0 selects a free one. Clients reach it as *name*.

    Raise StationError if it cannot listen there.
    """
    try:
        server = ApiServer(host, port, cloud, context)
    except OSError as error:
        raise cannot_listen(host, port, error.strerror or str(error)) from None
    cloud.base = f"https://{name}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
