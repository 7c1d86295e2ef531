"""The serial line between a host and a board: baud rates on both ends, and time where the board is paced.

A paced byte takes ten bit times. Deliveries are scheduled per chunk against ideal times, so that rounding by the
event loop does not add up and a waiting line costs no processor time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

_TOLERANCE = 0.03
_NOISE = bytes((0x80 | value * 37 & 0x7F) & 0xBF for value in range(256))
ROM_BAUD = 115200


class Cancellable(Protocol):
    """A call that has been scheduled."""

    def cancel(self) -> None:
        """Calls it off."""


class Timeline(Protocol):
    """The clock and the schedule that boards live on; an asyncio event loop is one."""

    def time(self) -> float:
        """Seconds."""

    def call_at(self, when: float, callback: Callable[..., object], *args: object) -> Cancellable:
        """Calls *callback* at *when*."""


class Uart:
    """One line. *to_board* takes bytes and the time of their arrival, *to_host* bytes for the transport.

    *paced* None takes no time, 0 that of the rate in force, another number that of at most so many baud. With
    *autobaud* the chip takes over the host's rate from what it receives, as the ROM does until it has heard SYNC.
    """

    def __init__(self, timeline: Timeline, paced: int | None) -> None:
        self._timeline = timeline
        self._paced = paced is not None
        self._ceiling = paced or 1 << 30
        self._pending: set[Cancellable] = set()
        self._received = 0.0
        self._sent = 0.0
        self.host_baud = ROM_BAUD
        self.chip_baud = ROM_BAUD
        self.autobaud = False
        self.to_board: Callable[[bytes, float], None] = lambda _data, _at: None
        self.to_host: Callable[[bytes], None] = lambda _data: None

    @property
    def fits(self) -> bool:
        """Whether both ends run at the same rate, near enough."""
        return abs(self.host_baud - self.chip_baud) <= _TOLERANCE * self.chip_baud

    def from_host(self, data: bytes) -> None:
        """Bytes that the host sends."""
        if not self._paced:
            self._arrive(data, self._timeline.time())
            return
        self._received = max(self._timeline.time(), self._received) + len(data) * 10 / min(
            self.host_baud, self._ceiling
        )
        self._timeline.call_at(self._received, self._arrive, data, self._received)

    def from_board(self, data: bytes, at: float) -> None:
        """Bytes that the chip sends, beginning at *at*."""
        data = self._carried(data)
        if not self._paced:
            self.to_host(data)
            return
        self._sent = max(at, self._sent) + len(data) * 10 / min(self.chip_baud, self._ceiling)
        handle: list[Cancellable] = []
        handle.append(self._timeline.call_at(self._sent, self._deliver, data, handle))
        self._pending.add(handle[0])

    @property
    def drained(self) -> float:
        """When everything that was printed will have been sent."""
        return self._sent

    def drop_output(self) -> None:
        """Forgets what the chip has not sent yet: it was reset or lost its power."""
        for handle in self._pending:
            handle.cancel()
        self._pending.clear()
        self._sent = 0.0

    def _arrive(self, data: bytes, at: float) -> None:
        if self.autobaud:
            self.chip_baud = self.host_baud
        self.to_board(self._carried(data), at)

    def _deliver(self, data: bytes, handle: list[Cancellable]) -> None:
        self._pending.discard(handle[0])
        self.to_host(data)

    def _carried(self, data: bytes) -> bytes:
        """What the far end makes of *data*: noise where the rates differ."""
        return data if self.fits else data.translate(_NOISE)
