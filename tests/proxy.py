"""A TCP proxy before a server's socket, which fails as networks do: it freezes, cuts, or loses one message."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

_COMMIT = (
    b"COMMIT\0"  # the text of a simple query ends with a NUL (postgresql.org/docs/15/protocol-message-formats.html)
)


class Proxy:
    """Listens on *port* for connections to the socket *target*. A context manager."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[_Pair] = []
        self.flows = threading.Event()
        self.flows.set()
        self.refuses = False
        self.at_commit: str | None = None
        """At the next COMMIT: `lose-answer` delivers it and cuts before the answer arrives, `lose-request` cuts before
        it is delivered, `freeze` freezes before it is delivered, `freeze-answer` before the answer is, `vanish`
        delivers it, and then refuses everything."""
        self.deciding = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listener)
        self._listener.close()
        self._acceptor.join()
        self.disarm()
        self.cut()
        for pair in self._pairs:
            pair.join()

    def url(self, database: str, user: str) -> str:
        """Return the address of *database* through this proxy."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def disarm(self) -> bool:
        """Let everything flow, now and at the next COMMIT; return whether `at_commit` was still to come."""
        with self.deciding:
            waits, self.at_commit = self.at_commit is not None, None
            for pair in self._pairs:
                pair.then = None
            self.flows.set()
        return waits

    def refuse(self) -> None:
        """End all connections, and refuse new ones."""
        self.refuses = True
        self.cut()

    def accept(self) -> None:
        """Let new connections through again."""
        self.refuses = False

    def cut(self) -> None:
        """End all connections."""
        for pair in self._pairs:
            pair.end()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if self.refuses:
                    raise ConnectionRefusedError
                server.connect(self._target)
            except OSError:
                server.close()
                client.close()
                continue
            self._pairs.append(_Pair(self, client, server))


class _Pair:
    """A connection through *proxy*, with a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self.then: str | None = None
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._up, self._down)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        _end(self._client)
        _end(self._server)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._server.close()

    def _up(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 16):
                if _COMMIT in data:
                    with self._proxy.deciding:
                        self.then, self._proxy.at_commit = self._proxy.at_commit, None
                        if self.then == "freeze":
                            self._proxy.flows.clear()
                    if self.then == "lose-request":
                        break
                self._proxy.flows.wait()
                self._server.sendall(data)
        self.end()

    def _down(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 16):
                with self._proxy.deciding:
                    then, self.then = self.then, None
                    if then == "freeze-answer":
                        self._proxy.flows.clear()
                if then == "vanish":
                    self._proxy.refuse()
                if then in ("lose-answer", "vanish"):
                    break
                self._proxy.flows.wait()
                self._client.sendall(data)
        self.end()


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
