"""Servers in this process: some that are no broker, and one that answers as a broker does but lets everybody in."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from rmfab.cloud.mqtt import ConnAck, Connect, Disconnect, Packet, PubAck, Publish, SubAck, Subscribe, decode, encode
from tests.cloud.lab import Lab

Handler = Callable[[socket.socket], None]
HTML = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html><body>proxy</body></html>"


@contextmanager
def listening(handler: Handler) -> Iterator[int]:
    """Yield the port of a server that gives each connection to *handler*, in a thread, and then closes it."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        connections: list[socket.socket] = []
        threads = [threading.Thread(target=_accept, args=(server, handler, connections))]
        threads[0].start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for one in connections:
                with suppress(OSError):
                    socket.socket.shutdown(one, socket.SHUT_RDWR)
            threads[0].join()


def _accept(server: socket.socket, handler: Handler, connections: list[socket.socket]) -> None:
    threads = []
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            connections.append(connection)
            threads.append(threading.Thread(target=_serve, args=(handler, connection)))
            threads[-1].start()
    for one in threads:
        one.join()


def _serve(handler: Handler, connection: socket.socket) -> None:
    with connection, suppress(OSError):
        handler(connection)


def html(connection: socket.socket) -> None:
    """Answer as a web server, without TLS."""
    connection.recv(1)
    connection.sendall(HTML)
    _drain(connection)


def silent(connection: socket.socket) -> None:
    """Accept, and never answer."""
    _drain(connection)


def closing(connection: socket.socket) -> None:
    """Close at once."""
    connection.recv(1)


def _drain(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


@dataclass
class OpenBroker:
    """A broker with the server certificate of *lab* that asks for no certificate and accepts everything.

    *code*: the answer to CONNECT, None to close instead. *answer*: bytes instead of an answer. *silent_for*: client ids
    that get none; those that wait for it are in *waiting*. *seen*: what came.
    """

    lab: Lab
    code: int | None = 0
    answer: bytes | None = None
    alpn: tuple[str, ...] = ()
    silent_for: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    seen: list[Packet] = field(default_factory=list)
    protocols: list[str | None] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.lab.folder.certificate("server"), self.lab.folder.key("server"))
        context.set_alpn_protocols(list(self.alpn))
        with context.wrap_socket(connection, server_side=True) as stream, suppress(OSError):
            self.protocols.append(stream.selected_alpn_protocol())
            data = b""
            while piece := stream.recv(4096):
                data += piece
                while (found := decode(data)) is not None:
                    packet, size = found
                    data = data[size:]
                    self.seen.append(packet)
                    if not self._answer(stream, packet):
                        return

    def _answer(self, stream: ssl.SSLSocket, packet: Packet) -> bool:
        match packet:
            case Connect(client_id=name) if name in self.silent_for:
                self.waiting.append(name)
            case Connect() if self.answer is not None:
                stream.sendall(self.answer)
            case Connect() if self.code is None:
                return False
            case Connect():
                stream.sendall(encode(ConnAck(self.code or 0)))
            case Subscribe():
                stream.sendall(encode(SubAck(packet.packet_id, 1)))
            case Publish(packet_id=int(number)):
                stream.sendall(encode(PubAck(number)))
            case Disconnect():
                return False
        return True
