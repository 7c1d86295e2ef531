"""The list of units: one row per unit, the same in `rmfab units` and in every form of the report. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from rmfab.causes import Cause
from rmfab.errors import UsageError
from rmfab.ledger.events import EventKind, Outcome
from rmfab.ledger.histories import PastEvent, UnitHistory
from rmfab.ledger.states import State
from rmfab.ledger.succession import PREDECESSOR, SUCCESSOR
from rmfab.product.toml_reader import suggestion
from rmfab.report.period import ALWAYS, Period
from rmfab.report.runs import UnitRun, runs_of
from rmfab.report.yields import DECIDED, PASSED, deciding

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_LINKS = (("replaces", EventKind.CLAIM, PREDECESSOR), ("replaced_by", EventKind.VOID, SUCCESSOR))


@dataclass(frozen=True)
class ListedUnit:
    """A unit in a list: its serial, where it stands, and what its runs showed.

    *verdict*, *cause*, *reason*, *station*, *slot*, *operator* and *seconds* are those of its last run; *first_pass*
    and *final* are PASS or FAIL as in `yields`, None if no run decided. *attempts* counts the runs that ended with PASS
    or FAIL, *runs* all. *time* is when something last happened to it. *replaces* and *replaced_by*: the serials of its
    board before and after, if it was given a different identity.
    """

    serial: str
    batch: str
    product: str
    node_id: str | None
    mac: str | None
    state: str
    verdict: str | None
    cause: str | None
    reason: str | None
    first_pass: str | None
    final: str | None
    station: str | None
    slot: str | None
    operator: str | None
    attempts: int
    runs: int
    labels: int
    time: str | None
    seconds: float | None
    release: str | None
    release_digest: str | None
    replaces: str | None
    replaced_by: str | None
    chain: str | None


COLUMNS = tuple(field.name for field in fields(ListedUnit))
"""The columns of the list as CSV, and the keys of a unit as JSON (`cause` is `class` there)."""
_KEYS = tuple("class" if name == "cause" else name for name in COLUMNS)


def listed(history: UnitHistory, every: Sequence[UnitRun] | None = None, period: Period = ALWAYS) -> ListedUnit:
    """Return the row of a unit, with its runs in *period*; *every*: the runs of the history, if they are known."""
    every = tuple(runs_of(history.events)) if every is None else every
    runs = [run for run in every if period.contains(run.end.ts)]
    standing, last = history.standing, runs[-1] if runs else None
    decided, first = deciding(runs), deciding(every)[:1]
    release = _release(history.events)
    links = _links(history.events)
    blamed = last.end if last is not None else standing
    return ListedUnit(
        serial=history.serial,
        batch=history.batch,
        product=history.product,
        node_id=history.node_id,
        mac=standing.mac,
        state=standing.state.value,
        verdict=None if last is None else last.outcome.value,
        cause=blamed.cause,
        reason=blamed.reason,
        first_pass=_short(first[0]) if first and period.contains(first[0].end.ts) else None,
        final=_short(decided[-1]) if decided else None,
        station=_last(history.events, "station"),
        slot=_last(history.events, "slot"),
        operator=_operator(last.end if last is not None else (history.events or (None,))[-1]),
        attempts=sum(run.outcome in DECIDED for run in runs),
        runs=len(runs),
        labels=standing.labelled_count,
        time=history.events[-1].ts if history.events else standing.claimed_ts,
        seconds=None if last is None else last.end.seconds,
        release=release.get("version"),
        release_digest=release.get("digest"),
        replaces=links.get("replaces"),
        replaced_by=links.get("replaced_by"),
        chain=history.events[-1].chain if history.events else None,
    )


row_of: Callable[[ListedUnit], tuple[Any, ...]] = attrgetter(*COLUMNS)
"""Returns the cells of a unit in the order of `COLUMNS`; `astuple`, which copies deeply, takes ten times as long."""


def as_json(unit: ListedUnit) -> dict[str, Any]:
    """Return the JSON object of a unit."""
    return dict(zip(_KEYS, row_of(unit), strict=True))


@dataclass(frozen=True)
class UnitFilter:
    """Which units are listed: those last on *slot*, with *cause*, flashed with *release*, a version or digest.

    Raise UsageError if a value is empty, or if there is no such cause.
    """

    slot: str | None = None
    cause: str | None = None
    release: str | None = None

    def __post_init__(self) -> None:
        for name in ("slot", "cause", "release"):
            if getattr(self, name) == "":
                raise UsageError(f"--{name} must not be empty")
        if self.cause is not None and self.cause not in set(Cause):
            hint = suggestion(self.cause, Cause) or "docs/causes.md lists the causes"
            raise UsageError(f'there is no cause "{self.cause}"', hint=hint)

    def fits(self, unit: ListedUnit) -> bool:
        """Return whether *unit* is listed."""
        return (
            self.slot in (None, unit.slot)
            and self.cause in (None, unit.cause)
            and (self.release is None or _is_release(unit, self.release.lower()))
        )


EVERY_UNIT = UnitFilter()


def of_states(names: Sequence[str]) -> frozenset[State] | None:
    """Return the states with *names*, None for those of units."""
    return frozenset(map(State, names)) or None


def _is_release(unit: ListedUnit, wanted: str) -> bool:
    digest = unit.release_digest or ""
    return wanted == (unit.release or "").lower() or bool(_DIGEST.fullmatch(wanted) and digest.startswith(wanted))


def _short(run: UnitRun) -> str:
    return Outcome.PASS.value if run.outcome in PASSED else Outcome.FAIL.value


def _last(events: Sequence[PastEvent], name: str) -> str | None:
    """Return the last value of the column *name* in the events of a slot."""
    values = (getattr(event, name) for event in reversed(events) if event.slot is not None)
    return next((value for value in values if value is not None), None)


def _operator(event: PastEvent | None) -> str | None:
    return None if event is None else _text(event.details.get("operator"))


def _release(events: Sequence[PastEvent]) -> Mapping[str, str | None]:
    """Return version and digest of the last release that was flashed."""
    for event in reversed(events):
        if event.step == "flash" and isinstance(named := event.details.get("release"), dict):
            return {name: _text(named.get(name)) for name in ("version", "digest")}
    return {}


def _links(events: Sequence[PastEvent]) -> Mapping[str, str]:
    """Return the serials of the board before and after, if an event has them."""
    return dict(_linked(events))


def _linked(events: Sequence[PastEvent]) -> Iterator[tuple[str, str]]:
    for event in events:
        for name, kind, detail in _LINKS:
            if event.kind == kind and (serial := _text(event.details.get(detail))) is not None:
                yield name, serial


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
