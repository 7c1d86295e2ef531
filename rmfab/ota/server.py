"""A shelf, served over HTTPS on a bench: the standard library's HTTP server, tamed.

One thread a connection, and the TLS handshake happens in it: a client that stalls keeps nobody waiting but itself.
Sources: RFC 9110, RFC 9112; what ESP-IDF's `esp_https_ota` asks for: GET and HEAD, one Range, keep-alive.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from rmfab.errors import InputError, StationError
from rmfab.ota.http_handler import Access, Request
from rmfab.ota.index import LATEST

MOST_CONNECTIONS = 64
PATIENCE = 30.0
"""Seconds that a client has: for the handshake, for each request from the end of the one before, for each piece of what
it is sent."""

_FULL = 0.2  # seconds between two looks for a free place
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class ShelfServer(ThreadingMixIn, TCPServer):
    """Serves the shelf *folder* while `serve_forever` runs; `server_close` ends all connections.

    *port* 0 takes a free one; *most* connections at once. *on_access* is called in the connections' own threads.
    Raises InputError where *folder* is none, StationError where *host* and *port* cannot be had.
    """

    allow_reuse_address = sys.platform != "win32"  # there it would let two servers share a port
    request_queue_size = 128

    def __init__(
        self,
        folder: Path,
        context: ssl.SSLContext,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_access: Callable[[Access], None] | None = None,
        most: int = MOST_CONNECTIONS,
        patience: float = PATIENCE,
    ) -> None:
        if not folder.is_dir():
            raise InputError("this folder is not there", where=str(folder), hint="`rmfab ota export` makes a shelf")
        if not (folder / LATEST).exists():
            raise InputError("this folder is no shelf", where=str(folder), hint="`rmfab ota export` makes one")
        self.root = folder.resolve()
        self.on_access = on_access
        self._context = context
        self.patience = patience
        self._places = threading.Semaphore(most)
        self._open: set[ssl.SSLSocket] = set()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Request)
        except OSError as error:
            raise StationError(
                f"cannot listen here: {error.strerror or error}",
                where=f"{host}:{port}",
                hint="another port, or 0 for any that is free; the address must be one of this host",
                cause="port-in-use",
            ) from None

    @property
    def url(self) -> str:
        """The base URL; a server on every address is named after the host."""
        host, port = str(self.server_address[0]), self.server_address[1]
        name = socket.gethostname() if host in _ANYWHERE else host
        return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"

    def server_close(self) -> None:
        """Stops listening, ends all connections and waits for their threads; `serve_forever` must have ended."""
        for connection in list(self._open):
            with suppress(OSError):  # its thread was faster
                # not SSLSocket's own, which would take the encryption from under the thread that sends
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        super().server_close()

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """The next connection, its handshake still to come. While all places are taken it waits in the system's
        queue."""
        if not self._places.acquire(timeout=_FULL):
            raise TimeoutError("all places are taken")  # the loop looks whether to end, and comes back
        try:
            raw, address = self.socket.accept()
            raw.settimeout(self.patience)
            connection = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        except BaseException:
            self._places.release()
            raise
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection, with TLS's own farewell where it can be said at once, and gives its place back."""
        try:
            with suppress(OSError, ValueError):  # ValueError: there was no handshake
                request.settimeout(0)
                request.unwrap()
            super().shutdown_request(request)
        finally:
            self._open.discard(request)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """A client that goes away or speaks no TLS is no error; all else is a bug, for the thread's own hook."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            raise error
