"""The numbers of a run: units, not visits; the first completed run decides the first pass."""

from __future__ import annotations

from rmfab.ledger.events import Outcome
from rmfab.report.yields import Ratio
from rmfab.screen.tally import RunTally, percent
from tests.screen.stage import ended


def test_units_are_counted_once() -> None:
    """A unit that fails and passes later is one unit: its last verdict counts, its first decides the yield."""
    tally = RunTally(("A1", "A2"))
    tally.count(ended("A1", Outcome.FAIL, "panic"), 1.0)
    tally.count(ended("A1", Outcome.PASS), 2.0)
    tally.count(ended("A2", Outcome.PASS, serial="LMP-000002"), 3.0)
    assert (tally.units, dict(tally.verdicts())) == (2, {Outcome.PASS: 2})
    assert (tally.first_pass(), tally.first_pass(2.5)) == (Ratio(1, 2), Ratio(1, 1))


def test_errors_are_the_stations() -> None:
    """An ERROR or an abort is no attempt of the unit."""
    tally = RunTally(("A1",))
    tally.count(ended("A1", Outcome.ERROR, "no-answer"), 1.0)
    tally.count(ended("A1", Outcome.ABORTED), 2.0)
    assert (tally.first_pass(), percent(tally.first_pass())) == (Ratio(0, 0), "-")
    tally.count(ended("A1", Outcome.PASS), 3.0)
    assert percent(tally.first_pass()) == "100.0 %"


def test_causes_and_slots() -> None:
    """Causes come by number with the share that they make together; each slot has its own yield."""
    tally = RunTally(("A1", "A2"))
    for number, cause in enumerate(("panic", "brownout", "panic", None)):
        outcome = Outcome.FAIL if cause else Outcome.PASS
        tally.count(ended("A1" if number < 3 else "A2", outcome, cause, f"LMP-00000{number}"), 1.0)
    assert [(one.cause, one.units, round(one.share, 2)) for one in tally.causes()] == [
        ("panic", 2, 0.67),
        ("brownout", 1, 1.0),
    ]
    assert [(one.slot, one.first_pass) for one in tally.slots()] == [("A1", Ratio(0, 3)), ("A2", Ratio(1, 1))]


def test_the_last_fifty() -> None:
    """The last units are kept, the newest first, and no more than fifty."""
    tally = RunTally(("A1",))
    for number in range(60):
        tally.count(ended("A1", serial=f"LMP-{number:06}"), 1.0)
    assert (len(tally.recent), tally.recent[0].serial) == (50, "LMP-000059")
