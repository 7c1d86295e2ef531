"""Yield: which runs decide, what counts, and when a slot is worse than the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from rmfab.ledger.events import Outcome
from rmfab.report.yields import Ratio, Tally, deciding, rolled, together


@dataclass(frozen=True)
class Ran:
    """A run with a verdict; *verified*: it proved the unit."""

    outcome: Outcome
    verified: bool = False


PASS, FLASHED = Ran(Outcome.PASS, verified=True), Ran(Outcome.PASS)
FAIL, ERROR, ABORTED = Ran(Outcome.FAIL), Ran(Outcome.ERROR), Ran(Outcome.ABORTED)
MARGINAL = Ran(Outcome.MARGINAL, verified=True)


@pytest.mark.parametrize(
    ("runs", "first", "last"),
    [
        ([PASS], PASS, PASS),
        ([FAIL, PASS], FAIL, PASS),
        ([PASS, FAIL], PASS, FAIL),
        ([ERROR, PASS], PASS, PASS),
        ([ABORTED, ERROR, FAIL], FAIL, FAIL),
        ([PASS, ERROR], PASS, PASS),
        ([FLASHED, FAIL], FAIL, FAIL),
        ([FLASHED, PASS], PASS, PASS),
        ([FLASHED], FLASHED, FLASHED),
        ([MARGINAL], MARGINAL, MARGINAL),
        ([ERROR, ABORTED], None, None),
        ([], None, None),
    ],
)
def test_the_first_pass_and_the_final_verdict(runs: Sequence[Ran], first: Ran | None, last: Ran | None) -> None:
    """ERROR and ABORTED decide nothing, nor does a flash that is verified later; otherwise the first and last run."""
    decided = deciding(runs)
    assert (decided[0] if decided else None) is first
    assert (decided[-1] if decided else None) is last


def test_an_error_is_in_no_yield() -> None:
    """A unit that ended with ERROR is neither passed nor failed; MARGINAL is passed."""
    tally = Tally()
    for outcome in Outcome:
        tally.add(outcome)
    assert (tally.passed, tally.failed) == (2, 1)
    assert together([tally, Tally(1, 1)]).ratio == Ratio(3, 5)


@pytest.mark.parametrize(
    ("passed", "whole", "low", "high"),
    # Literature: Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(passed: int, whole: int, low: float, high: float) -> None:
    """The interval has the published values."""
    interval = Ratio(passed, whole).interval
    assert interval is not None
    assert interval == pytest.approx((low, high), abs=5e-5)


def test_nothing_to_count() -> None:
    """Without units there is no yield, and no interval; it is not 0 %."""
    assert (Ratio(0, 0).value, Ratio(0, 0).interval, rolled([Ratio(0, 0)])) == (None, None, None)


@pytest.mark.parametrize(
    ("passed", "whole", "worse"), [(5, 6, False), (10, 20, True), (19, 20, False), (0, 19, False), (20, 20, False)]
)
def test_a_slot_that_is_worse_than_the_others(passed: int, whole: int, worse: bool) -> None:
    """5 of 6 may be chance, and fewer than 20 boards are never compared; 10 of 20 beside 98 % is no chance."""
    assert Ratio(passed, whole).below(Ratio(98, 100)) is worse
    assert not Ratio(passed, whole).below(Ratio(0, 0))


def test_the_rolled_yield() -> None:
    """It is the product of the yields of the steps; a step that nobody entered does not count."""
    assert rolled([Ratio(9, 10), Ratio(0, 0), Ratio(4, 5)]) == pytest.approx(0.72)
