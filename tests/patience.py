"""How tests wait: for a condition, with one limit that matters only if something is broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

PATIENCE = 120.0
"""Seconds until something that does not come is a failure."""
_LOOK_SECONDS = 0.01
_TICK_SECONDS = 0.02


def until(true: Callable[[], object], what: str = "it did not happen") -> None:
    """Wait until *true* returns a true value. Fail with *what* after PATIENCE."""
    ending = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ending, what
        time.sleep(_LOOK_SECONDS)


def give_boards_their_turn(patch: pytest.MonkeyPatch) -> None:
    """Give a board that answers enough time for it on a busy machine, so that only its rate can be at fault."""
    patch.setattr("rmfab.board.esp.line_speed._REPLY_SECONDS", 2.0)
    patch.setattr("rmfab.board.rfc2217._ANSWER_SECONDS", PATIENCE)
    patch.setattr("esptool.loader.SYNC_TIMEOUT", 0.5)


class Metronome:
    """A clock that stands still while the machine does not run this process.

    It counts the ticks that a thread manages to make. A process that is stopped or has no turn makes none, so that
    "soon" means the same on a busy machine.
    """

    def __enter__(self) -> Self:
        self._ticks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def time(self) -> float:
        """Return the seconds for which this process could run; never more than passed."""
        return self._ticks * _TICK_SECONDS

    def _run(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            self._ticks += 1
