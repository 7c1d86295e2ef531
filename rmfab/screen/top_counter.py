"""The numbers of the top line: counted again when a verdict has come, a second has passed, or a shift or day begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rmfab.report.period import Recently
from rmfab.screen.draw_bars import TopNumbers
from rmfab.screen.wall import Wall

_TO_SECONDS = 19
"""The letters of a ledger time up to its seconds."""


class TopCounter:
    """The counter of *wall*; *today* returns since when hour, shift and day count now."""

    def __init__(self, wall: Wall, today: Callable[[], Recently]) -> None:
        self._wall = wall
        self._today = today
        self.since = today()
        self._counted: tuple[object, TopNumbers] | None = None

    def count(self, left: int | None) -> TopNumbers:
        """Return the numbers, with how many identities are *left*."""
        tally, since = self._wall.tally, self._today()
        if (since.day, since.shift) != (self.since.day, self.since.shift):
            tally.forget(since.longest)
        self.since = since
        state = (tally.version, self._wall.remembers, since.day, since.shift, since.hour[:_TO_SECONDS])
        if self._counted is None or self._counted[0] != state:
            self._counted = (state, self._numbers(since))
        return replace(self._counted[1], left=left)

    def _numbers(self, since: Recently) -> TopNumbers:
        tally = self._wall.tally
        hour, shift = tally.first_pass(since.hour), tally.first_pass(since.shift)
        return TopNumbers(tally.verdicts(since.day), hour, shift, remembers=self._wall.remembers)
