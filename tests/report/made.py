"""Reports of units that never were: histories from literals, of any size and as hostile as a test wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rmfab.ledger.histories import ChainHead, PastEvent, UnitHistory
from rmfab.ledger.host_record import Head
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.line.shifts import LocalTime, Shifts
from rmfab.report.document import ReportDocument, ReportHead
from rmfab.report.numbers import ReportNumbers
from rmfab.report.period import ALWAYS, Period
from rmfab.report.runs import runs_of
from rmfab.report.sections import sections, totals
from rmfab.report.units import listed

CHAIN = "c" * 32
MINUTES = [f"2026-03-02T{hour:02d}:{minute:02d}" for hour in range(24) for minute in range(60)]


def past(serial: str, at: int, kind: str = "step", **fields: Any) -> PastEvent:
    """Return an event *at* a minute of a day; *fields* as columns, `details` as a value."""
    columns: dict[str, Any] = dict.fromkeys(PastEvent._fields)
    details = json.dumps(fields.pop("details", {}))
    columns |= {"serial": serial, "chain": CHAIN, "station": "bench", "ts": f"{MINUTES[at]}:00.000Z", "kind": kind}
    return PastEvent(**(columns | {"slot": "A1", "details_text": details} | fields))


def run(serial: str, at: int, outcome: str = "PASS", cause: str | None = None, **fields: Any) -> list[PastEvent]:
    """Return the events of a run: boot passes or decides, provision verifies and has an RSSI."""
    details = fields.pop("details", {"rssi": -50, "rssi_limits": [-80, -70]})
    good = outcome == "PASS"
    operator = fields.pop("operator", "op-1")
    steps = [past(serial, at, step="boot", outcome=outcome, cause=cause, seconds=2.0, **fields)]
    if good:
        verified = {"step": "provision", "outcome": "PASS", "state": "verified", "seconds": 1.0, "details": details}
        steps.append(past(serial, at, **verified, **fields))
    end = {"outcome": outcome, "cause": cause, "seconds": 3.0, "details": {"operator": operator}}
    return [*steps, past(serial, at, "unit", **end, **fields)]


def history(serial: str, events: Sequence[PastEvent], state: State = State.VERIFIED) -> UnitHistory:
    """Return a unit."""
    return UnitHistory("lamp-0001", "Lamp", serial, None, Standing(state, "24:0a:c4:00:00:01"), tuple(events))


def report(histories: Sequence[UnitHistory], period: Period = ALWAYS, product: str = "Lamp") -> ReportDocument:
    """Return the report of *histories*."""
    numbers = ReportNumbers(period, Shifts((), LocalTime()))
    units = []
    for one in histories:
        runs = tuple(runs_of(one.events))
        units.append(listed(one, runs, period))
        numbers.add(units[-1], runs)
    chains = (ChainHead("bench", CHAIN, Head(7, "h" * 64), merged=False),)
    head = ReportHead(
        product, ("lamp-0001",), period, f"{MINUTES[-1]}:00.000Z", "boss", "bench", "1.0", "l" * 32, (3, "f" * 8), None
    )
    return ReportDocument(
        head, totals(numbers), sections(numbers, chains), numbers, lambda: iter(units), numbers.shifts.local
    )
