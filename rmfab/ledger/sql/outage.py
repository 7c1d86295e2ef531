"""How long to wait for a server that is away, and whom to tell.

A command gives up when its patience ends. A line waits for as long as it runs: its units wait with the identities that
they have, and the operator is told once that the ledger is away, and once that it is back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rmfab.errors import LedgerError, RmfabError

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_SLICE = 0.2  # seconds between two looks at whether anybody still waits
_PATIENCE = 5.0  # seconds in which lost connections are replaced before the operator hears of them


class Away(LedgerError):
    """The server cannot be reached, or the connection was lost before COMMIT was sent: nothing was written."""


class Unsettled(LedgerError):
    """Whether a transaction was written is not known: its work must not run again by itself."""


def _ignore(_: RmfabError) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Watcher:
    """Who waits for a server that is away: *waits* returns whether still, *tell* gets what the operator should read.

    *grace*: how long one attempt waits at most, in seconds; None for as long as *waits*. *refuse* gets an error that
    is found in the background and ends the work.
    """

    waits: Callable[[], bool]
    tell: Callable[[str], None]
    grace: float | None = None
    refuse: Callable[[RmfabError], None] = _ignore


class Outage:
    """The present outage of one server, if there is one; usable from every thread."""

    def __init__(self) -> None:
        self._watcher: Watcher | None = None
        self._changing = threading.Lock()
        self._away = False

    @contextmanager
    def watched(self, watcher: Watcher | None) -> Iterator[None]:
        """Wait for the server until *watcher* no longer does, while the block runs."""
        self._watcher = watcher
        try:
            yield
        finally:
            self._watcher = None

    def attempts(self, deadline: float) -> Attempts:
        """Return attempts that go on until *deadline* (monotonic), or for as long as somebody watches."""
        grace = None if self._watcher is None else self._watcher.grace
        return Attempts(self, deadline if grace is None else time.monotonic() + grace)

    def goes_on(self, deadline: float) -> bool:
        """Return whether to try again."""
        watcher = self._watcher
        in_time = time.monotonic() < deadline
        if watcher is None:
            return in_time
        return watcher.waits() and (watcher.grace is None or in_time)

    def note_away(self, why: str) -> None:
        """Tell whoever watches that the server is away, once."""
        if self._changed(away=True):
            self._tell(f"{why}; units wait until it is back, and nothing is lost: do not take them out")

    def note_back(self) -> None:
        """Tell whoever watches that the server is back, once."""
        if self._changed(away=False):
            self._tell("the ledger's server is back")

    def _changed(self, *, away: bool) -> bool:
        with self._changing:
            before, self._away = self._away, away
        return before != away

    def _tell(self, text: str) -> None:
        if self._watcher is not None:
            self._watcher.tell(text)


class Attempts:
    """Attempts at one thing, with longer and longer pauses between them."""

    def __init__(self, outage: Outage, deadline: float) -> None:
        self._outage = outage
        self._deadline = deadline
        self._began = time.monotonic()
        self._pause = _FIRST_PAUSE

    def pause(self, error: RmfabError, *, lost: bool) -> None:
        """Wait until the next attempt; raise *error* if there is none.

        *lost*: it was a connection that failed, not the attempt to make one. The server is not away for that: it may
        have ended just this one, and after an outage, all from before it are lost.
        """
        if not lost or time.monotonic() - self._began >= _PATIENCE:
            self._outage.note_away(error.what)
        end = time.monotonic() + self._pause * random.uniform(0.5, 1)  # noqa: S311 - stations must not come at once
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        while (left := end - time.monotonic()) > 0:
            if not self._outage.goes_on(self._deadline):
                raise error
            time.sleep(min(left, _SLICE))
        if not self._outage.goes_on(self._deadline):
            raise error
