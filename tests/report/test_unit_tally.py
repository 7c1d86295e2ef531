"""The tally of units: units, not visits; the first run that decides is the first pass; the past comes at any time."""

from __future__ import annotations

from itertools import permutations

from hypothesis import example, given
from hypothesis import strategies as st

from rmfab.ledger.events import Outcome
from rmfab.ledger.states import State
from rmfab.line.events import Step, StepEnded
from rmfab.report.first_passes import CauseShare
from rmfab.report.unit_tally import UnitTally, UnitVerdict, percent
from rmfab.report.yields import Ratio
from tests.screen.stage import at, ended

PASS, FAIL, ERROR, ABORTED, SEEN = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN


def verdict(minute: int, unit: str, outcome: Outcome = PASS, **fields: object) -> UnitVerdict:
    """Return a verdict at a minute of an hour; one that passes has verified its unit."""
    made = UnitVerdict(
        f"2026-01-01T10:{minute:02}:00.000Z", unit, "A1", outcome, outcome is PASS, None, None, None, 9.0
    )
    return made._replace(**fields)  # type: ignore[arg-type]


def tally(*verdicts: UnitVerdict) -> UnitTally:
    """Return a tally of *verdicts*."""
    made = UnitTally()
    for one in verdicts:
        made.add(one)
    return made


def test_units_are_counted_once() -> None:
    """A unit that fails and passes later is one unit: its last verdict counts, its first decides the yield."""
    found = tally(verdict(1, "a", FAIL), verdict(2, "a"), verdict(3, "b"))
    assert (found.units, dict(found.verdicts())) == (2, {PASS: 2})
    assert (found.first_pass(), found.first_pass("2026-01-01T10:02:30")) == (Ratio(1, 2), Ratio(1, 1))


def test_errors_are_the_stations() -> None:
    """An ERROR or an abort is no attempt of the unit."""
    found = tally(verdict(1, "a", ERROR), verdict(2, "a", ABORTED))
    assert (found.first_pass(), percent(found.first_pass())) == (Ratio(0, 0), "-")
    assert found.spoilt() == {("A1", ERROR): 1, ("A1", ABORTED): 1}
    found.add(verdict(3, "a"))
    assert (percent(found.first_pass()), dict(found.verdicts())) == ("100.0 %", {PASS: 1})


def test_a_board_that_was_not_recognized() -> None:
    """It counts as long as its slot had no other board, and once for each slot."""
    lost = (verdict(1, "", ERROR), verdict(2, "", ERROR), verdict(2, "", ERROR, slot="A2"))
    assert dict(tally(*lost).verdicts()) == {ERROR: 2}
    assert dict(tally(*lost, verdict(3, "a")).verdicts()) == {ERROR: 1, PASS: 1}


def test_what_only_flashes_decides_nothing_once_a_run_proves() -> None:
    """A run that did not verify its unit is its first pass only as long as none did."""
    flashed = verdict(1, "a", verified=False)
    assert tally(flashed).first_pass() == Ratio(1, 1)
    assert tally(flashed, verdict(2, "a", FAIL)).first_pass() == Ratio(0, 1)


def test_a_finished_unit_that_comes_back() -> None:
    """It keeps its verdict, and has none of its own if it was finished before all that is known."""
    assert dict(tally(verdict(1, "a"), verdict(2, "a", SEEN)).verdicts()) == {PASS: 1}
    assert dict(tally(verdict(2, "a", SEEN), verdict(1, "a")).verdicts()) == {PASS: 1}
    assert dict(tally(verdict(2, "a", SEEN)).verdicts()) == {SEEN: 1}


def test_a_board_without_an_identity_is_no_first_pass() -> None:
    """A board that was rejected before it got an identity is counted as FAIL, but in no yield."""
    found = tally(verdict(1, "24:0a:c4:00:00:01", FAIL, bound=False), verdict(2, "a"))
    assert (dict(found.verdicts()), found.first_pass(), found.first_passes().pareto()) == (
        {FAIL: 1, PASS: 1},
        Ratio(1, 1),
        (),
    )


