"""Yield, defined once: everything that shows a yield takes it from here. Pure.

Units count, not runs. The first pass of a unit is the first run that decided about it; the final verdict is the last.
A run decides if it ended with FAIL, or if it passed and verified the unit. What only flashed a unit decides nothing,
unless nobody verifies it: then the flashing was all there was. ERROR and ABORTED are the station's and the operator's,
never the unit's: such a run is no attempt.

    first-pass yield = units that passed at first / units with a first pass
    final yield      = units that passed at last / units with a first pass
    rolled yield     = the product over all steps of (units that passed the step at first / units that entered it)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Protocol, TypeVar

from rmfab.ledger.events import Outcome

PASSED = frozenset({Outcome.PASS, Outcome.MARGINAL})
DECIDED = PASSED | {Outcome.FAIL}
LEAST_BOARDS = 20
"""A slot with fewer boards is never compared with the others."""
_Z = 1.959963984540054
"""The quantile of the normal distribution for an interval of 95 %."""


class RunVerdict(Protocol):
    """A run of a unit, as far as its yield depends on it."""

    @property
    def outcome(self) -> Outcome:
        """The verdict of the run."""

    @property
    def verified(self) -> bool:
        """Whether the run proved the unit, and did not only flash it."""


V = TypeVar("V", bound=RunVerdict)


def deciding(runs: Sequence[V]) -> Sequence[V]:
    """Return those of the *runs* of one unit that decide about it; the first is its first pass."""
    decided = [run for run in runs if run.outcome in DECIDED and (run.verified or run.outcome is Outcome.FAIL)]
    return decided or [run for run in runs if run.outcome in DECIDED]


@dataclass(frozen=True)
class Ratio:
    """A yield: *passed* of *whole*."""

    passed: int
    whole: int

    @property
    def value(self) -> float | None:
        """The yield, 0 to 1; None without anything to count."""
        return self.passed / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval that contains the true yield with 95 %, by Wilson (JASA 22, 1927); None as `value`."""
        if not self.whole:
            return None
        p, n, z2 = self.passed / self.whole, self.whole, _Z**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def below(self, others: Ratio) -> bool:
        """Return whether this yield of a slot is worse than that of the *others* together, and not by chance."""
        interval, pooled = self.interval, others.value
        return self.whole >= LEAST_BOARDS and interval is not None and pooled is not None and interval[1] < pooled


@dataclass
class Tally:
    """A count of units by whether they passed."""

    passed: int = 0
    failed: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a unit; one without a verdict of its own does not count."""
        if outcome in PASSED:
            self.passed += 1
        elif outcome is Outcome.FAIL:
            self.failed += 1

    @property
    def ratio(self) -> Ratio:
        """The yield."""
        return Ratio(self.passed, self.passed + self.failed)


def together(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of *tallies*."""
    every = list(tallies)
    return Tally(sum(one.passed for one in every), sum(one.failed for one in every))


def rolled(steps: Iterable[Ratio]) -> float | None:
    """Return the rolled yield over the first tries of *steps*; None without any."""
    values = [step.value for step in steps if step.value is not None]
    return prod(values) if values else None
