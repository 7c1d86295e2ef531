"""The HTTPS server of a shelf, for a bench: the standard library's HTTP server with limits.

It uses one thread per connection, and does the TLS handshake in that thread: a client that stalls delays only itself.
Connections without a request make room for others, first those of the address that has most of them.
Sources: RFC 9110, RFC 9112; what ESP-IDF's `esp_https_ota` needs: GET and HEAD, one Range, keep-alive.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from rmfab.errors import InputError, cannot_listen
from rmfab.listening import bound_to
from rmfab.ota.http_handler import Access, Request
from rmfab.ota.index import LATEST

MOST_CONNECTIONS = 128
MOST_OF_ONE_PEER = 96
"""Connections of one address, so that nobody takes all places; a whole bench may be behind one router."""
MOST_SILENT = 16
"""Connections of one address without a request, after the grace; the oldest lose their places first."""
PATIENCE = 30.0
"""Time limit of a client in seconds.

It applies to the handshake, to each request from the end of the one before, and to each piece that is sent.
"""

_LOOK = 0.2  # seconds between two checks for a free place, or for `stop`
_GRACE = 1.0  # seconds after which a client that sends no request loses its place if all are taken
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class ShelfServer(ThreadingMixIn, TCPServer):
    """A server of the shelf *folder* while `serve` runs; `server_close` ends all connections.

    *port* 0 selects a free one; *most* limits concurrent connections, *most_of_one_peer* those of one address.
    *on_access* is called in the threads of the connections. Raise InputError if *folder* is not a shelf, StationError
    if *host* and *port* are not available.
    """

    allow_reuse_address = sys.platform != "win32"  # on Windows two servers could then share a port
    request_queue_size = 128
    timeout = _LOOK

    def __init__(
        self,
        folder: Path,
        context: ssl.SSLContext,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_access: Callable[[Access], None] | None = None,
        most: int = MOST_CONNECTIONS,
        most_of_one_peer: int = MOST_OF_ONE_PEER,
        patience: float = PATIENCE,
    ) -> None:
        if not folder.is_dir():
            raise InputError("no such folder", where=str(folder), hint="make a shelf with `rmfab ota export`")
        if not (folder / LATEST).exists():
            raise InputError("not a shelf", where=str(folder), hint="make one with `rmfab ota export`")
        self.root = folder.resolve()
        self.on_access = on_access
        self._context = context
        self.patience = patience
        self._places = threading.Semaphore(most)
        self._most_of_one_peer = most_of_one_peer
        self._open: dict[ssl.SSLSocket, str] = {}
        self._silent: dict[ssl.SSLSocket, float] = {}
        self._stopped = False
        self.address_family, place = bound_to(host, port)
        try:
            super().__init__(place, Request)
        except OSError as error:
            raise cannot_listen(host, port, error.strerror or str(error)) from None

    @property
    def host(self) -> str:
        """The address, or the host's name if the server listens on all addresses."""
        host = str(self.server_address[0])
        return socket.gethostname() if host in _ANYWHERE else host

    @property
    def url(self) -> str:
        """The base URL, with `host`."""
        return self.url_as(self.host)

    def url_as(self, name: str) -> str:
        """Return the base URL for clients that reach this server as *name*."""
        port = self.server_address[1]
        return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"

    def serve(self) -> None:
        """Serve until `stop`.

        A signal handler calls `stop` instead of raising: an exception could break off the start of a connection's
        thread, or Python could drop it (see `rmfab.signals`).
        """
        while not self._stopped:
            self.handle_request()

    def stop(self) -> None:
        """Have `serve` return soon. Any thread or signal handler may call it."""
        self._stopped = True

    def server_close(self) -> None:
        """Stop listening, end all connections and wait for their threads. Call it after `serve`."""
        for connection in list(self._open):
            with suppress(OSError):  # its thread closed it first
                # SSLSocket.shutdown would drop the TLS state while a thread still sends
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        super().server_close()

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """Return the next connection, before its handshake.

        While all places are taken, connections wait in the system's queue, and clients without a request make room.
        """
        if not self._places.acquire(timeout=_LOOK):
            self._make_room()
            raise TimeoutError("all places are taken")  # handle_request ignores it; `serve` calls that again
        try:
            raw, address = self.socket.accept()
            raw.settimeout(self.patience)
            connection = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        except BaseException:
            self._places.release()
            raise
        self._open[connection] = str(address[0])
        self.waits_for(connection)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether the connection may stay: False if its address has too many, and none of them is idle."""
        peer = str(client_address[0])
        others = [one for one, whose in self._open.copy().items() if whose == peer and one is not request]
        idle = [one for one in self._idle() if self._open.get(one) == peer]
        self._end(idle[: max(0, len(idle) - MOST_SILENT)])
        if len(others) < self._most_of_one_peer:
            return True
        self._end(idle[:1])
        return bool(idle)

    def waits_for(self, connection: ssl.SSLSocket) -> None:
        """Note that *connection* has to send its handshake or a request, from now on."""
        self._silent[connection] = time.monotonic()

    def serves(self, connection: ssl.SSLSocket) -> None:
        """Note that *connection* has sent a request, which is answered now."""
        self._silent.pop(connection, None)

    def _idle(self) -> list[ssl.SSLSocket]:
        """Return the connections without a request for longer than the grace, the longest first."""
        limit = time.monotonic() - _GRACE
        waiting = sorted(self._silent.copy().items(), key=lambda item: item[1])
        return [connection for connection, since in waiting if since <= limit]

    def _make_room(self) -> None:
        """End the longest idle half of the idle connections of the address that has most of them."""
        idle = self._idle()
        peers = [self._open.get(one) for one in idle]
        most = max(peers, key=peers.count, default=None)
        chosen = [one for one, peer in zip(idle, peers, strict=True) if peer == most]
        self._end(chosen[: (len(chosen) + 1) // 2])

    def _end(self, connections: Iterable[ssl.SSLSocket]) -> None:
        """End idle connections; their threads free the places."""
        for connection in connections:
            self.serves(connection)
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """End a connection, with a TLS close if it can be sent at once, and free its place."""
        try:
            with suppress(OSError, ValueError):  # ValueError: no handshake was done
                request.settimeout(0)
                request.unwrap()
            super().shutdown_request(request)
        finally:
            self._open.pop(request, None)
            self.serves(request)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Ignore a client that disconnects or does not speak TLS.

        Any other error is a bug, for the hook of the thread.
        """
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            raise error
