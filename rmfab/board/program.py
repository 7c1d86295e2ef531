"""Programs of the station, such as a fixture's or NetworkManager's: run to their end, or killed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rmfab.signals import SLICE_SECONDS


@dataclass(frozen=True)
class Finished:
    """The exit *code* of a program and what it printed."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str | None:
        """The last line of the errors, or else of the output."""
        said = (self.errors or self.output).strip().splitlines()
        return said[-1] if said else None


def run_program(argv: Sequence[str], seconds: float, keep_going: Callable[[], None]) -> Finished:
    """Run *argv* without a shell. Kill it after *seconds* (subprocess.TimeoutExpired), or if *keep_going* raises.

    Raise OSError if it cannot be started.
    """
    ending = time.monotonic() + seconds
    pipe = subprocess.PIPE
    with subprocess.Popen(list(argv), stdout=pipe, stderr=pipe, text=True, errors="replace") as process:
        try:
            while True:
                keep_going()
                left = max(0.0, ending - time.monotonic())
                try:
                    output, errors = process.communicate(timeout=min(SLICE_SECONDS, left))
                except subprocess.TimeoutExpired:
                    if time.monotonic() >= ending:
                        raise subprocess.TimeoutExpired(list(argv), seconds) from None
                else:
                    return Finished(process.returncode, output, errors)
        except BaseException:
            process.kill()
            raise
