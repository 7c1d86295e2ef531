"""How long a conversation with a unit may take in all, and whether the operator still wants it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rmfab.errors import UnitFault
from rmfab.signals import SLICE_SECONDS


class Overdue(UnitFault):
    """The unit answered each request in time, but the whole conversation took too long."""

    cause = "provision-timeout"


class Patience:
    """The time for one conversation: *seconds* in all, or None without a limit.

    *keep_going* is called at least twice per second while a unit is waited for, and raises to give up; *given_up* is
    then set.
    """

    def __init__(self, seconds: float | None = None, keep_going: Callable[[], None] = lambda: None) -> None:
        self._seconds = seconds
        self._keep_going = keep_going
        self._ending = None if seconds is None else time.monotonic() + seconds
        self.given_up = False

    def keep_going(self) -> None:
        """Raise what the operator's wish to stop raises."""
        try:
            self._keep_going()
        except BaseException:
            self.given_up = True
            raise

    def check(self) -> None:
        """Raise Overdue if the time is used up, or what `keep_going` raises."""
        self.keep_going()
        if self._ending is not None and time.monotonic() >= self._ending:
            raise Overdue(
                f"the unit took more than {self._seconds:g} s for all its answers",
                hint="raise provision_timeout in [verify] if its firmware is only slow",
            )

    def slice(self, ending: float) -> float:
        """Return how long to wait next for an answer that is due at *ending* (of time.monotonic), in seconds.

        Raise TimeoutError at *ending*, and what `check` raises.
        """
        self.check()
        left = self.cut(ending - time.monotonic())
        if left <= 0:
            raise TimeoutError
        return min(left, SLICE_SECONDS)

    def cut(self, seconds: float) -> float:
        """Return *seconds*, or less if less is left in all; 0 or less if nothing is left."""
        return seconds if self._ending is None else min(seconds, self._ending - time.monotonic())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock within the block: the unit is not to blame for its time."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self._ending is not None:
                self._ending += time.monotonic() - began
