"""A clock that moves only when it is told to: boards in a test's own process, in no time and always the same."""

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
        """Calls it off."""
        self.cancelled = True


class ManualTimeline:
    """A `Timeline` for `Board`: `run` lets time pass."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, _Call]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def call_at(self, when: float, callback: Callable[..., object], *args: object) -> _Call:
        """Calls *callback* at *when*."""
        call = _Call(callback, args)
        heapq.heappush(self._calls, (when, next(self._numbers), call))
        return call

    def run(self, seconds: float) -> None:
        """Lets *seconds* pass and does what falls due."""
        end = self._now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _, call = heapq.heappop(self._calls)
            self._now = max(self._now, when)
            if not call.cancelled:
                call.callback(*call.args)
        self._now = end
