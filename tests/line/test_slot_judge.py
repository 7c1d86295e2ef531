"""The judge of a slot: when its boards are its own fault."""

from __future__ import annotations

import pytest

from rmfab.ledger.events import Outcome
from rmfab.line.slot_judge import KEPT_BOARDS, SeenBoard, is_slots_fault, reason_to_lock, with_board
from rmfab.report.yields import Ratio

PASS, FAIL, ERROR = (Outcome.PASS, None), Outcome.FAIL, Outcome.ERROR


def worse(slot, others):
    """Return whether a yield is below the others'."""
    return Ratio(*slot).below(Ratio(*others))


def boards(*endings, start=0):
    """Return what a slot has seen: a new board per ending, an outcome with its cause."""
    recent = ()
    for number, (outcome, cause) in enumerate(endings, start):
        recent = with_board(recent, SeenBoard(f"mac-{number}", outcome, cause))
    return recent


ROWS = {
    "three in a row": ([(FAIL, "silent")] * 3, "3 boards in a row ended with FAIL (silent): a worn pin?"),
    "two in a row": ([(FAIL, "silent")] * 2, None),
    "a good one between": ([(FAIL, "silent")] * 2 + [PASS] + [(FAIL, "silent")], None),
    "three causes": ([(FAIL, "silent"), (FAIL, "panic"), (FAIL, "no-qr")], None),
    "three of four": ([(FAIL, "panic")] + [(FAIL, "silent")] * 3, "3 boards in a row"),
    "two brown-outs": ([(FAIL, "brownout")] * 2, "2 boards in a row ended with FAIL (brownout)"),
    "a brown-out": ([(FAIL, "brownout")], None),
    "the slot's fault": ([PASS, (ERROR, "slot-fault")], "several boards of one slot have a fault that"),
    "a contact": ([(ERROR, "answer-stopped")] * 3, "3 boards in a row ended with ERROR (answer-stopped)"),
    "errors of the station": ([(ERROR, "ledger-away")] * 5, None),
    "a restart may help": ([(ERROR, "unreachable")] * 5, None),
    "no boards": ([], None),
}


@pytest.mark.parametrize(("endings", "reason"), ROWS.values(), ids=ROWS)
def test_rows(endings, reason):
    """Three boards in a row with one cause lock a slot, two with a brown-out; errors of the station do not."""
    said = reason_to_lock("A1", {"A1": boards(*endings), "A2": ()}, worse)
    assert (said or "").startswith(reason) if reason else said is None


def test_the_same_board_again_is_one_board():
    """A board that fails three times on a slot is a bad board, not a bad slot; its first verdict is what counts."""
    recent = ()
    for outcome, cause in [(FAIL, "silent")] * 3:
        recent = with_board(recent, SeenBoard("mac", outcome, cause))
    assert reason_to_lock("A1", {"A1": recent}, worse) is None
    recent = with_board(recent, SeenBoard("mac", Outcome.PASS))
    assert recent == (SeenBoard("mac", Outcome.PASS, None, FAIL),)


def test_what_all_slots_share():
    """If the last boards of other slots end with the same cause, the reason asks about parts and release first."""
    seen = {"A1": boards(*[(FAIL, "silent")] * 3), "A2": boards((FAIL, "silent"), start=9)}
    assert str(reason_to_lock("A1", seen, worse)).endswith("as on A2: parts or release?")


YIELDS = {  # passed and failed on the slot and on the others
    "far below": ((12, 8), (95, 5), True),
    "as the others": ((19, 1), (95, 5), False),
    "five of six": ((5, 1), (200, 0), False),
    "nineteen boards": ((5, 14), (200, 0), False),
    "by chance": ((18, 2), (96, 4), False),
    "few others": ((12, 8), (19, 0), False),
    "nobody else": ((5, 20), (0, 0), False),
    "all bad": ((10, 10), (50, 50), False),
}


@pytest.mark.parametrize(("own", "others", "locks"), YIELDS.values(), ids=YIELDS)
def test_yield(own, others, locks):
    """A slot of which at least 20 boards are known is locked if its interval lies below the others' yield."""

    def seen(counts, start):
        bad = [(FAIL, f"cause-{number}") for number in range(counts[1])]
        return boards(*bad, *[PASS] * counts[0], start=start)

    said = reason_to_lock("A1", {"A1": seen(own, 0), "A2": seen(others, 1000)}, worse)
    assert (said is not None) is locks, said
    if said is not None:
        assert said == "12 of 20 boards passed at first, 95 % on the others: a worn pin?"


def test_a_board_that_came_from_a_different_slot():
    """The first pass of a board is on the slot where it had its first run; errors are no pass."""
    recent = with_board((), SeenBoard("mac", Outcome.PASS), elsewhere=True)
    assert recent[0].first is None
    recent = with_board((), SeenBoard("mac", ERROR, "noise"))
    assert recent[0].first is None
    assert with_board(recent, SeenBoard("mac", Outcome.PASS))[0].first is Outcome.PASS
    flashed = with_board(recent, SeenBoard("mac", Outcome.PASS), decides=False)
    assert flashed[0].first is None, "it was only flashed"
    assert with_board(flashed, SeenBoard("mac", FAIL, "silent"))[0].first is FAIL


def test_old_boards_are_forgotten():
    """A slot is judged by its last boards."""
    assert len(boards(*[PASS] * (KEPT_BOARDS + 20))) == KEPT_BOARDS


def test_whose_fault_a_brownout_is():
    """The second board with a brown-out among the last of a slot is the slot's fault; other causes never are."""
    before = boards((FAIL, "brownout"), PASS, PASS)
    assert is_slots_fault(before, "new", "brownout")
    assert not is_slots_fault(before, "mac-0", "brownout"), "the same board again"
    assert not is_slots_fault((), "new", "brownout")
    assert not is_slots_fault(boards(*[(FAIL, "silent")] * 5), "new", "silent")
    assert not is_slots_fault(boards((FAIL, "brownout"), *[PASS] * 9), "new", "brownout"), "long ago"
