"""First passes, counted: the yield of all and by slot, and why units failed, the most frequent cause first. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from rmfab.ledger.events import Outcome
from rmfab.report.yields import Ratio, Tally, together

S = TypeVar("S", bound=Hashable)


class CauseShare(NamedTuple):
    """How many *units* failed in *step* because of *cause*: a *share* of all that failed, 0 to 1.

    *cumulative* is the share of these units and of those with more frequent causes.
    """

    step: str
    cause: str
    units: int
    share: float
    cumulative: float


@dataclass
class FirstPasses(Generic[S]):
    """First passes by *slots*, and the *causes* of those that failed, by step and cause."""

    every: Tally = field(default_factory=Tally)
    slots: dict[S, Tally] = field(default_factory=lambda: defaultdict(Tally))
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, slot: S, outcome: Outcome, step: str | None, cause: str | None) -> None:
        """Count a unit whose first pass was on *slot*; *step* and *cause* say why it failed."""
        self.every.add(outcome)
        self.slots[slot].add(outcome)
        if outcome is Outcome.FAIL:
            self.causes[step or "", cause or ""] += 1

    @property
    def ratio(self) -> Ratio:
        """The first-pass yield."""
        return self.every.ratio

    def others(self, slot: S) -> Ratio:
        """Return the yield of all slots but *slot*, together."""
        return together(tally for name, tally in self.slots.items() if name != slot).ratio

    def pareto(self) -> tuple[CauseShare, ...]:
        """Return why units failed, the most frequent cause first."""
        whole, seen, rows = self.causes.total(), 0, []
        for (step, cause), units in sorted(self.causes.items(), key=lambda one: (-one[1], one[0])):
            seen += units
            rows.append(CauseShare(step, cause, units, units / whole, seen / whole))
        return tuple(rows)
