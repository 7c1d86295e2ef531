"""Links to the device of these tests: called directly, or over HTTP on loopback with every kind of misbehaviour."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from rmfab.provisioning.failures import RequestRefused
from tests.patience import PATIENCE
from tests.provisioning.device import Device


class Direct:
    """A link that passes requests to the device; a failing handler is a RequestRefused."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.closed = False
        device.new_session()

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        answer = self.device.post(endpoint, data)
        if answer is None:
            raise RequestRefused("closed")
        return answer

    def close(self) -> None:
        self.closed = True


class SoftAp:
    """A small HTTP server of one socket at a time. *script* maps the number of a request to raw bytes or a keyword."""

    def __init__(self, device: Device, script: dict[int, bytes | str] | None = None) -> None:
        self.device = device
        self.script = script or {}
        self.requests: list[bytes] = []
        self.cookie: str | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.held: list[socket.socket] = []
        self.thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                try:
                    self._talk(connection)
                except (OSError, ValueError):
                    connection.close()

    def _talk(self, connection: socket.socket) -> None:
        while True:
            request = self._request(connection)
            if request is None:
                connection.close()
                return
            number = len(self.requests)
            self.requests.append(request)
            act = self.script.get(number)
            if act == "stall":
                self.held.append(connection)
                return
            if act == "vanish":
                self.listener.close()
                connection.close()
                return
            if isinstance(act, bytes):
                connection.sendall(act)
                if not act.endswith(b"{}") or b"Content-Length: 2\r" not in act:
                    connection.close()
                    return
                continue
            self._answer(connection, request, wrong_cookie=act == "cookie")

    def _answer(self, connection: socket.socket, request: bytes, *, wrong_cookie: bool) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        endpoint = head.split(b" ")[1].decode().lstrip("/")
        known = self.cookie is not None and f"\r\nCookie: {self.cookie}".encode() in head
        extra = ""
        if not known:
            self.device.new_session()
            self.cookie = f"session={4000000000 + len(self.requests)}"
            extra = f"Set-Cookie: {'session=1' if wrong_cookie else self.cookie}\r\n"
        try:
            answer = self.device.post(endpoint, body)
        except KeyError:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
            return
        if answer is None:
            connection.close()
            raise ValueError("closed")
        connection.sendall(f"HTTP/1.1 200 OK\r\n{extra}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)

    def _request(self, connection: socket.socket) -> bytes | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(4096)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        size = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split()[1])
        while len(body) < size:
            body += connection.recv(4096)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        for connection in self.held:
            connection.close()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)


@contextmanager
def soft_ap(device: Device, script: dict[int, bytes | str] | None = None) -> Iterator[SoftAp]:
    """Serve the device over HTTP until the block ends."""
    server = SoftAp(device, script)
    try:
        yield server
    finally:
        server.close()


def answering(*answers: bytes) -> AbstractContextManager[SoftAp]:
    """Serve these answers in order, and close after an incomplete one."""
    return soft_ap(Device(), dict(enumerate(answers)))
