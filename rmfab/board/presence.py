"""Ways to see whether a board is in its slot without disturbing it: USB, a modem line, a fixture's command, a probe.

A fixture's command may also say when a board starts: as soon as the fixture is closed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rmfab.board.port import SerialPort, absent_ports, guarded
from rmfab.board.program import run_program
from rmfab.errors import InputError, StationError

LINES = ("cts", "dsr", "dcd", "ri")
_COMMAND_SECONDS = 10.0
_YES, _NO = 0, 1


@dataclass(frozen=True)
class ByUsb:
    """The port comes and goes with the board: its USB plug, or a chip's own USB."""


@dataclass(frozen=True)
class ByModemLine:
    """A switch of the fixture sets a modem *line* of the port while a board is in place; *low*: it clears it."""

    line: str
    low: bool = False

    def sees(self, port: SerialPort) -> bool:
        """Return whether a board is in place. Raise StationError if *port* has no such lines."""
        name = "cd" if self.line == "dcd" else self.line
        if not hasattr(type(port), name):
            raise StationError(
                "the port has no modem lines",
                where=port.port,
                hint='set presence of this slot to "probe" or to a fixture\'s command in station.toml',
                cause="no-modem-lines",
            )
        try:
            return guarded(port.port or "", lambda: bool(getattr(port, name))) is not self.low
        except NotImplementedError as error:
            raise StationError("the port has no modem lines", where=port.port, cause="no-modem-lines") from error


@dataclass(frozen=True)
class ByCommand:
    """A program of the fixture: it exits with 0 if a board is in place, with 1 if none is."""

    argv: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.argv:
            raise InputError("a command for the presence of a board needs a program")

    def sees(self, keep_going: Callable[[], None]) -> bool:
        """Return whether a board is in place. Raise StationError if the program does not tell."""
        return _yes("presence", self.argv, "a board is in place, with 1 if none is", keep_going)


@dataclass(frozen=True)
class ClosedByCommand:
    """A program of the fixture: it exits with 0 if the fixture is closed and its board may start, with 1 if not."""

    argv: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.argv:
            raise InputError("a command for the start of a board needs a program")

    def closed(self, keep_going: Callable[[], None]) -> bool:
        """Return whether the fixture is closed. Raise StationError if the program does not tell."""
        return _yes("start", self.argv, "the fixture is closed, with 1 if it is open", keep_going)


def _yes(name: str, argv: tuple[str, ...], means: str, keep_going: Callable[[], None]) -> bool:
    """Return what the fixture's command *name* answers: 0 *means* yes. Raise StationError for any other code than 1."""
    try:
        done = run_program(argv, _COMMAND_SECONDS, keep_going)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise StationError(f"the {name} command failed: {error}", where=argv[0], cause="fixture") from error
    if done.code not in (_YES, _NO):
        reason = f": {done.last_line}" if done.last_line else ""
        raise StationError(
            f"the {name} command exited with {done.code}{reason}",
            where=argv[0],
            hint=f"it must exit with 0 if {means}",
            cause="fixture",
        )
    return done.code == _YES


@dataclass(frozen=True)
class ByProbe:
    """Nothing can tell: the line listens, asks the console for its prompt, and at last asks the loader for the MAC."""


Presence = ByUsb | ByModemLine | ByCommand | ByProbe


def port_is_there(address: str) -> bool:
    """Return whether *address* is a port now; True for one on the network, which only an attempt shows."""
    return "://" in address or Path(address).exists() or not absent_ports((address,))
