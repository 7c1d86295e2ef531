"""The runs of a unit: what happened at a slot from the first step to the verdict, from the events of its history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rmfab.ledger.events import EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.report.yields import PASSED

if TYPE_CHECKING:
    from rmfab.ledger.histories import PastEvent

_FIRST_STEP = "detect"


class RunEnd(Protocol):
    """How a run or a step ended: an event of the ledger, or of a line that runs."""

    @property
    def outcome(self) -> str | None:
        """PASS, FAIL …"""

    @property
    def cause(self) -> str | None:
        """Why it did not pass."""


class RunStep(RunEnd, Protocol):
    """A step of a run."""

    @property
    def step(self) -> str | None:
        """Its name."""

    @property
    def state(self) -> str | None:
        """The state that it brought the unit into, None if that did not change."""


def verifies(steps: Iterable[RunStep]) -> bool:
    """Return whether the *steps* of a run brought the unit into the state verified."""
    return any(step.state == State.VERIFIED for step in steps)


def decisive(end: RunEnd, steps: Iterable[RunStep]) -> str | None:
    """Return the step that decided the verdict *end*, None if all passed."""
    if end.outcome in PASSED:
        return None
    bad = [step.step for step in steps if step.outcome == end.outcome and step.cause == end.cause]
    return bad[-1] if bad else None


@dataclass(frozen=True)
class UnitRun:
    """A run that ended with the verdict *end*, after *steps*, all tries of each."""

    end: PastEvent
    steps: tuple[PastEvent, ...]

    @property
    def outcome(self) -> Outcome:
        """The verdict."""
        return Outcome(self.end.outcome or Outcome.ERROR)

    @property
    def verified(self) -> bool:
        """Whether the run brought the unit into the state verified."""
        return verifies(self.steps)

    @property
    def marginal(self) -> bool:
        """Whether a step passed narrowly."""
        return self.end.outcome == Outcome.MARGINAL or any(step.outcome == Outcome.MARGINAL for step in self.steps)

    @property
    def failed_step(self) -> str | None:
        """The step that decided the verdict, None if all passed."""
        return decisive(self.end, self.steps)


def runs_of(events: Iterable[PastEvent]) -> Iterator[UnitRun]:
    """Yield the runs in the *events* of one unit, in order. A run without a verdict was killed, and is left out.

    A finished unit that came back, and to which nothing was done, had no run.
    """
    steps: list[PastEvent] = []
    for event in events:
        if event.kind == EventKind.STEP:
            if event.step == _FIRST_STEP and any(step.step != _FIRST_STEP for step in steps):
                steps.clear()  # those of a run that was killed
            steps.append(event)
        elif event.kind == EventKind.UNIT:
            if event.outcome != Outcome.SEEN:
                yield UnitRun(event, tuple(steps))
            steps.clear()
