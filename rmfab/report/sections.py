"""The sections of a report: its numbers as tables, from which every form is written. Pure.

JSON takes the keys of the columns, XLSX and the page their titles. Yields are 0 to 1, times are ledger times in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, unique
from typing import Any, NamedTuple

from rmfab.ledger.events import timestamp
from rmfab.ledger.histories import ChainHead
from rmfab.report.numbers import ReportNumbers, SlotKey
from rmfab.report.spread import LEAST_VALUES, Limits, Spread
from rmfab.report.yields import Ratio, Tally

_NUMBER = re.compile(r"([0-9]+)")


@unique
class Kind(Enum):
    """How a cell is shown."""

    TEXT = "text"
    COUNT = "count"
    SHARE = "share"
    NUMBER = "number"
    TIME = "time"
    FLAG = "flag"


class SectionColumn(NamedTuple):
    """A column: its key in JSON, its title for people, and how its cells are shown."""

    key: str
    title: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True)
class Section:
    """A table of the report; *note* explains its numbers."""

    name: str
    title: str
    columns: tuple[SectionColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows as JSON objects."""
        return [dict(zip((column.key for column in self.columns), row, strict=True)) for row in self.rows]


_UNITS = (
    SectionColumn("passed", "PASS", Kind.COUNT),
    SectionColumn("failed", "FAIL", Kind.COUNT),
    SectionColumn("yield", "first-pass yield", Kind.SHARE),
)
_STATION_AND_SLOT = (SectionColumn("station", "station"), SectionColumn("slot", "slot"))


def _numbers(**titles: str) -> tuple[SectionColumn, ...]:
    """Return columns of numbers, with their keys and *titles*."""
    return tuple(SectionColumn(key, title, Kind.NUMBER) for key, title in titles.items())


def totals(numbers: ReportNumbers) -> dict[str, Any]:
    """Return the totals of the report."""
    first, final = numbers.first.ratio, numbers.final.ratio
    return {
        "units": numbers.units,
        "states": dict(sorted(numbers.states.items())),
        "verdicts": {name or "none": count for name, count in sorted(numbers.verdicts.items())},
        "runs": dict(sorted(numbers.runs.items())),
        "first_pass": _yield(first),
        "marginal": numbers.marginal,
        "final": _yield(final),
        "rolled_yield": _rounded(numbers.rolled),
    }


def _yield(ratio: Ratio) -> dict[str, Any]:
    low, high = ratio.interval or (None, None)
    failed = ratio.whole - ratio.passed
    return {
        "passed": ratio.passed,
        "failed": failed,
        "yield": _rounded(ratio.value),
        "low": _rounded(low),
        "high": _rounded(high),
    }


def sections(numbers: ReportNumbers, chains: Iterable[ChainHead]) -> tuple[Section, ...]:
    """Return all sections, in the order of the report."""
    return (
        _over_time("hours", "Yield by hour", "hour", numbers.by_hour),
        _over_time("shifts", "Yield by shift", "shift from", numbers.by_shift),
        _steps(numbers),
        _causes(numbers),
        _errors(numbers),
        _slots(numbers),
        _measurements(numbers),
        _releases(numbers),
        _operators(numbers),
        _chains(chains),
    )


def _over_time(name: str, title: str, head: str, pieces: Mapping[datetime, Tally]) -> Section:
    rows = tuple((timestamp(start), *_counts(pieces[start])) for start in sorted(pieces))
    return Section(name, title, (SectionColumn("start", head, Kind.TIME), *_UNITS), rows)


def _counts(tally: Tally) -> tuple[int, int, float | None]:
    return tally.passed, tally.failed, _rounded(tally.ratio.value)


def _steps(numbers: ReportNumbers) -> Section:
    columns = (
        SectionColumn("step", "step"),
        SectionColumn("units", "units", Kind.COUNT),
        SectionColumn("first_yield", "passed at first", Kind.SHARE),
        SectionColumn("tries", "tries", Kind.COUNT),
        SectionColumn("errors", "ERROR", Kind.COUNT),
        *_numbers(median="median s", p95="95 % s", longest="longest s"),
    )
    rows = tuple(
        (
            name,
            step.first.ratio.whole,
            _rounded(step.first.ratio.value),
            sum(step.outcomes.values()),
            step.outcomes["ERROR"],
            step.seconds.quantile(0.5),
            step.seconds.quantile(0.95),
            _rounded(step.seconds.high) if step.seconds.count else None,
        )
        for name, step in numbers.steps.items()
    )
    note = "Units by their first try of each step; seconds of the tries that passed."
    return Section("steps", "Steps", columns, rows, note)


def _causes(numbers: ReportNumbers) -> Section:
    columns = (
        SectionColumn("step", "step"),
        SectionColumn("class", "cause"),
        SectionColumn("units", "units", Kind.COUNT),
        SectionColumn("share", "share", Kind.SHARE),
        SectionColumn("cumulative", "cumulative", Kind.SHARE),
    )
    note = "Why units failed their first pass, the most frequent cause first."
    rows = ((*one[:3], round(one.share, 4), round(one.cumulative, 4)) for one in numbers.first.pareto())
    return Section("causes", "Causes of FAIL", columns, tuple(rows), note)


