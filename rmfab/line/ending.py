"""How a step ends: what it hands on when it passes, and who is to blame when it does not.

A step passes, or its exception says who is to blame: `UnitFault` and `BoardRefused` the unit (FAIL), every other
expected error the station (ERROR), `Aborted` the operator. What is unexpected is a bug and ends as ERROR as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from rmfab.board.esp.facts import BoardRefused
from rmfab.errors import IntegrityError, RmfabError, UnitFault
from rmfab.ledger.events import Outcome

S_co = TypeVar("S_co", covariant=True)


class Aborted(Exception):
    """The operator stops the line; raised where a step waits, and caught at the slot."""


class Skipped(Exception):
    """The step has nothing to do here; the text says why."""


@dataclass(frozen=True)
class Marginal:
    """Why a step passed only just: the cause and the reason."""

    cause: str
    reason: str


@dataclass(frozen=True)
class Passed(Generic[S_co]):
    """What a step returns that passed: the *stage* that the next one starts from, and its *measurements*."""

    stage: S_co
    measurements: Mapping[str, Any] = field(default_factory=dict)
    marginal: Marginal | None = None


@dataclass(frozen=True)
class Ending:
    """How a step ended: its outcome, the cause and reason where it did not pass, and the error behind them."""

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
    """The ending of a step that passed."""
    if passed.marginal is not None:
        return Ending(Outcome.MARGINAL, passed.marginal.cause, passed.marginal.reason, passed.measurements)
    return Ending(Outcome.PASS, measurements=passed.measurements)


def judge_error(error: Exception) -> Ending:
    """Who is to blame for *error*. Pure."""
    if isinstance(error, Aborted):
        return Ending(Outcome.ABORTED, "aborted", "stopped by the operator", error=error)
    if isinstance(error, Skipped):
        return Ending(Outcome.SKIP, None, str(error))
    if isinstance(error, RmfabError):
        unit_is_bad = isinstance(error, (UnitFault, BoardRefused, IntegrityError))
        reason = f"{error.what}; {error.hint}" if error.hint else error.what
        return Ending(Outcome.FAIL if unit_is_bad else Outcome.ERROR, error.cause, reason, error=error)
    return Ending(Outcome.ERROR, "bug", f"a bug in rmfab: {type(error).__name__}", error=error)
