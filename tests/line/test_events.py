"""The events of the line as JSON, and their summary."""

from __future__ import annotations

import pytest

from rmfab.ledger.events import Outcome
from rmfab.line.events import Message, Step, StepEnded, StepProgress, Summary, UnitEnded, to_json


def test_json_of_events():
    """Every event has its name and place, except progress, and consists of JSON values only."""
    where = ("2026-01-31T12:00:00.000Z", "bench", "A1", "LMP-000001", "24:0a:c4:00:00:01")
    step = to_json(StepEnded(*where, Step.BOOT, Outcome.FAIL, "panic", "it panics", 1.23456, {"lines": 3}))
    assert step == {
        "event": "step",
        "ts": where[0],
        "station": "bench",
        "slot": "A1",
        "serial": "LMP-000001",
        "mac": where[4],
        "step": "boot",
        "outcome": "FAIL",
        "class": "panic",
        "reason": "it panics",
        "seconds": 1.235,
        "measurements": {"lines": 3},
    }
    unit = UnitEnded(*where, Outcome.PASS, None, None, 2.0, "/logs/x.log")
    assert to_json(unit) is not None
    assert to_json(Message(*where, "warning", "mind the gap")) == {
        "event": "log",
        **{key: step[key] for key in ("ts", "station", "slot", "serial", "mac")},
        "level": "warning",
        "text": "mind the gap",
    }
    assert to_json(StepProgress(*where, Step.FLASH, 1, 2)) is None


def test_summary_counts_every_outcome():
    """Passed, failed, errors, aborted and seen add up to the units."""
    summary = Summary()
    for number, outcome in enumerate(
        (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN)
    ):
        summary.count(ended(outcome, mac=f"mac-{number}"))
    counts = {"passed": 2, "failed": 1, "errors": 1, "aborted": 1, "seen": 1}
    assert summary.to_json() == {"event": "summary", **counts, "labels": {}}


def ended(outcome, slot="A1", mac=None, serial=None):
    """Return a verdict."""
    return UnitEnded("2026-01-31T12:00:00.000Z", "bench", slot, serial, mac, outcome, None, None, 0.0, None)


VISITS = {
    "cured": ([ended(Outcome.ERROR, mac="m"), ended(Outcome.PASS, mac="m", serial="s")], "1 unit: 1 passed"),
    "cured on a different slot": (
        [ended(Outcome.FAIL, mac="m"), ended(Outcome.PASS, slot="A2", mac="m")], "1 unit: 1 passed",
    ),
    "failed later": ([ended(Outcome.PASS, mac="m"), ended(Outcome.FAIL, mac="m")], "1 unit: 1 failed"),
    "came back finished": ([ended(Outcome.PASS, mac="m"), ended(Outcome.SEEN, mac="m")], "1 unit: 1 passed"),
    "nobody knows which": ([ended(Outcome.ERROR), ended(Outcome.PASS, mac="m")], "1 unit: 1 passed"),
    "an empty slot": ([ended(Outcome.ERROR), ended(Outcome.PASS, slot="A2", mac="m")],
                      "2 units: 1 passed, 1 without a verdict"),
    "by serial": ([ended(Outcome.FAIL, serial="s"), ended(Outcome.PASS, serial="s")], "1 unit: 1 passed"),
    "nothing": ([], "0 units: none finished"),
}  # fmt: skip


@pytest.mark.parametrize(("visits", "said"), VISITS.values(), ids=VISITS)
def test_summary_counts_units_not_visits(visits, said):
    """A unit counts once, with its last verdict; a board that nobody knows counts until its slot has another one."""
    summary = Summary()
    for visit in visits:
        summary.count(visit)
    assert str(summary) == said
