"""How a board is restarted: by DTR and RTS, by a fixture's command, or by somebody else.

Restart means pulling EN. The factory reset is another thing and is called reset.
"""

from __future__ import annotations

import errno
import subprocess
import time
from dataclasses import dataclass
from typing import Literal

from rmfab.board.port import SerialPort
from rmfab.errors import InputError, PortError, StationError

Mode = Literal["download", "run"]

_HOLD_SECONDS = 0.1
_COMMAND_SECONDS = 30.0


@dataclass(frozen=True)
class Auto:
    """EN and IO0 hang on RTS and DTR, as on every development board, or on the chip's own USB."""


@dataclass(frozen=True)
class Unwired:
    """Nobody here can restart the board: it waits in its loader, or somebody else restarts it."""


@dataclass(frozen=True)
class FixtureCommand:
    """A program of the fixture; `{mode}` in an argument becomes `download` or `run`."""

    argv: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.argv or not any("{mode}" in word for word in self.argv):
            raise InputError(
                "a fixture's restart command needs {mode} in an argument",
                hint='restart = ["fixture", "--slot", "1", "{mode}"]',
            )

    def run(self, mode: Mode) -> None:
        """Runs the program. Raises StationError where it fails, with what it said."""
        argv = [word.replace("{mode}", mode) for word in self.argv]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=_COMMAND_SECONDS, check=False, text=True)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StationError(f"the restart command failed: {error}", where=argv[0], cause="fixture") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            reason = f": {said[-1]}" if said else ""
            raise StationError(
                f"the restart command ended with {done.returncode}{reason}", where=argv[0], cause="fixture"
            )


Restart = Auto | Unwired | FixtureCommand


def restart_into_run(port: SerialPort, restart: Restart) -> None:
    """Restarts the board into its firmware, with nothing of before left in the input. Not for `Unwired`.

    Raises PortError for a port without reset lines (a pseudo-terminal), StationError where a fixture's command fails.
    """
    match restart:
        case FixtureCommand():
            port.reset_input_buffer()
            restart.run("run")
        case Auto():
            try:
                _pulse(port)
            except OSError as error:
                if error.errno not in (errno.ENOTTY, errno.EINVAL):
                    raise
                raise PortError(
                    "this port has no reset lines",
                    where=port.port,
                    hint='a slot in station.toml with restart = "none", or with a fixture\'s command',
                    cause="no-reset-lines",
                ) from error
        case Unwired():
            raise ValueError("an unwired board cannot be restarted from here")


def _pulse(port: SerialPort) -> None:
    """Pulls EN for a moment with the boot pin released."""
    for asserted in (True, False):
        port.rts = asserted
        port.dtr = False  # Windows' driver for USB serial passes RTS on only when DTR is written
        if asserted:
            time.sleep(_HOLD_SECONDS)
            port.reset_input_buffer()