def test_a_first_pass_elsewhere_or_earlier() -> None:
    """A unit that had its first pass at a different station, or before, does not have it here and now."""
    here = verdict(9, "a")
    assert tally(here, verdict(1, "a", FAIL, elsewhere=True)).first_pass() == Ratio(0, 0)
    early = tally(here)
    early.add_first(verdict(1, "a", FAIL))
    assert (early.first_pass("2026-01-01T10:05"), early.first_pass()) == (Ratio(0, 0), Ratio(0, 1))
    assert len(early.recent) == 1


def test_a_new_day() -> None:
    """What was before is forgotten, but not that a unit has had its first pass."""
    found = tally(verdict(1, "a", FAIL), verdict(2, "b", ERROR), verdict(20, "c"))
    found.forget("2026-01-01T10:10")
    assert (dict(found.verdicts()), found.first_pass(), found.spoilt()) == ({PASS: 1}, Ratio(1, 1), {})
    found.add(verdict(30, "a"))
    assert (dict(found.verdicts()), found.first_pass()) == ({PASS: 2}, Ratio(1, 1))


def test_causes_and_slots() -> None:
    """Causes come by step and number, with the share that they make together; each slot has its own yield."""
    found = tally(
        verdict(1, "a", FAIL, step="boot", cause="panic"),
        verdict(2, "b", FAIL, step="boot", cause="brownout"),
        verdict(3, "c", FAIL, step="boot", cause="panic"),
        verdict(4, "d", slot="A2"),
    ).first_passes()
    assert found.pareto() == (CauseShare("boot", "panic", 2, 2 / 3, 2 / 3), CauseShare("boot", "brownout", 1, 1 / 3, 1))
    assert {slot: one.ratio for slot, one in found.slots.items()} == {"A1": Ratio(0, 3), "A2": Ratio(1, 1)}
    assert found.others("A1") == Ratio(1, 1)


def test_the_events_of_a_line() -> None:
    """A verdict of the line has its steps: whether they verified the unit, and which one decided."""
    found = UnitTally()
    for step, outcome, cause, state in (
        (Step.FLASH, PASS, None, State.FLASHED),
        (Step.BOOT, FAIL, "panic", State.FAILED),
    ):
        found.note(StepEnded(*at("A1"), step, outcome, cause, None, 1.0, {}, state))
    found.note(ended("A1", FAIL, "panic"))
    found.note(StepEnded(*at("A1", "LMP-000002"), Step.RESET, PASS, None, None, 1.0, {}, State.VERIFIED))
    found.note(ended("A1", serial="LMP-000002"))
    assert [(one.unit, one.step, one.verified) for one in found.recent] == [
        ("LMP-000001", "boot", False),
        ("LMP-000002", None, True),
    ]


def test_the_last_fifty() -> None:
    """The last verdicts are kept in the order of their times, and no more than fifty."""
    found = tally(*(verdict(number, f"u{number}") for number in (*range(30, 60), *range(30))))
    assert (len(found.recent), found.recent[-1].unit, found.recent[0].unit) == (50, "u59", "u10")


VERDICTS = st.builds(
    verdict,
    st.integers(0, 59),
    st.sampled_from(["a", "b", ""]),
    st.sampled_from([PASS, FAIL, ERROR, SEEN]),
    verified=st.booleans(),
    elsewhere=st.booleans(),
    slot=st.sampled_from(["A1", "A2"]),
)


@given(st.lists(VERDICTS, max_size=4, unique_by=lambda one: one.ts))
@example([verdict(0, "", SEEN), verdict(1, "a"), verdict(2, "", SEEN)])
def test_the_order_does_not_matter(verdicts: list[UnitVerdict]) -> None:
    """Whether the past comes before, between or after the verdicts of a line: the numbers are the same."""
    found = {
        (tuple(sorted(one.verdicts().items())), one.first_pass(), tuple(sorted(one.spoilt().items())))
        for one in (tally(*some) for some in permutations(verdicts))
    }
    assert len(found) == 1
