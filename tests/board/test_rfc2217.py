"""The lean RFC 2217 client, against pyserial's server side and against a virtual board."""

import contextlib
import select
import socket
import threading
import time

import pytest
import serial
import serial.rfc2217
from hypothesis import given
from hypothesis import strategies as st

from rmfab.board.rfc2217 import Rfc2217Port
from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.serving import serve
from rmfab.virtual.spec import BoardSpec, Strap
from tests.patience import PATIENCE, until


class Server:
    """A server for one client at a time, with pyserial's `PortManager` over a `loop://` port as in its example."""

    def __init__(self):
        self.loop = serial.serial_for_url("loop://", timeout=0)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self.listener.getsockname()[1]}"
        self.client = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        self.client, _ = self.listener.accept()
        with contextlib.suppress(ConnectionError):
            self.pass_on()

    def pass_on(self):
        manager = serial.rfc2217.PortManager(self.loop, self)
        while not self.done.is_set():
            if select.select([self.client], [], [], 0.005)[0]:
                data = self.client.recv(4096)
                if not data:
                    break
                plain = b"".join(manager.filter(data))
                if plain:
                    self.loop.write(plain)
            waiting = self.loop.in_waiting
            if waiting:
                self.write(b"".join(manager.escape(self.loop.read(waiting))))

    def write(self, data):
        self.client.sendall(data)

    def close(self):
        self.done.set()
        self.thread.join()
        self.listener.close()
        self.client.close()
        self.loop.close()


@pytest.fixture
def server():
    """pyserial's server."""
    one = Server()
    yield one
    one.close()


def opened(url):
    """Open a port on *url*."""
    port = Rfc2217Port()
    port.port = url
    port.baudrate = 115200
    port.timeout = PATIENCE
    port.dtr = False
    port.rts = False
    port.open()
    return port


class TestAgainstPyserial:
    """The server side of pyserial is an independent implementation of RFC 2217."""

    def test_every_byte_goes_there_and_back(self, server):
        """All 256 bytes, including 0xFF, come back as sent."""
        port = opened(server.url)
        everything = bytes(range(256)) * 3 + b"\xff\xff\xf0\xff"
        assert port.write(everything) == len(everything)
        assert port.read(len(everything)) == everything
        assert port.in_waiting == 0
        port.close()

    def test_settings_arrive(self, server):
        """Baud, DTR and RTS reach the server's port."""
        port = opened(server.url)
        until(lambda: server.loop.baudrate == 115200)
        port.baudrate = 921600
        until(lambda: server.loop.baudrate == 921600)
        assert (server.loop.bytesize, server.loop.parity, server.loop.stopbits) == (8, "N", 1)
        for line in ("dtr", "rts"):
            for value in (True, False):
                setattr(port, line, value)
                until(lambda line=line, value=value: getattr(server.loop, line) is value)
        port.close()

    def test_timeouts_cost_no_message(self, server):
        """A changed timeout sends nothing: that makes this client fast."""
        port = opened(server.url)
        sent = []
        port._send = sent.append
        for seconds in (0.1, 3.0, None, 0):
            port.timeout = seconds
        assert sent == []
        port.close()

    def test_purge(self, server):
        """Bytes received earlier are discarded."""
        port = opened(server.url)
        port.write(b"old")
        until(lambda: port.in_waiting == 3)
        port.reset_input_buffer()
        assert port.in_waiting == 0
        port.write(b"new")
        assert port.read(3) == b"new"
        port.close()

    def test_read_returns_what_came_within_the_timeout(self, server):
        """A read that is not filled returns what it has when its timeout ends."""
        port = opened(server.url)
        port.write(b"ab")
        until(lambda: port.in_waiting == 2)
        port.timeout = 0.1
        assert port.read(5) == b"ab"
        port.timeout = 0
        assert port.read(5) == b""
        port.close()


def test_connection_that_goes_away(server):
    """A closed connection raises SerialException on every use, and can be closed twice."""
    port = opened(server.url)
    server.client.shutdown(socket.SHUT_RDWR)
    with pytest.raises(serial.SerialException):
        port.read(1)
    with pytest.raises(serial.SerialException):
        _ = port.in_waiting
    port.close()
    port.close()
    for use in (lambda: port.read(1), lambda: port.write(b"x"), port.reset_input_buffer, lambda: port.in_waiting):
        with pytest.raises(serial.SerialException):
            use()


def test_a_server_that_is_none():
    """A server that does not answer in RFC 2217 is reported as such after a time limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr("rmfab.board.rfc2217._AGREE_SECONDS", 0.1)
        with pytest.raises(serial.SerialException, match="does not speak"):
            opened(f"rfc2217://127.0.0.1:{silent.getsockname()[1]}")


def test_foreign_options_are_declined():
    """Unneeded options are declined, once each, and the data continues."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = bytearray()

        def peer():
            connection, _ = listener.accept()
            connection.sendall(b"\xff\xfb\x2c" + b"\xff\xfd\x18" + b"\xff\xfb\x01" + b"data")
            with connection, contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(100):
                    said.extend(piece)

        thread = threading.Thread(target=peer)
        thread.start()
        port = opened(f"rfc2217://127.0.0.1:{listener.getsockname()[1]}")
        assert port.read(4) == b"data"
        port.close()
        thread.join(PATIENCE)
    assert said.count(b"\xff\xfc\x18") == 1
    assert said.count(b"\xff\xfe\x01") == 1


_NOTIFICATION = b"\xff\xfa\x2c\x65\x00\x01\xff\xff\x00\xff\xf0"
_TELNET = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=8).map(lambda data: (data, data.replace(b"\xff", b"\xff\xff"))),
        st.sampled_from(
            [b"\xff\xfb\x00", b"\xff\xfd\x03", b"\xff\xf1", b"\xff\xfa\x2c\x65\x00\x01\xff\xff\x00\xff\xf0"]
        ).map(lambda command: (b"", command)),
    )
)


@given(_TELNET, st.data())
def test_telnet_split_anywhere(pieces, data):
    """A stream cut anywhere into packets gives the same data, and commands do not become data."""
    stream = b"".join(wire for _, wire in pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    port = Rfc2217Port()
    port._received, port._undecoded = bytearray(), b""
    port._send = lambda _: None
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        port._decode(port._undecoded + stream[start:end])
    assert bytes(port._received) == b"".join(plain for plain, _ in pieces)
    assert port._undecoded == b""


@given(st.binary(max_size=60))
def test_any_stream(stream):
    """Any stream is accepted, and byte by byte it decodes to the same data."""
    results = []
    for parts in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        port = Rfc2217Port()
        port._received, port._undecoded = bytearray(), b""
        port._send = lambda _: None
        for part in parts:
            port._decode(port._undecoded + part)
        results.append(bytes(port._received))
    assert results[0] == results[1]


def test_against_a_virtual_board():
    """DTR and RTS restart a virtual board, and its boot log comes back over the same connection."""
    with serve([BoardSpec(Chip.ESP32C3, strap=Strap.DOWNLOAD)]) as (board,):
        port = opened(board.url)
        restarts = board.state()["restarts"]
        port.rts = True
        time.sleep(0.05)
        port.rts = False
        text = port.read(60)  # no more: in its loader it prints once
        assert b"ESP-ROM:esp32c3" in text
        assert board.state()["restarts"] == restarts + 1
        board.control("vanish")
        with pytest.raises(serial.SerialException):
            port.read(1 << 20)
        port.close()
