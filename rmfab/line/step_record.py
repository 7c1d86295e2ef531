"""Records of a finished step and of a unit's verdict: one value each, for the ledger and for the event stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import RmfabError
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.states import State
from rmfab.line.ending import Ending
from rmfab.line.events import LabelState, Origin, Step, StepEnded, UnitEnded


@dataclass(frozen=True)
class StepRecord:
    """A finished step. *state* is the unit's new state, None if it does not change."""

    origin: Origin
    step: Step
    ending: Ending
    seconds: float
    state: State | None = None

    def for_ledger(self) -> Event:
        """Return the event of the ledger."""
        return Event(
            self.origin.ts,
            EventKind.STEP,
            serial=self.origin.serial,
            mac=self.origin.mac,
            slot=self.origin.slot,
            step=self.step.value,
            outcome=self.ending.outcome,
            state=self.state,
            cause=self.ending.cause,
            reason=self.ending.reason,
            seconds=self.seconds,
            details=dict(self.ending.measurements),
        )

    def for_stream(self) -> StepEnded:
        """Return the event of the line."""
        ending = self.ending
        return StepEnded(
            *self.origin,
            self.step,
            ending.outcome,
            ending.cause,
            ending.reason,
            self.seconds,
            ending.measurements,
            self.state,
        )


@dataclass(frozen=True)
class UnitRecord:
    """A unit's verdict: the first ending that was not good, or PASS.

    *label*: what is known of its label, None if the run did not come to it. *log* is the whole path of its console's
    file. The ledger records it relative to *root*, the workspace, which may move; a file elsewhere keeps its whole
    path.
    """

    origin: Origin
    ending: Ending
    seconds: float
    log: str | None = None
    root: Path | None = None
    label: LabelState | None = None

    def for_ledger(self) -> Event:
        """Return the event of the ledger."""
        return Event(
            self.origin.ts,
            EventKind.UNIT,
            serial=self.origin.serial,
            mac=self.origin.mac,
            slot=self.origin.slot,
            outcome=self.ending.outcome,
            cause=self.ending.cause,
            reason=self.ending.reason,
            seconds=self.seconds,
            details={"log": self._recorded(Path(self.log))} if self.log else {},
        )

    def _recorded(self, log: Path) -> str:
        if self.root is None or not log.is_relative_to(self.root):
            return str(log)
        return log.relative_to(self.root).as_posix()

    def for_stream(self) -> UnitEnded:
        """Return the event of the line."""
        ending = self.ending
        error = ending.error if isinstance(ending.error, RmfabError) else None
        return UnitEnded(
            *self.origin, ending.outcome, ending.cause, ending.reason, self.seconds, self.log, error, self.label
        )
