"""A clock that advances only on request: boards run inside a test's process, without waiting and deterministically."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class _Call:
    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        """Cancel the call."""
        self.cancelled = True


class ManualTimeline:
    """A `Timeline` for `Board`; `run` advances the time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, _Call]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return the seconds since the start."""
        return self._now

    def call_at(self, when: float, callback: Callable[..., object], *args: object) -> _Call:
        """Call *callback* at *when*."""
        call = _Call(callback, args)
        heapq.heappush(self._calls, (when, next(self._numbers), call))
        return call

    def run(self, seconds: float) -> None:
        """Advance the time by *seconds* and run the calls that are due."""
        end = self._now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _, call = heapq.heappop(self._calls)
            self._now = max(self._now, when)
            if not call.cancelled:
                call.callback(*call.args)
        self._now = end
