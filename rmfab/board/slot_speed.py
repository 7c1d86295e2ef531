"""The speed of one slot for one board: which rate to try, what to fall to, and what the next board should know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rmfab.board.actual_rate import actual_rate, pass_answers_on_at_once, usb_of
from rmfab.board.bridges import SAFE_BAUD, Bridge, known_bridge
from rmfab.board.port import SerialPort
from rmfab.board.rate_book import RateBook
from rmfab.board.rates import RateRecord, after_error, after_pass, rom_rate, slower_rates, wanted_rate

_TOLERANCE = 0.02


@dataclass(frozen=True)
class SlotSpeed:
    """*wanted* is the rate for this board. *book* learns how it went, if the *bridge* is known and its rate not fixed.

    *port* is asked at which rate it really runs; *address* and *usb* are the slot's key in the book.
    """

    port: SerialPort
    wanted: int
    bridge: Bridge | None = None
    book: RateBook | None = None
    address: str = ""
    usb: str = ""

    @classmethod
    def of(cls, port: SerialPort, address: str, baud: int | None, book: RateBook | None) -> SlotSpeed:
        """Return the speed of the slot at *address*: *baud*, or if that is None, what its bridge and cable carry."""
        usb = usb_of(port, address)
        pass_answers_on_at_once(port, usb)
        bridge = known_bridge(usb)
        if bridge is not None and len(bridge.rates) == 1:
            return cls(port, bridge.first, bridge)
        if baud is not None or bridge is None or usb is None:
            return cls(port, SAFE_BAUD if baud is None else baud, bridge)
        record = book.read((address, usb)) if book is not None else None
        return cls(port, wanted_rate(bridge, record), bridge, book, address, usb)

    @property
    def rom(self) -> int:
        """The rate for the ROM loader."""
        return rom_rate(self.wanted, self.bridge)

    def slower(self, rate: int) -> tuple[int, ...]:
        """Return the rates to fall to from *rate*, the fastest first."""
        return slower_rates(rate, self.bridge)

    def carries(self, rate: int) -> bool:
        """Set the port to *rate* and return whether it really runs at it: some bridges lower it silently."""
        try:
            self.port.baudrate = rate
        except ValueError:  # pyserial: the driver refuses it
            return False
        actual = actual_rate(self.port)
        return actual is None or abs(actual - rate) <= _TOLERANCE * rate

    def passed(self, rate: int) -> None:
        """Note that a board was written and read back at *rate*."""
        self._learn(lambda record, _: after_pass(record, rate))

    def failed(self, rate: int, *, forever: bool = False) -> None:
        """Note an error at *rate*; *forever*: the bridge does not have it."""
        self._learn(lambda record, bridge: after_error(bridge, record, rate, forever=forever))

    def _learn(self, learn: Callable[[RateRecord | None, Bridge], RateRecord]) -> None:
        bridge = self.bridge
        if self.book is not None and bridge is not None:
            self.book.change((self.address, self.usb), lambda record: learn(record, bridge))