def _errors(numbers: ReportNumbers) -> Section:
    columns = (*_STATION_AND_SLOT, SectionColumn("class", "cause"), SectionColumn("runs", "runs", Kind.COUNT))
    ordered = sorted(numbers.errors.items(), key=lambda one: (-one[1], one[0]))
    rows = tuple((*slot, cause, count) for (slot, cause), count in ordered)
    note = "Runs that the station or a cable spoilt. They count in no yield."
    return Section("errors", "Errors of the station", columns, rows, note)


def _slots(numbers: ReportNumbers) -> Section:
    columns = (
        *_STATION_AND_SLOT,
        *_UNITS,
        SectionColumn("low", "from", Kind.SHARE),
        SectionColumn("high", "to", Kind.SHARE),
        SectionColumn("suspect", "suspect", Kind.FLAG),
        SectionColumn("errors", "ERROR", Kind.COUNT),
        *_numbers(median="median s", per_hour="units/h"),
    )
    rows = tuple(_slot(numbers, key) for key in sorted(numbers.slots, key=_natural))
    note = (
        "From and to: the 95 % interval of the yield (Wilson). A slot is suspect if that lies below the yield of all "
        "other slots, over at least 20 boards. Units per hour in which the slot was occupied."
    )
    return Section("slots", "Slots", columns, rows, note)


def _slot(numbers: ReportNumbers, key: SlotKey) -> tuple[Any, ...]:
    slot, first = numbers.slots[key], numbers.first.slots[key]
    ratio = first.ratio
    low, high = ratio.interval or (None, None)
    return (
        *key,
        *_counts(first),
        _rounded(low),
        _rounded(high),
        ratio.below(numbers.first.others(key)),
        slot.runs["ERROR"],
        slot.seconds.quantile(0.5),
        _rounded(slot.per_hour, 1),
    )


def _measurements(numbers: ReportNumbers) -> Section:
    columns = (
        SectionColumn("step", "step"),
        SectionColumn("name", "measurement"),
        SectionColumn("unit", "unit"),
        *_STATION_AND_SLOT,
        SectionColumn("n", "n", Kind.COUNT),
        *_numbers(min="min", mean="mean", max="max", deviation="sigma"),
        *_numbers(low_limit="LSL", marginal_limit="marginal", high_limit="USL", cpk="Cpk"),
    )
    rows = []
    for (step, name), one in numbers.measured():
        rows.append((step, name, one.unit, "", "", *_spread(one.every, one.limits)))
        rows += [
            (step, name, one.unit, *key, *_spread(one.slots[key], one.limits))
            for key in sorted(one.slots, key=_natural)
        ]
    note = (
        "LSL, USL: the limits below and above which a unit fails; sigma: the standard deviation. "
        f"A Cpk of fewer than {LEAST_VALUES} values says little, nor does one of all slots together if they differ; "
        "1.33 is a usual limit."
    )
    return Section("measurements", "Measurements", columns, tuple(rows), note)


def _spread(spread: Spread, limits: Limits) -> tuple[Any, ...]:
    return (
        spread.count,
        _rounded(spread.low),
        _rounded(spread.mean),
        _rounded(spread.high),
        _rounded(spread.deviation),
        limits.low,
        limits.marginal,
        limits.high,
        _rounded(spread.cpk(limits), 2),
    )


def _releases(numbers: ReportNumbers) -> Section:
    columns = (
        SectionColumn("version", "version"),
        SectionColumn("digest", "digest (SHA-256)"),
        SectionColumn("units", "units", Kind.COUNT),
    )
    rows = tuple((*release, count) for release, count in sorted(numbers.releases.items()))
    return Section("releases", "Releases", columns, rows, "With which the units were flashed last.")


def _operators(numbers: ReportNumbers) -> Section:
    columns = (SectionColumn("operator", "operator"), SectionColumn("runs", "runs", Kind.COUNT))
    rows = tuple((name, count) for name, count in sorted(numbers.operators.items()) if name)
    return Section("operators", "Operators", columns, rows)


def _chains(chains: Iterable[ChainHead]) -> Section:
    columns = (
        SectionColumn("station", "station"),
        SectionColumn("chain", "chain"),
        SectionColumn("events", "events", Kind.COUNT),
        SectionColumn("hash", "hash of the last event (SHA-256)"),
        SectionColumn("merged", "merged", Kind.FLAG),
    )
    rows = tuple((one.station, one.chain, one.head.seq, one.head.hash, one.merged) for one in chains)
    note = "The ledger from which this report was made is the one whose chains contain these events."
    return Section("chains", "Seal", columns, rows, note)


def _natural(key: SlotKey) -> tuple[str, list[tuple[int, str]]]:
    """Return the key that sorts A2 before A10."""
    return key.station, [(int(part[:18]), "") if part.isdecimal() else (0, part) for part in _NUMBER.split(key.slot)]


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
