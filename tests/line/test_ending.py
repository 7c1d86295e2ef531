"""How a step ends, and whose fault an error is."""

from __future__ import annotations

import pytest

from rmfab.board.esp.facts import BoardRefused
from rmfab.errors import BoardConflict, CloneError, InputError, IntegrityError, LedgerError, PortError, UnitFault
from rmfab.ledger.events import Outcome
from rmfab.line.ending import Aborted, Ending, Marginal, Passed, Seen, Skipped, ending_of, judge_error


@pytest.mark.parametrize(
    ("error", "outcome", "cause"),
    [
        (UnitFault("bad", cause="panic"), Outcome.FAIL, "panic"),
        (BoardRefused("no", cause="chip-mismatch"), Outcome.FAIL, "chip-mismatch"),
        (CloneError("twice"), Outcome.FAIL, "clone"),
        (BoardConflict("not its board", cause="mac-mismatch"), Outcome.FAIL, "mac-mismatch"),
        *(
            (IntegrityError("not the unit's fault", cause=cause), Outcome.ERROR, cause)
            for cause in (
                "ledger-corrupt",
                "ledger-replaced",
                "not-pool-holder",
                "sealed",
                "key-revoked",
                "part-digest",
            )
        ),
        (PortError("gone", cause="port-gone"), Outcome.ERROR, "port-gone"),
        (LedgerError("full", cause="ledger-full"), Outcome.ERROR, "ledger-full"),
        (InputError("no release"), Outcome.ERROR, "bad-input"),
        (Aborted(), Outcome.ABORTED, "aborted"),
        (Skipped("not here"), Outcome.SKIP, None),
        (Seen("finished"), Outcome.SEEN, None),
        (ZeroDivisionError("x"), Outcome.ERROR, "bug"),
    ],
)
def test_who_is_to_blame(error, outcome, cause):
    """The unit FAILs, the station ERRs, the operator aborts; a bug counts as the station's."""
    ending = judge_error(error)
    assert (ending.outcome, ending.cause) == (outcome, cause)
    assert ending.reason


def test_what_lets_the_next_step_follow():
    """The next step follows a pass, a marginal pass or a skip; any other outcome ends the unit."""
    good = {Outcome.PASS, Outcome.MARGINAL, Outcome.SKIP}
    assert {outcome for outcome in Outcome if Ending(outcome).good} == good


def test_a_step_that_passed_only_just():
    """A marginal step keeps its measurements and its reason."""
    passed = Passed("stage", {"rssi": -70}, Marginal("weak-signal", "check its antenna"))
    assert ending_of(passed) == Ending(Outcome.MARGINAL, "weak-signal", "check its antenna", {"rssi": -70})
    assert ending_of(Passed("stage", {"rssi": -40})) == Ending(Outcome.PASS, measurements={"rssi": -40})
