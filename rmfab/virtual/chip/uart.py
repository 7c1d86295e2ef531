"""The serial line between a host and a board: the baud rates of both ends, and transmission time if the board is paced.

A paced byte takes ten bit times. Deliveries are scheduled per chunk against ideal times, so that rounding by the event
loop does not add up and a waiting line uses no CPU time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rmfab.virtual.chip.bridge import BridgeKind

_TOLERANCE = 0.03  # a receiver that samples ten bits per byte tolerates a few percent
_DAMAGED_FROM = 32  # bytes at once; what is shorter is over before the line disturbs it
_NOISE = bytes((0x80 | value * 37 & 0x7F) & 0xBF for value in range(256))  # contains no SLIP END (0xC0)
ROM_BAUD = 115200


class Cancellable(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""


class Timeline(Protocol):
    """The clock and scheduler of a board; an asyncio event loop is one."""

    def time(self) -> float:
        """Return the time in seconds."""

    def call_at(self, when: float, callback: Callable[..., object], *args: object) -> Cancellable:
        """Call *callback* at *when*."""


class Uart:
    """One serial line. *to_board* receives bytes and their time of arrival, *to_host* receives bytes for the transport.

    *paced* None takes no time; 0 takes the time of the current rate; a value above 0 limits that rate, in baud. With
    *autobaud* the chip adopts the host's rate from the received bytes, as the ROM does until SYNC succeeds. *bridge*
    limits the rates of the host, and *cable* is the highest rate at which long messages arrive whole.
    """

    def __init__(self, timeline: Timeline, paced: int | None, bridge: BridgeKind | None = None) -> None:
        self._timeline = timeline
        self._paced = paced is not None
        self._ceiling = paced or 1 << 30
        self._pending: set[Cancellable] = set()
        self._when_drained: list[Callable[[], None]] = []
        self._received = 0.0
        self._sent = 0.0
        self.host_baud = ROM_BAUD
        self.chip_baud = ROM_BAUD
        self.autobaud = False
        self.bridge = bridge
        self.cable: Callable[[], int] = lambda: 1 << 30
        self.to_board: Callable[[bytes, float], None] = lambda _data, _at: None
        self.to_host: Callable[[bytes], None] = lambda _data: None

    @property
    def fits(self) -> bool:
        """Whether both ends run at nearly the same rate."""
        return abs(self.host_baud - self.chip_baud) <= _TOLERANCE * self.chip_baud

    def set_host_baud(self, baud: int) -> None:
        """Set the rate of the host's end, as far as its bridge can."""
        self.host_baud = baud if self.bridge is None else self.bridge.limits.actual(baud)

    def from_host(self, data: bytes) -> None:
        """Send bytes from the host to the board."""
        if not self._paced:
            self._arrive(data, self._timeline.time())
            return
        self._received = max(self._timeline.time(), self._received) + len(data) * 10 / min(
            self.host_baud, self._ceiling
        )
        self._timeline.call_at(self._received, self._arrive, data, self._received)

    def from_board(self, data: bytes, at: float) -> None:
        """Send bytes from the chip to the host, starting at *at*."""
        data = self._carried(data, to_host=True)
        if not self._paced:
            self.to_host(data)
            return
        self._sent = max(at, self._sent) + len(data) * 10 / min(self.chip_baud, self._ceiling)
        handle: list[Cancellable] = []
        handle.append(self._timeline.call_at(self._sent, self._deliver, data, handle))
        self._pending.add(handle[0])

    def after_output(self, callback: Callable[[], None]) -> None:
        """Call *callback* once all output is sent: now, or right after the last byte."""
        if self._pending:
            self._when_drained.append(callback)
        else:
            callback()

    def drop_output(self) -> None:
        """Discard output that is not sent yet, and who waits for it, as a reset or loss of power does."""
        for handle in self._pending:
            handle.cancel()
        self._pending.clear()
        self._when_drained.clear()
        self._sent = 0.0

    def _arrive(self, data: bytes, at: float) -> None:
        if self.autobaud:
            self.chip_baud = self.host_baud
        self.to_board(self._carried(data, to_host=False), at)

    def _deliver(self, data: bytes, handle: list[Cancellable]) -> None:
        self._pending.discard(handle[0])
        self.to_host(data)
        if not self._pending:
            waiting, self._when_drained = self._when_drained, []
            for callback in waiting:
                callback()

    def _carried(self, data: bytes, *, to_host: bool) -> bytes:
        """Return *data* as the far end receives it: noise if the rates differ, or the bridge cannot carry this one."""
        bridge = self.bridge
        if not self.fits or (bridge is not None and bridge.limits.garbles(self.host_baud, to_host=to_host)):
            return data.translate(_NOISE)
        if self.host_baud <= self.cable() or len(data) < _DAMAGED_FROM:
            return data
        middle = len(data) // 2
        return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]
