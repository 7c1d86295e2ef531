"""The line's rates and pace, and the reset circuit, on a manual clock."""

from __future__ import annotations

import pytest

from rmfab.virtual.bench.manual_clock import ManualTimeline
from rmfab.virtual.chip.reset_circuit import ResetCircuit
from rmfab.virtual.chip.uart import Uart
from tests.virtual.rig import Rig, parts


def _line(paced):
    timeline = ManualTimeline()
    uart = Uart(timeline, paced)
    arrived = []
    uart.to_board = lambda data, at: arrived.append((round(timeline.time(), 6), data))
    uart.to_host = lambda data: arrived.append((round(timeline.time(), 6), data))
    return timeline, uart, arrived


def test_unpaced_bytes_take_no_time():
    """Without pacing, everything arrives at once."""
    _, uart, arrived = _line(None)
    uart.from_host(b"x" * 1000)
    uart.from_board(b"y" * 1000, 0.0)
    assert [at for at, _ in arrived] == [0.0, 0.0]


def test_paced_bytes_take_ten_bit_times():
    """A byte takes ten bit times at the current rate; chunks are sent one after the other, per direction."""
    timeline, uart, arrived = _line(0)
    uart.from_host(b"x" * 1152)
    uart.from_host(b"z" * 1152)
    uart.from_board(b"y" * 1152, 0.0)
    timeline.run(1)
    assert [(at, data[:1]) for at, data in arrived] == [(0.1, b"x"), (0.1, b"y"), (0.2, b"z")]


def test_a_ceiling_limits_the_rate():
    """A number limits the rate, as a slow bridge does."""
    timeline, uart, arrived = _line(115200)
    uart.host_baud = uart.chip_baud = 921600
    uart.from_host(b"x" * 1152)
    timeline.run(1)
    assert arrived[0][0] == 0.1


def test_different_rates_give_noise():
    """At different rates different bytes arrive, in both directions, and no frame mark is among them."""
    _, uart, arrived = _line(None)
    uart.host_baud = 921600
    uart.from_host(bytes(range(256)))
    uart.from_board(bytes(range(256)), 0.0)
    for _, data in arrived:
        assert bytes(range(256)) != data
        assert 0xC0 not in data


def test_work_after_the_last_byte():
    """Work that waits for the output is done right after its last byte, in turn, and never if the output is lost."""
    timeline, uart, arrived = _line(0)
    uart.after_output(lambda: arrived.append((timeline.time(), "at once")))
    uart.from_board(b"y" * 1152, 0.0)
    uart.after_output(lambda: arrived.append((round(timeline.time(), 6), "first")))
    uart.from_board(b"z" * 1152, 0.0)
    uart.after_output(lambda: arrived.append((round(timeline.time(), 6), "second")))
    timeline.run(1)
    assert [word if isinstance(word, str) else word[:1] for _, word in arrived] == [
        "at once",
        b"y",
        b"z",
        "first",
        "second",
    ]
    assert arrived[-1][0] == 0.2
    uart.from_board(b"y", 1.0)
    uart.after_output(lambda: arrived.append((0, "never")))
    uart.drop_output()
    timeline.run(1)
    assert arrived[-1][1] == "second"


def _circuit():
    timeline, told = ManualTimeline(), []
    return timeline, told, ResetCircuit(timeline, lambda: told.append("hold"), told.append)


def test_hard_reset_runs():
    """An RTS pulse with DTR released restarts the chip with the boot pin high."""
    _, told, circuit = _circuit()
    circuit.set_rts(True)
    circuit.set_rts(False)
    assert told == ["hold", False]


def test_classic_sequence_enters_the_loader():
    """DTR0 RTS1, DTR1, RTS0, DTR0, at the pace of a network, pulls the boot pin low when EN rises."""
    timeline, told, circuit = _circuit()
    for set_line, asserted in (
        (circuit.set_dtr, False), (circuit.set_rts, True), (circuit.set_dtr, True), (circuit.set_rts, False),
        (circuit.set_dtr, False),
    ):  # fmt: skip
        set_line(asserted)
        timeline.run(0.1)
    assert told == ["hold", True]


def test_both_lines_asserted_is_no_reset():
    """Opening a port asserts both lines and resets nothing; if both stay asserted after a pulse, EN still rises."""
    timeline, told, circuit = _circuit()
    circuit.set_dtr(True)
    circuit.set_rts(True)
    circuit.drop()
    assert told == []
    circuit.set_rts(True)
    circuit.set_dtr(True)
    timeline.run(1)
    assert told == ["hold", False]


@pytest.mark.parametrize("paced", [None, 0])
def test_boot_log_is_whole_at_any_pace(paced):
    """A paced board prints the same lines, and a restart loop loses none of the last output."""
    rig = Rig(parts=parts(), faults=["panic"], paced=paced)
    text = rig.boot(4.0)
    assert text.count("Rebooting...\n") >= 2
    assert text.count("Rebooting...\n") <= text.count("rst:0xc (RTC_SW_CPU_RST)") + 1


def test_power_off_is_silence():
    """A board without power is silent; when powered, it starts in the mode of its strap."""
    rig = Rig()
    rig.board.power(False)
    assert rig.sync() == []
    rig.board.power(True)
    assert len(rig.sync()) == 8
