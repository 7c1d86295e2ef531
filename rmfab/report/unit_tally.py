"""Units as their verdicts come, from the ledger and a line that runs: the numbers of a day, a shift, an hour. Pure.

It is told of each verdict once, in any order, and answers for any time since which all verdicts are known. Only
`yields` defines what a first pass is.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple, Self

from rmfab.ledger.events import Outcome
from rmfab.line.events import LineEvent, StepEnded, UnitEnded
from rmfab.report.first_passes import FirstPasses
from rmfab.report.runs import UnitRun, decisive, verifies
from rmfab.report.yields import DECIDED, Ratio, deciding

LAST = 50
"""How many of the last verdicts are kept."""
_TIME = attrgetter("ts")


def percent(ratio: Ratio) -> str:
    """Return a yield such as `91.3 %`; `-` without a unit."""
    return "-" if ratio.value is None else f"{100 * ratio.value:.1f} %"


class UnitVerdict(NamedTuple):
    """A run that ended: of *unit*, its serial or MAC, empty for a board that was not recognized.

    *verified*: it proved the unit. *step*: the one that decided, None if all passed. *elsewhere*: at another station.
    *bound*: the board has an identity; one without is no unit, and so no first pass.
    """

    ts: str
    unit: str
    slot: str
    outcome: Outcome
    verified: bool
    step: str | None
    cause: str | None
    reason: str | None
    seconds: float
    elsewhere: bool = False
    bound: bool = True

    @classmethod
    def of_run(cls, run: UnitRun, station: str) -> Self:
        """Return the verdict of a run in the ledger, as *station* sees it."""
        end = run.end
        return cls(
            end.ts,
            end.serial or end.mac or "",
            end.slot or "",
            run.outcome,
            run.verified,
            run.failed_step,
            end.cause,
            end.reason,
            end.seconds or 0.0,
            end.station != station,
            end.serial is not None,
        )

    @classmethod
    def of_line(cls, end: UnitEnded, steps: Iterable[StepEnded]) -> Self:
        """Return the verdict *end* of a line, after *steps*."""
        done = tuple(steps)
        unit, step = end.serial or end.mac or "", decisive(end, done)
        return cls(
            end.ts,
            unit,
            end.slot,
            end.outcome,
            verifies(done),
            step,
            end.cause,
            end.reason,
            end.seconds,
            bound=end.serial is not None,
        )


class UnitTally:
    """The verdicts so far. Times are ledger times; *since*: only those of that time or later."""

    def __init__(self) -> None:
        self.version = 0
        self.recent: list[UnitVerdict] = []
        self._steps: dict[str, list[StepEnded]] = defaultdict(list)
        self._first: dict[str, UnitVerdict] = {}
        self._last: dict[str, UnitVerdict] = {}
        self._unknown: dict[str, UnitVerdict] = {}
        self._known: dict[str, str] = {}
        self._spoilt: list[UnitVerdict] = []
        self._before: set[str] = set()

    def note(self, event: LineEvent) -> None:
        """Take in an event of a line."""
        if isinstance(event, StepEnded):
            self._steps[event.slot].append(event)
        elif isinstance(event, UnitEnded):
            self.add(UnitVerdict.of_line(event, self._steps.pop(event.slot, ())))

    def add(self, verdict: UnitVerdict) -> None:
        """Add a verdict. One from elsewhere only says that a first pass was not here."""
        if verdict.elsewhere:
            self.add_first(verdict)
            return
        self.version += 1
        insort(self.recent, verdict, key=_TIME)
        del self.recent[:-LAST]
        self.add_first(verdict)
        if verdict.outcome in (Outcome.ERROR, Outcome.ABORTED):
            self._spoilt.append(verdict)
        if verdict.unit:
            self._known[verdict.slot] = max(verdict.ts, self._known.get(verdict.slot, ""))
        _keep_later(self._last if verdict.unit else self._unknown, verdict.unit or verdict.slot, verdict)

    def add_first(self, verdict: UnitVerdict) -> None:
        """Take *verdict* only as what may have been the first pass of its unit."""
        unit = verdict.unit
        if not (unit and verdict.bound) or unit in self._before or verdict.outcome not in DECIDED:
            return
        runs = [verdict] if unit not in self._first else sorted((self._first[unit], verdict), key=_TIME)
        self._first[unit] = deciding(runs)[0]
        self.version += 1

    def forget(self, before: str) -> None:
        """Forget verdicts before that time, but not which units have had their first pass."""
        self._before |= {unit for unit, one in self._first.items() if one.ts < before}
        for kept in (self._first, self._last, self._unknown):
            for name in [name for name, one in kept.items() if one.ts < before]:
                del kept[name]
        self._spoilt = [one for one in self._spoilt if one.ts >= before]
        self.version += 1

    @property
    def units(self) -> int:
        """How many units had a verdict."""
        return self.verdicts().total()

    def verdicts(self, since: str = "") -> Counter[Outcome]:
        """Return how many units have each outcome as their last one.

        A board that was not recognized counts as long as its slot had no other.
        """
        unknown = (one for slot, one in self._unknown.items() if one.ts > self._known.get(slot, ""))
        return Counter(one.outcome for one in (*self._last.values(), *unknown) if one.ts >= since)

    def first_pass(self, since: str = "") -> Ratio:
        """Return the first-pass yield."""
        return self.first_passes(since).ratio

    def first_passes(self, since: str = "") -> FirstPasses[str]:
        """Return the first passes by slot and cause."""
        passes: FirstPasses[str] = FirstPasses()
        for one in self._first.values():
            if one.ts >= since and not one.elsewhere:
                passes.add(one.slot, one.outcome, one.step, one.cause)
        return passes

    def spoilt(self, since: str = "") -> Counter[tuple[str, Outcome]]:
        """Return how many runs on each slot ended with ERROR or ABORTED: they are no attempts of their units."""
        return Counter((one.slot, one.outcome) for one in self._spoilt if one.ts >= since)


def _keep_later(kept: dict[str, UnitVerdict], name: str, verdict: UnitVerdict) -> None:
    """Keep *verdict* if it is the last one; that a finished unit was seen again is none, unless there is no other."""
    known = kept.get(name)
    if known is None or _rank(verdict) >= _rank(known):
        kept[name] = verdict


def _rank(verdict: UnitVerdict) -> tuple[bool, str]:
    return verdict.outcome is not Outcome.SEEN, verdict.ts
