"""A watch over a slot that waits: it sees a finished board leave, without keeping it from running, and the next one.

Whatever can tell without the board is asked first: the USB port, a modem line, a fixture's command. Where nothing can,
the line listens: a unit that prints, or answers a line end with its prompt, is still there; one that starts may be a
different one. Only a unit that stays silent is brought into its loader for a moment, less and less often, and started
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from rmfab.board.bootlog import is_start
from rmfab.board.native_usb import is_native_usb
from rmfab.board.port import SerialPort, guarded, open_port
from rmfab.board.presence import ByCommand, ByModemLine, ByProbe, ByUsb, port_is_there
from rmfab.errors import PortError, RmfabError
from rmfab.line.probe import Probe, not_seen, probe
from rmfab.line.station import Slot

_FIRST_LOOK_SECONDS = 2.0
_LONGEST_LOOK_SECONDS = 15.0
_ANSWER_SECONDS = 0.2
_LARGEST_READ = 64 * 1024
_LEAST_LETTERS = 2
"""What is left of a prompt such as `>>`; noise of an open line is no text."""


class SlotWatch:
    """A watch over *slot*, whose last board was *last*, None if it had none. Close it before the slot is used.

    A unit that prints does so at *baud*. *keep_going* raises to give up.
    """

    def __init__(self, slot: Slot, last: str | None, baud: int, keep_going: Callable[[], None]) -> None:
        self.slot = slot
        self._last = last
        self._baud = baud
        self._keep_going = keep_going
        self._there = last is not None
        self._unsure = False
        self._port: SerialPort | None = None
        self._pause = _FIRST_LOOK_SECONDS
        self._due = time.monotonic() + self._pause
        self._way = slot.presence or (ByUsb() if is_native_usb(slot.link.address) else ByProbe())

    def close(self) -> None:
        """Close the port."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def pause(self) -> None:
        """Look away: the board may be replaced meanwhile, so that the next look asks for its MAC."""
        self.close()
        self._unsure = self._there

    def look(self) -> Probe:
        """Return what is on the slot now: the finished board as long as it was not seen to leave."""
        try:
            seen = self._seen()
        except RmfabError as error:
            self.close()
            seen = not_seen(self.slot, error)
            if seen.trouble is not None:
                return seen  # whether the board is still there is not known
        self._there = self._there and (seen.board == self._last or seen.closed)
        return seen

    def _seen(self) -> Probe:
        """Return what is on the slot. An open fixture has no board, unless something else sees it."""
        if self.slot.start is None or self.slot.start.closed(self._keep_going):
            return self._in_contact()
        if self._there and not isinstance(self._way, ByProbe):
            return replace(self._in_contact(), fixture_open=True)
        self.close()
        return Probe(fixture_open=True)

    def _in_contact(self) -> Probe:
        if not port_is_there(self.slot.link.address):
            raise PortError("port does not exist", where=self.slot.link.address, cause="port-absent")
        if self._unsure:
            self._unsure = False
            return self._probed()
        match self._way:
            case ByUsb() if self._there:
                return Probe(self._last)
            case ByModemLine() as way:
                there = way.sees(self._opened())
            case ByCommand() as way:
                there = way.sees(self._keep_going)
            case _:
                return self._by_probe()
        if not there:
            return Probe()
        return Probe(self._last) if self._there else self._probed()

    def _by_probe(self) -> Probe:
        if self._there and self._runs():
            return Probe(self._last)
        seen = self._probed()
        self._pause = min(2 * self._pause, _LONGEST_LOOK_SECONDS)
        self._due = time.monotonic() + self._pause
        return seen

    def _probed(self) -> Probe:
        self.close()
        return probe(self.slot, self._keep_going, self._last if self._there else None)

    def _runs(self) -> bool:
        """Return whether the finished board need not be asked in its loader yet."""
        text = self._heard()
        lines = text.splitlines()
        if any(map(is_start, lines)):
            return False
        if sum(letter.isprintable() and letter != "\N{REPLACEMENT CHARACTER}" for letter in text) >= _LEAST_LETTERS:
            self._due = time.monotonic() + self._pause
        return time.monotonic() < self._due

    def _heard(self) -> str:
        """Send a line end, and return what the unit has printed since the last look, and in answer to it."""
        port = self._opened()

        def ask() -> bytes:
            before = port.read(min(port.in_waiting, _LARGEST_READ)) if port.in_waiting else b""
            port.write(b"\r\n")
            return before + port.read(_LEAST_LETTERS)

        return guarded(self.slot.link.address, ask).decode("utf-8", "replace")

    def _opened(self) -> SerialPort:
        if self._port is None:
            self._port = open_port(self.slot.link.address, self._keep_going)
            self._port.baudrate = self._baud
            self._port.timeout = _ANSWER_SECONDS
        return self._port
