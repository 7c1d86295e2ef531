"""One record of a step and of a unit, with the same content for ledger and stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.errors import UnitFault
from rmfab.ledger.events import EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.line.ending import Ending, judge_error
from rmfab.line.events import Origin, Step
from rmfab.line.step_record import StepRecord, UnitRecord

ORIGIN = Origin("2026-01-31T12:00:00.000Z", "bench", "A1", "LMP-000001", "24:0a:c4:00:00:01")
SAME = ("ts", "serial", "mac", "slot", "outcome", "cause", "reason", "seconds")


def test_a_step_is_told_once():
    """Ledger and stream agree in every field of a step that both have."""
    ending = Ending(Outcome.FAIL, "panic", "the firmware panics", {"lines": 3})
    record = StepRecord(ORIGIN, Step.BOOT, ending, 1.5, State.FAILED)
    event, ended = record.for_ledger(), record.for_stream()
    assert [getattr(event, name) for name in SAME] == [getattr(ended, name) for name in SAME]
    assert (event.kind, event.step, event.state) == (EventKind.STEP, ended.step.value, State.FAILED)
    assert event.details == ended.measurements == {"lines": 3}
    assert ended.station == "bench"


def test_a_verdict_is_told_once():
    """Ledger and stream agree in every field of a unit that both have; only the stream has the error."""
    fault = UnitFault("the firmware panics", cause="panic")
    record = UnitRecord(ORIGIN, judge_error(fault), 9.25, "/logs/x.log")
    event, ended = record.for_ledger(), record.for_stream()
    assert [getattr(event, name) for name in SAME] == [getattr(ended, name) for name in SAME]
    assert (event.kind, event.details, ended.log) == (EventKind.UNIT, {"log": "/logs/x.log"}, "/logs/x.log")
    assert ended.error is fault


@pytest.mark.parametrize(
    ("log", "recorded"), [("/ws/logs/x.log", "logs/x.log"), ("/var/log/x.log", "/var/log/x.log"), (None, None)]
)
def test_a_log_is_recorded_relative_to_the_workspace(log: str | None, recorded: str | None):
    """The ledger has a log's path relative to the workspace if it is inside; the stream has the whole path."""
    record = UnitRecord(ORIGIN, Ending(Outcome.PASS), 1.0, log, Path("/ws"))
    assert record.for_ledger().details.get("log") == recorded
    assert record.for_stream().log == log


def test_a_bug_is_no_error_of_the_unit():
    """Only expected errors become exit codes; the floor raises a bug."""
    assert UnitRecord(ORIGIN, judge_error(ZeroDivisionError("x")), 0.0).for_stream().error is None
