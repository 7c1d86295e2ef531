"""The connection to the board on a slot: its open port, and either its loader or the console of its firmware.

It restarts the board, brings it into its loader, and keeps the text of every console for the log file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from rmfab.board.bootlog import BootLog
from rmfab.board.bridges import SAFE_BAUD
from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader, SlotLink
from rmfab.board.native_usb import returned, usb_number
from rmfab.board.port import SerialPort, gone, guarded, open_port, swapped
from rmfab.board.rate_book import RateBook
from rmfab.board.rates import slower_rates
from rmfab.board.restart import Auto, Unwired, restart_into_run
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import PortError, StationError
from rmfab.ledger.host import state_folder

RATES_FILE = "rates.json"
_HEAR_OUT_SECONDS = 0.05
_RETURN_SECONDS = 5.0
_POLL_SECONDS = 0.1


def rate_book() -> RateBook | None:
    """Return the book in which this host remembers the rates of its slots, None if it has no folder for that."""
    try:
        return _book(state_folder() / RATES_FILE)
    except StationError:  # reported by what needs the folder
        return None


@cache
def _book(path: Path) -> RateBook:
    """Return the one book of this process for *path*: its slots learn at the same time."""
    return RateBook(path)


class BoardConnection:
    """The connection over *port*, closed by its owner, which reads a console at *baud*.

    It calls *keep_going* while it waits for the board, which raises to give up.
    """

    def __init__(self, link: SlotLink, port: SerialPort, keep_going: Callable[[], None], baud: int) -> None:
        self._link = link
        self._port = port
        self._keep_going = keep_going
        self._baud = baud
        self._loader: Loader | None = None
        self._facts: BoardFacts | None = None
        self._consoles: list[UnitConsole] = []
        self._log: BootLog | None = None

    @property
    def address(self) -> str:
        """The address of the port."""
        return self._link.address

    @property
    def unwired(self) -> bool:
        """Whether the station cannot restart the board."""
        return isinstance(self._link.restart, Unwired)

    @property
    def mac(self) -> str | None:
        """The board's MAC, or None until it was read in the loader."""
        return self._facts.mac if self._facts else None

    @property
    def in_loader(self) -> bool:
        """Whether the board was brought into its loader and not restarted since."""
        return self._loader is not None and self._facts is not None

    @property
    def text(self) -> str:
        """The text of the consoles so far; it may contain secrets."""
        return "".join(console.text for console in self._consoles)

    @property
    def log(self) -> BootLog | None:
        """The log of the running firmware, which grows as its console is read; None after a restart."""
        return self._log

    def hear(self) -> None:
        """Add to the log what the running firmware has printed meanwhile, if there is one."""
        if self._log is not None:
            self._consoles[-1].hear()

    def use_baud(self, baud: int) -> None:
        """Read consoles at *baud* from the next restart on."""
        self._baud = baud

    def into_loader(self) -> tuple[Loader, BoardFacts]:
        """Bring the board into its loader and read its facts. Raise PortError if a different board is connected now."""
        self._log = None
        loader = self._loader = Loader(self._port, self._link, self._keep_going, rate_book())
        facts = loader.connect()
        if self.mac is not None and facts.mac != self.mac:
            raise swapped(self.address)
        self._facts = facts
        return loader, facts

    def recover(self) -> None:
        """Be ready for another attempt: open a port again that went away. Raise PortError if it stays away.

        esptool closes a port on which nothing answers.
        """
        self._loader = self._log = None
        try:
            if self._port.is_open and guarded(self.address, lambda: self._port.in_waiting) >= 0:
                return
        except PortError:
            self._port.close()
        deadline = time.monotonic() + _RETURN_SECONDS
        while True:
            self._keep_going()
            try:
                self._port = open_port(self.address, self._keep_going)
            except PortError as error:
                if time.monotonic() >= deadline:
                    raise gone(self.address, OSError("it did not come back")) from error
                time.sleep(_POLL_SECONDS)
            else:
                return

    def slow_down(self) -> int | None:
        """Use the next slower rate in the stub from now on, and return it; None if there is none."""
        rate = self._loader.baud if self._loader is not None else self._link.baud or SAFE_BAUD
        slower = next(iter(slower_rates(rate, None)), None)
        if slower is not None:
            self._link = replace(self._link, baud=slower)
        return slower

    def restart(self) -> None:
        """Leave the loader and restart into the firmware, unless the slot is restarted by hand."""
        link, loader = self._link, self._loader
        if loader is None:
            self._drain_console()
        self._loader = self._log = None
        own_usb = usb_number(link.address) if isinstance(link.restart, Auto) else None
        if own_usb is not None and loader is not None:
            loader.restart()
        else:
            if loader is not None:
                loader.leave()
            guarded(link.address, self._take_baud)
            if not self.unwired:
                guarded(link.address, lambda: restart_into_run(self._port, link.restart, self._keep_going))
        if own_usb is not None:
            self._port = returned(self._port, link.address, own_usb, keep_going=self._keep_going)

    def _take_baud(self) -> None:
        """Set the console's baud before the firmware prints; what the ROM prints at its own is noise then."""
        if self._port.baudrate != self._baud:
            self._port.baudrate = self._baud

    def _drain_console(self) -> None:
        """Discard what the unit has printed so far, so that it does not count as output of the next boot."""
        for console in self._consoles[-1:]:
            for _ in console.lines(_HEAR_OUT_SECONDS):
                pass

    def open_console(self) -> UnitConsole:
        """Open the console of the running firmware, from now on."""
        console = UnitConsole(self._port, self.address, self._keep_going)
        self._consoles.append(console)
        return console

    def follow(self, log: BootLog) -> None:
        """Add what is read from the open console from now on to *log*, until the board is restarted."""
        self._consoles[-1].follow(log.feed)
        self._log = log

    def close(self) -> None:
        """Close the port."""
        self._port.close()
