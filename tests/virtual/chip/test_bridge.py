"""USB bridges and cables with limits, between a host and a board."""

from __future__ import annotations

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.manual_clock import ManualTimeline
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.chip.uart import Uart
from rmfab.virtual.spec import BoardSpec, PortKind

LONG, SHORT = bytes(range(64)), b"\xc0short\xc0"


def line(bridge=None, cable=1 << 30, baud=921600):
    """Return what arrives at the board and at the host when LONG and SHORT are sent both ways at *baud*."""
    uart, there, here = Uart(ManualTimeline(), None, bridge), [], []
    uart.cable = lambda: cable
    uart.to_board = lambda data, _: there.append(data)
    uart.to_host = here.append
    uart.set_host_baud(baud)
    uart.chip_baud = baud
    for data in (LONG, SHORT):
        uart.from_host(data)
        uart.from_board(data, 0.0)
    return there, here


def test_a_bridge_lowers_a_rate_silently():
    """A CP2102 asked for more than 1 Mbaud runs at that, so the chip's 2 Mbaud do not fit."""
    uart = Uart(ManualTimeline(), None, BridgeKind.CP2102)
    uart.set_host_baud(2_000_000)
    assert uart.host_baud == 1_000_000
    there, here = line(BridgeKind.CP2102, baud=2_000_000)
    assert LONG not in there
    assert LONG not in here
    assert line(BridgeKind.CP2102, baud=1_000_000) == ([LONG, SHORT], [LONG, SHORT])


def test_the_gaps_of_a_ch340():
    """A CH340 carries 1 Mbaud, garbles 921600, and at 2 Mbaud what the chip sends."""
    assert line(BridgeKind.CH340, baud=1_000_000) == ([LONG, SHORT], [LONG, SHORT])
    there, here = line(BridgeKind.CH340, baud=921_600)
    assert SHORT not in there + here
    there, here = line(BridgeKind.CH340, baud=2_000_000)
    assert there == [LONG, SHORT]
    assert SHORT not in here


@pytest.mark.parametrize("baud", [460800, 921600])
def test_a_cable_damages_long_messages_above_its_rate(baud):
    """Above its rate a cable changes one bit of each long message, in both directions; short ones pass."""
    for received in line(cable=460800, baud=baud):
        damaged, short = received
        assert short == SHORT
        differing = [a ^ b for a, b in zip(damaged, LONG, strict=True) if a != b]
        assert differing == ([] if baud == 460800 else [1])


def test_a_bridge_needs_a_transport_that_tells_it():
    """A bridge behind a pseudo-terminal or a raw socket could not be known by a host."""
    with pytest.raises(ValueError, match="rfc2217"):
        BoardSpec(Chip.ESP32C3, link=PortKind.PTY, bridge=BridgeKind.CP2102)
