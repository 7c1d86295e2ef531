"""Ways to restart a board: by DTR and RTS, by a fixture's command, or by hand.

A restart pulls EN. "Reset" means the factory reset only.
"""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rmfab.board.port import SerialPort
from rmfab.board.program import run_program
from rmfab.errors import InputError, PortError, StationError

Mode = Literal["download", "run"]

_HOLD_SECONDS = 0.05  # a transistor discharges the largest usual capacitor at EN, 10 uF, in about 2 ms
_COMMAND_SECONDS = 30.0


@dataclass(frozen=True)
class Auto:
    """RTS drives EN and DTR drives IO0, as on every development board, or the chip has native USB."""


@dataclass(frozen=True)
class Unwired:
    """The station cannot restart the board: it waits in its loader, or the operator restarts it."""


@dataclass(frozen=True)
class FixtureCommand:
    """A program of the fixture; `{mode}` in an argument becomes `download` or `run`."""

    argv: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.argv or not any("{mode}" in word for word in self.argv):
            raise InputError(
                "missing {mode} in the arguments of the fixture's restart command",
                hint='for example: restart = ["fixture", "--slot", "1", "{mode}"]',
            )

    def run(self, mode: Mode, keep_going: Callable[[], None] = lambda: None) -> None:
        """Run the program. Raise StationError with its last line of output if it fails.

        *keep_going* is called meanwhile, and raises to kill it.
        """
        argv = [word.replace("{mode}", mode) for word in self.argv]
        try:
            done = run_program(argv, _COMMAND_SECONDS, keep_going)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StationError(f"the restart command failed: {error}", where=argv[0], cause="fixture") from error
        if done.code:
            reason = f": {done.last_line}" if done.last_line else ""
            raise StationError(f"the restart command exited with {done.code}{reason}", where=argv[0], cause="fixture")


Restart = Auto | Unwired | FixtureCommand


def restart_into_run(port: SerialPort, restart: Restart, keep_going: Callable[[], None] = lambda: None) -> None:
    """Restart the board into its firmware and discard earlier input. Not for `Unwired`.

    Raise PortError if the port has no reset lines (a pseudo-terminal), StationError if a fixture's command fails.
    """
    match restart:
        case FixtureCommand():
            port.reset_input_buffer()
            restart.run("run", keep_going)
        case Auto():
            try:
                _pulse(port)
            except OSError as error:
                if error.errno not in (errno.ENOTTY, errno.EINVAL):
                    raise
                raise PortError(
                    "the port has no reset lines",
                    where=port.port,
                    hint='add a slot to station.toml with restart = "none" or a fixture\'s command',
                    cause="no-reset-lines",
                ) from error
        case Unwired():
            raise ValueError("an unwired board cannot be restarted")


def _pulse(port: SerialPort) -> None:
    """Pull EN for 50 ms with the boot pin released."""
    for asserted in (True, False):
        port.rts = asserted
        port.dtr = False  # Windows' driver for USB serial applies RTS only when DTR is written
        if asserted:
            time.sleep(_HOLD_SECONDS)
            port.reset_input_buffer()
