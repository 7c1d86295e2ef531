"""The rate that a port really runs at, as its driver or its server reports it."""

from __future__ import annotations

import os
import pty
import sys
import termios

import pytest
import serial

from rmfab.board.actual_rate import actual_rate, usb_of
from rmfab.board.port import open_port
from rmfab.board.slot_speed import SlotSpeed
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, serve
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.spec import PortKind
from tests.patience import PATIENCE, until


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="termios2 is Linux's")
def test_a_driver_that_lowers_a_rate():
    """A driver writes the rate in force into the terminal's settings; here the other side of a terminal does."""
    master, slave = pty.openpty()
    try:
        with serial.Serial(os.ttyname(slave), 3_000_000) as port:
            assert actual_rate(port) == 3_000_000
            port.baudrate = 1_234_567  # a rate without a name
            assert actual_rate(port) == 1_234_567
            settings = termios.tcgetattr(slave)
            settings[4] = settings[5] = termios.B1000000
            termios.tcsetattr(slave, termios.TCSANOW, settings)
            assert actual_rate(port) == 1_000_000
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize(
    ("bridge", "most"), [(BridgeKind.CP2102, 1_000_000), (BridgeKind.CP2104, 2_000_000), (None, None)]
)
def test_a_server_that_lowers_a_rate(monkeypatch, bridge, most):
    """A server of RFC 2217 answers with the rate in force, and names its bridge in its signature."""
    monkeypatch.setattr("rmfab.board.rfc2217._ANSWER_SECONDS", PATIENCE)
    with serve([BoardSpec(Chip.ESP32C3, bridge=bridge)]) as (board,):
        port = open_port(board.url)
        speed = SlotSpeed.of(port, board.url, None, None)
        if bridge is not None:
            until(lambda: usb_of(port, board.url) == bridge.limits.usb, "the server did not sign")
        assert speed.wanted == 921600
        assert speed.carries(921600)
        assert speed.carries(3_000_000) == (most is None)
        assert actual_rate(port) == (most or 3_000_000)
        port.close()


def test_a_port_that_does_not_tell():
    """A raw socket has no rate, and no bridge that this host could know."""
    with serve([BoardSpec(Chip.ESP32C3, link=PortKind.SOCKET)]) as (board,):
        port = open_port(board.url)
        assert actual_rate(port) is None
        assert usb_of(port, board.url) is None
        port.close()


def test_a_terminal_is_no_usb_bridge(tmp_path):
    """A port of this host that is not USB has no ids."""
    with serve([BoardSpec(Chip.ESP32C3, link=PortKind.PTY)], state=tmp_path) as (board,):
        port = open_port(board.url)
        assert usb_of(port, board.url) is None
        port.close()
