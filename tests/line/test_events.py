"""The events of the line as JSON, and their summary."""

from __future__ import annotations

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
    where = ("2026-01-31T12:00:00.000Z", "bench", "A1", None, None)
    summary = Summary()
    for outcome in (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN):
        summary.count(UnitEnded(*where, outcome, None, None, 0.0, None))
    counts = {"passed": 2, "failed": 1, "errors": 1, "aborted": 1, "seen": 1}
    assert summary.to_json() == {"event": "summary", **counts, "labels": {}}
