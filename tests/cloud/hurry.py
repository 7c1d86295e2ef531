"""A clock for limits that must expire: it hurries once what comes has come, which has its whole time until then."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from rmfab.cloud.witness import Witness

_TIMES = 100


class Hurry:
    """The `time` of a module: from the moment at which *begun* is set, it runs a hundred times as fast."""

    def __init__(self, begun: threading.Event) -> None:
        self._begun = begun
        self._since: float | None = None

    def monotonic(self) -> float:
        """Return the time."""
        real = time.monotonic()
        if self._since is None and self._begun.is_set():
            self._since = real
        return real if self._since is None else self._since + _TIMES * (real - self._since)


def hurry_once_published(patch: pytest.MonkeyPatch) -> None:
    """Hurry the clock of witnesses once the broker has acknowledged what one published, and will not deliver it."""
    acknowledged, publish = threading.Event(), Witness.publish

    def published(*arguments: Any) -> None:
        publish(*arguments)
        acknowledged.set()

    patch.setattr("rmfab.cloud.witness.Witness.publish", published)
    patch.setattr("rmfab.cloud.witness.time", Hurry(acknowledged))
