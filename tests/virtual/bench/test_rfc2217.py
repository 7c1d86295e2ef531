"""The RFC 2217 server, against pyserial's stock client and a lean one that never waits."""

from __future__ import annotations

import contextlib
import socket

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, PortKind, serve
from rmfab.virtual.bench.rfc2217 import Line, TelnetPort
from tests.patience import PATIENCE, until
from tests.virtual.rig import SYNC, frame, frames


def _port():
    heard = []

    def note(name):
        return lambda *values: heard.append((name, *values))

    line = Line(
        send=note("send"), on_data=note("data"), on_baud=note("baud"), on_dtr=note("dtr"), on_rts=note("rts"),
        on_purge=note("purge"), baud=lambda: 115200, dtr=lambda: True, rts=lambda: False,
        powered=lambda: True,
    )  # fmt: skip
    return TelnetPort(line), heard


@given(st.binary(max_size=300), st.integers(1, 50))
def test_data_is_transparent(data, cut):
    """Every byte value passes unchanged, however the stream is cut, also between doubled IACs."""
    port, heard = _port()
    stream = TelnetPort.escape(data)
    for at in range(0, len(stream), cut):
        port.feed(stream[at : at + cut])
    assert data == b"".join(value for name, value in heard if name == "data")


@given(st.integers(1, 8))
def test_commands_between_data(cut):
    """Control lines, rates and data arrive in the order in which they were sent, however the stream is cut."""
    port, heard = _port()
    sub = bytes([255, 250, 44])
    end = bytes([255, 240])
    rate = b"\x00\xff\xff\x00\x00"  # 0x00FF0000 with its 0xFF doubled
    stream = b"a" + sub + b"\x01" + rate + end + b"b" + sub + b"\x05\x08" + end + sub + b"\x05\x0c" + end + b"c"
    for at in range(0, len(stream), cut):
        port.feed(stream[at : at + cut])
    assert [event for event in heard if event[0] != "send"] == [
        ("data", b"a"),
        ("baud", 0xFF0000),
        ("data", b"b"),
        ("dtr", True),
        ("rts", False),
        ("data", b"c"),
    ]


def test_negotiation_ends():
    """A known option is accepted once, an unknown one rejected, a repetition not answered."""
    port, heard = _port()
    port.feed(bytes([255, 251, 44, 255, 253, 0, 255, 251, 44, 255, 253, 99]))
    assert [bytes([255, 253, 44]), bytes([255, 251, 0]), bytes([255, 252, 99])] == [
        data for _, data in heard if len(data) == 3
    ]


def test_endless_subnegotiation_is_passed_over():
    """A client that never ends a subnegotiation does not fill the memory."""
    port, _ = _port()
    port.feed(bytes([255, 250]) + b"x" * 100_000)
    assert len(port._rest) < 1000


@pytest.fixture(scope="module")
def board():
    with serve([BoardSpec(Chip.ESP32C3), BoardSpec(Chip.ESP32, 1, link=PortKind.SOCKET)]) as boards:
        yield boards


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyserial itself
def test_stock_client(board):
    """pyserial opens the port, pulses the lines, receives the boot log, changes the rate and reads the modem state."""
    with serial.serial_for_url(board[0].url, baudrate=115200, timeout=PATIENCE) as port:
        port.dtr = False
        port.rts = True
        port.rts = False
        assert b"ESP-ROM:esp32c3-api1-20210207" in port.read_until(b"rst:0x1 (POWERON)", 200)
        port.baudrate = 921600
        assert port.cts


def test_lean_client_and_second_client(board):
    """A client that only sends subnegotiations reaches the loader; a second client is closed at once."""
    host, number = board[0].url.removeprefix("rfc2217://").split(":")
    address = host, int(number)
    control = [bytes([255, 250, 44, 5, value, 255, 240]) for value in (9, 11, 8, 12, 9)]
    with socket.create_connection(address, timeout=PATIENCE) as client:
        client.sendall(b"".join(control))
        until(lambda: board[0].state()["mode"] == "download")
        client.sendall(frame(b"\x00\x08\x24\x00\x00\x00\x00\x00" + SYNC))
        heard = b""
        while heard.count(b"\x01\x08\x04\x00\x07\x07\x12\x20") < 8:
            heard += client.recv(4096)
        assert b"waiting for download" in heard
        assert board[0].state()["mode"] == "download"
        with socket.create_connection(address, timeout=PATIENCE) as second, contextlib.suppress(ConnectionError):
            assert second.recv(1) == b""


def test_raw_socket(board):
    """`socket://` carries only bytes: the board waits in its loader, because a host cannot reset it."""
    with serial.serial_for_url(board[1].url, timeout=PATIENCE) as port:
        port.write(frame(b"\x00\x08\x24\x00\x00\x00\x00\x00" + SYNC))
        heard = b""
        while heard.count(b"\xc0") < 16:
            heard += port.read(1)
        assert len(frames(heard)) == 8
