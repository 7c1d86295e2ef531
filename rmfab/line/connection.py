"""The connection to the board on a slot: its open port, and who speaks on it, a loader or the console of its firmware.

It restarts the board, brings it into its loader, and keeps what every console has said for the log file.
"""

from __future__ import annotations

from collections.abc import Callable

from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader, SlotLink
from rmfab.board.native_usb import returned, usb_number
from rmfab.board.port import SerialPort, guarded, swapped
from rmfab.board.restart import Auto, Unwired, restart_into_run
from rmfab.board.unit_console import UnitConsole

_HEAR_OUT_SECONDS = 0.05


class BoardConnection:
    """The connection over *port*, closed by its owner. *keep_going* is asked while a console is read."""

    def __init__(self, link: SlotLink, port: SerialPort, keep_going: Callable[[], None]) -> None:
        self._link = link
        self._port = port
        self._keep_going = keep_going
        self._loader: Loader | None = None
        self._facts: BoardFacts | None = None
        self._consoles: list[UnitConsole] = []

    @property
    def address(self) -> str:
        """The address of the port."""
        return self._link.address

    @property
    def unwired(self) -> bool:
        """Whether nothing here can restart the board."""
        return isinstance(self._link.restart, Unwired)

    @property
    def mac(self) -> str | None:
        """The board's MAC, once it was read in the loader."""
        return self._facts.mac if self._facts else None

    @property
    def in_loader(self) -> bool:
        """Whether the board was brought into its loader, and not restarted since."""
        return self._loader is not None and self._facts is not None

    @property
    def text(self) -> str:
        """What the consoles have said so far; it may hold secrets."""
        return "".join(console.text for console in self._consoles)

    def into_loader(self) -> tuple[Loader, BoardFacts]:
        """Brings the board into its loader and asks what it is. Raises PortError if it is not the same as before."""
        loader = self._loader = Loader(self._port, self._link)
        facts = loader.connect()
        if self.mac is not None and facts.mac != self.mac:
            raise swapped(self.address)
        self._facts = facts
        return loader, facts

    def restart(self) -> None:
        """Leaves the loader and restarts into the firmware, unless somebody else restarts this slot."""
        link, loader = self._link, self._loader
        if loader is None:
            self._drain_console()
        self._loader = None
        own_usb = usb_number(link.address) if isinstance(link.restart, Auto) else None
        if own_usb is not None and loader is not None:
            loader.restart()
        else:
            if loader is not None:
                loader.leave()
            if not self.unwired:
                guarded(link.address, lambda: restart_into_run(self._port, link.restart))
        if own_usb is not None:
            self._port = returned(self._port, link.address, own_usb)

    def _drain_console(self) -> None:
        """Reads what the unit has printed until now, so that it is not taken for what it prints after its restart."""
        for console in self._consoles[-1:]:
            for _ in console.lines(_HEAR_OUT_SECONDS):
                pass

    def open_console(self) -> UnitConsole:
        """The console of the firmware that runs, from now on."""
        console = UnitConsole(self._port, self.address, self._keep_going)
        self._consoles.append(console)
        return console

    def close(self) -> None:
        """Closes the port."""
        self._port.close()
