"""mosquitto as a test broker: find it, start it, wait until it listens, stop it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from rmfab.cloud.broker_files import BrokerFolder, BrokerSettings
from rmfab.errors import StationError, cannot_listen, one_line

_BESIDE_PATH = "/usr/sbin"
"""Where Debian's package has it: that is not in the PATH of all users."""
_START_SECONDS = 15.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_RUNS = " running\n"
"""The end of the line that mosquitto logs once it listens. A connection proves less: a different server may listen."""


def find_mosquitto() -> str:
    """Return the path of the program. Raise StationError (cause `no-mosquitto`)."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_BESIDE_PATH)
    if found is None:
        raise StationError(
            "mosquitto is not installed",
            hint="run `sudo apt install mosquitto`; Debian also starts it: `sudo systemctl disable --now mosquitto`",
            cause="no-mosquitto",
        )
    return found


class Mosquitto:
    """A broker that runs with the configuration in *folder* until the block ends.

    On Linux it also ends with the thread that started it, even if that is killed.
    """

    def __init__(self, program: str, folder: BrokerFolder, settings: BrokerSettings) -> None:
        self._program = program
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it; return once it listens. Raise StationError if it does not."""
        with self._folder.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_mortal(), self._program, "-c", str(self._folder.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # ^C is for rmfab, which then stops it
            )
        try:
            self._await_start(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def wait(self, keep_going: Callable[[], bool]) -> None:
        """Return when *keep_going* returns False. Raise StationError if the broker ends before."""
        while keep_going():
            if self._process is None or self._process.poll() is not None:
                raise self._ended()
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        ending = time.monotonic() + _START_SECONDS
        while _RUNS not in self._folder.log.read_text("utf-8", "replace"):
            if process.poll() is not None:
                raise self._ended()
            if time.monotonic() > ending:
                raise StationError("mosquitto does not start", where=str(self._folder.log), cause="broker-start")
            time.sleep(_LOOK_SECONDS)

    def _ended(self) -> StationError:
        """Return the error of a broker that ended by itself, with its own last words."""
        said = _first_error(self._folder.log)
        if "Address already in use" in said or "Cannot assign requested address" in said:
            return cannot_listen(
                self._settings.address, self._settings.port, "the address is in use, or not this host's"
            )
        return StationError(f"mosquitto ended: {said}", where=str(self._folder.log), cause="broker-start")


def _mortal() -> tuple[str, ...]:
    """Return the command before a command that then ends with the thread that starts it: prctl(2), PR_SET_PDEATHSIG."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM") if setpriv else ()


def reachable(address: str) -> str:
    """Return an address of this host at which a server that is bound to *address* is reached."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared with, not bound to


def _first_error(log: Path) -> str:
    """Return the first error in *log*, else its last line."""
    lines = [line.partition(": ")[2] or line for line in log.read_text("utf-8", "replace").splitlines()]
    errors = [line for line in lines if line.startswith("Error")]
    return one_line([*errors, *reversed(lines), "it printed nothing"][0])
