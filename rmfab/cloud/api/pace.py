"""How often a request is tried, and how long it waits in between: exponential back-off, or what the server asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rmfab.cloud.api.trouble import PassingTrouble
from rmfab.errors import StationError

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """At most *tries* of a request, *first* seconds after the first, then twice as long, up to *longest*.

    *told* hears of each trouble, and for how many seconds it waits then.
    """

    wait: Callable[[float], None] = time.sleep
    tries: int = 6
    first: float = 1.0
    longest: float = 30.0
    told: Callable[[StationError, float], None] = lambda _trouble, _seconds: None

    def tried(self, request: Callable[[], T]) -> T:
        """Return what *request* returns, trying it again while its trouble may pass. Raise that of the last try."""
        for done in range(self.tries - 1):
            try:
                return request()
            except PassingTrouble as trouble:
                seconds = max(min(self.first * 2**done, self.longest), trouble.after or 0.0)
                self.told(trouble, seconds)
                self.wait(seconds)
        return request()
