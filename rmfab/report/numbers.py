"""The numbers of a report: what the units of a batch or a shift add up to. Pure; memory grows with slots, not units.

`ReportNumbers.add` takes one unit after the other; every form of the report shows what is here and computes
nothing itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from rmfab.ledger.events import Outcome
from rmfab.ledger.histories import LostRuns, PastEvent
from rmfab.line.shifts import Shifts
from rmfab.report.first_passes import FirstPasses
from rmfab.report.measurements import Measured, may_measure, measurements_in
from rmfab.report.period import Period
from rmfab.report.runs import UnitRun
from rmfab.report.spread import NO_LIMITS, Limits, Spread
from rmfab.report.units import ListedUnit
from rmfab.report.yields import Tally, deciding, rolled

_MOST_MEASUREMENTS = 200
"""Of different names: details come from devices and fixtures."""


class SlotKey(NamedTuple):
    """A slot of a station."""

    station: str
    slot: str


@dataclass
class StepNumbers:
    """A step: units by their first try, all tries by outcome, and the seconds of those that passed."""

    first: Tally = field(default_factory=Tally)
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: Spread = field(default_factory=Spread)


@dataclass
class SlotNumbers:
    """A slot: its runs by outcome, the seconds of those that passed, and the seconds in which it was occupied."""

    runs: Counter[str] = field(default_factory=Counter)
    seconds: Spread = field(default_factory=Spread)
    busy: float = 0.0

    @property
    def per_hour(self) -> float | None:
        """Runs that ended with PASS or FAIL per hour in which the slot was occupied."""
        done = self.runs["PASS"] + self.runs["MARGINAL"] + self.runs["FAIL"]
        return 3600 * done / self.busy if self.busy and done else None


@dataclass
class MeasurementNumbers:
    """A measurement in *step*, on all slots and on each, with its last limits."""

    step: str
    unit: str = ""
    limits: Limits = NO_LIMITS
    every: Spread = field(default_factory=Spread)
    slots: dict[SlotKey, Spread] = field(default_factory=lambda: defaultdict(Spread))


@dataclass
class ReportNumbers:
    """The numbers of units in *period*; *shifts* cut time into pieces.

    *states* and *verdicts* count all units, *first* and *final* those with a verdict, *marginal* those that passed
    narrowly at first. *errors*: runs that the station spoilt, by slot and cause.
    """

    period: Period
    shifts: Shifts
    units: int = 0
    states: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    first: FirstPasses[SlotKey] = field(default_factory=FirstPasses)
    final: Tally = field(default_factory=Tally)
    marginal: int = 0
    steps: dict[str, StepNumbers] = field(default_factory=lambda: defaultdict(StepNumbers))
    errors: Counter[tuple[SlotKey, str]] = field(default_factory=Counter)
    slots: dict[SlotKey, SlotNumbers] = field(default_factory=lambda: defaultdict(SlotNumbers))
    by_hour: dict[datetime, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_shift: dict[datetime, Tally] = field(default_factory=lambda: defaultdict(Tally))
    measurements: dict[tuple[str, str], MeasurementNumbers] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    releases: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, unit: ListedUnit, runs: Sequence[UnitRun]) -> None:
        """Add a unit and all its runs; those outside the period count only for which run was its first pass."""
        self.units += 1
        self.states[unit.state] += 1
        self.verdicts[unit.verdict or ""] += 1
        if unit.release_digest is not None:
            self.releases[unit.release or "", unit.release_digest] += 1
        inside = [run for run in runs if self.period.contains(run.end.ts)]
        for run in inside:
            self._add_run(run)
        for step in _first_tries(runs):
            if self.period.contains(step.ts):
                self.steps[step.step or ""].first.add(Outcome(step.outcome or ""))
        self._add_first([run for run in deciding(runs)[:1] if self.period.contains(run.end.ts)])
        last = deciding(inside)[-1:]
        if last:
            self.final.add(last[0].outcome)

    def _add_first(self, first: Sequence[UnitRun]) -> None:
        for run in first:
            self.first.add(_slot(run.end), run.outcome, run.failed_step, run.end.cause)
            self.marginal += run.marginal and run.outcome is not Outcome.FAIL
            hour, shift = _pieces(run.end.ts[:16], self.shifts)
            self.by_hour[hour].add(run.outcome)
            self.by_shift[shift].add(run.outcome)

    def _add_run(self, run: UnitRun) -> None:
        outcome, slot = run.outcome.value, self.slots[_slot(run.end)]
        self.runs[outcome] += 1
        slot.runs[outcome] += 1
        slot.busy += run.end.seconds or 0.0
        if run.outcome is Outcome.PASS and run.end.seconds is not None:
            slot.seconds.add(run.end.seconds)
        if run.outcome is Outcome.ERROR:
            self.errors[_slot(run.end), run.end.cause or ""] += 1
        operator = run.end.details.get("operator")
        self.operators[operator if isinstance(operator, str) else ""] += 1
        for step in run.steps:
            self._add_step(step)

    def _add_step(self, step: PastEvent) -> None:
        numbers = self.steps[step.step or ""]
        numbers.outcomes[step.outcome or ""] += 1
        if step.seconds is not None and step.outcome in (Outcome.PASS, Outcome.MARGINAL):
            numbers.seconds.add(step.seconds)
        if may_measure(step.details_text):
            for measured in measurements_in(step.details):
                self._add_measured(step, measured)

    def _add_measured(self, step: PastEvent, measured: Measured) -> None:
        key = (step.step or "", measured.name)
        if key not in self.measurements and len(self.measurements) >= _MOST_MEASUREMENTS:
            return
        numbers = self.measurements.setdefault(key, MeasurementNumbers(key[0]))
        numbers.unit, numbers.limits = measured.unit, measured.limits
        numbers.every.add(measured.value)
        numbers.slots[_slot(step)].add(measured.value)

    def add_lost(self, lost: Iterable[LostRuns]) -> None:
        """Add runs that ended before their board had an identity: they are the station's."""
        for one in lost:
            key = SlotKey(one.station, one.slot)
            self.runs[Outcome.ERROR.value] += one.count
            self.slots[key].runs[Outcome.ERROR.value] += one.count
            self.errors[key, one.cause] += one.count

    def measured(self) -> list[tuple[tuple[str, str], MeasurementNumbers]]:
        """Return the measurements by step and name, those with limits first."""
        return sorted(self.measurements.items(), key=lambda one: (one[1].limits == NO_LIMITS, one[0]))

    @property
    def rolled(self) -> float | None:
        """The rolled yield over all steps."""
        return rolled(step.first.ratio for step in self.steps.values())


def _first_tries(runs: Sequence[UnitRun]) -> Iterator[PastEvent]:
    """Yield the first try of each step that says something about the unit."""
    seen = set()
    for run in runs:
        for step in run.steps:
            if step.step not in seen and step.outcome in (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL):
                seen.add(step.step)
                yield step


def _slot(event: PastEvent) -> SlotKey:
    return SlotKey(event.station, event.slot or "")


@lru_cache(maxsize=1024)
def _pieces(minute: str, shifts: Shifts) -> tuple[datetime, datetime]:
    """Return the starts of the local hour and of the shift in which a *minute* is, in UTC."""
    moment = datetime.fromisoformat(f"{minute}:00Z")
    hour = moment - timedelta(minutes=shifts.local.of(moment).minute)  # not every zone is whole hours from UTC
    return hour, shifts.at(moment).start
