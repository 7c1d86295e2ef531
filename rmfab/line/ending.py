"""How a step ends: the next stage if it passes, or else whose fault it was.

A step passes, or its exception determines whose fault it was: `UnitFault`, `BoardRefused` and `BoardConflict` the
unit's (FAIL), any other expected error the station's (ERROR), even a damaged ledger or an altered release, `Aborted`
the operator's. `Seen` is no fault: a finished unit came back. An unexpected exception is a bug and also ends as ERROR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from rmfab.board.esp.facts import BoardRefused
from rmfab.errors import BoardConflict, RmfabError, StationError, UnitFault
from rmfab.ledger.events import Outcome

S_co = TypeVar("S_co", covariant=True)


class Aborted(Exception):
    """The operator stopped the line; raised while a step waits, and caught by the slot's worker."""


class Seen(Exception):
    """The unit is finished, and nothing is to be done to it; the text is the reason."""


class Skipped(Exception):
    """The step does not apply here; the text is the reason."""


class NoLabel(StationError):
    """The unit has no label, or it is in doubt whether it has one, because of the station's printer."""

    cause = "label-missing"


@dataclass(frozen=True)
class Marginal:
    """The cause and reason of a step that passed narrowly."""

    cause: str
    reason: str


@dataclass(frozen=True)
class Passed(Generic[S_co]):
    """The result of a step that passed: the *stage* that the next step starts from, and its *measurements*.

    *skipped* is why the step proved nothing here, if so.
    """

    stage: S_co
    measurements: Mapping[str, Any] = field(default_factory=dict)
    marginal: Marginal | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class Ending:
    """How a step ended: its outcome, the cause and reason if it did not pass, and the error behind them."""

    outcome: Outcome
    cause: str | None = None
    reason: str | None = None
    measurements: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def good(self) -> bool:
        """Whether the next step may follow."""
        return self.outcome in (Outcome.PASS, Outcome.MARGINAL, Outcome.SKIP)


def ending_of(passed: Passed[object]) -> Ending:
    """Return the ending of a step that passed."""
    if passed.marginal is not None:
        return Ending(Outcome.MARGINAL, passed.marginal.cause, passed.marginal.reason, passed.measurements)
    if passed.skipped is not None:
        return Ending(Outcome.SKIP, None, passed.skipped, passed.measurements)
    return Ending(Outcome.PASS, measurements=passed.measurements)


def judge_error(error: Exception) -> Ending:
    """Return the ending that *error* causes. Pure."""
    if isinstance(error, Aborted):
        return Ending(Outcome.ABORTED, "aborted", "stopped by the operator", error=error)
    if isinstance(error, Skipped):
        return Ending(Outcome.SKIP, None, str(error))
    if isinstance(error, Seen):
        return Ending(Outcome.SEEN, None, str(error))
    if isinstance(error, RmfabError):
        unit_is_bad = isinstance(error, (UnitFault, BoardRefused, BoardConflict))
        reason = f"{error.what}; {error.hint}" if error.hint else error.what
        return Ending(Outcome.FAIL if unit_is_bad else Outcome.ERROR, error.cause, reason, error=error)
    return Ending(Outcome.ERROR, "bug", f"a bug in rmfab: {type(error).__name__}", error=error)
