"""What to do with a board after an interruption: every state of its unit, and what its flash contains."""

from __future__ import annotations

from dataclasses import replace
from itertools import product as combined

import pytest

from rmfab.errors import CloneError, InputError, IntegrityError
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.reconciliation import (
    Action,
    BoardContent,
    FactoryData,
    Finding,
    Known,
    advice_without_board,
    judge_board,
)
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from tests.ledger.workshop import STATION, claim, mac, now, record


def each(*lists):
    """Return every combination."""
    return list(combined(*lists))


BOARD, OTHER = mac(1), mac(2)
BLANK, UNREADABLE, PART, WHOLE, NAMED = FactoryData
LIVE = [State.CLAIMED, State.FLASHED, State.VERIFIED, State.FAILED]


def unit(serial: str, state: State, board: str | None = None, **standing: object) -> LedgerIdentity:
    """Return an identity of the ledger in *state*."""
    stands = Standing(state, board, attempts=int(board is not None), claimed_ts=now() if board else None)
    return LedgerIdentity(record(serial), replace(stands, **standing), "lamp-0001", "lamp", 0, 1)  # type: ignore[arg-type]


def judged(held, factory, *carried, firmware=None, **known):
    """Return action and finding for a board."""
    verdict = judge_board(BoardContent(BOARD, factory, firmware), Known(held, carried, "lamp", **known))
    return verdict.action, verdict.finding


EXPECTED = {
    # what the flash contains: nothing, no identity, a part of its own identity, its whole own identity
    State.CLAIMED: [Finding.NOT_WRITTEN, Finding.CUT_SHORT, Finding.CUT_SHORT, Finding.NOT_VERIFIED],
    State.FLASHED: [Finding.NOT_WRITTEN, Finding.CUT_SHORT, Finding.CUT_SHORT, Finding.NOT_VERIFIED],
    State.VERIFIED: [Finding.NOT_WRITTEN, Finding.CUT_SHORT, Finding.CUT_SHORT, Finding.VERIFIED],
    State.FAILED: [Finding.NOT_WRITTEN, Finding.CUT_SHORT, Finding.CUT_SHORT, Finding.FAILED],
}


@pytest.mark.parametrize(("state", "number"), each(LIVE, range(4)))
def test_its_own_identity_or_none(state, number):
    """A unit whose flash names only itself, or nothing, is run again; a verified and whole one is in order."""
    held = unit("A", state, BOARD)
    factory = (BLANK, UNREADABLE, PART, WHOLE)[number]
    action, finding = judged(held, factory, *([held] if factory in (PART, WHOLE) else []))
    assert finding is EXPECTED[state][number]
    assert action is (Action.IN_ORDER if finding is Finding.VERIFIED else Action.RESUME)


@pytest.mark.parametrize(("held", "state", "factory"), each([*LIVE, None], [*LIVE, State.VOID], [PART, WHOLE, NAMED]))
def test_the_identity_of_a_different_board(held, state, factory):
    """Whatever the board is in the ledger: if its flash names an identity of a different board, it is set aside."""
    own = None if held is None else unit("A", held, BOARD)
    assert judged(own, factory, unit("B", state, OTHER)) == (Action.QUARANTINE, Finding.CLONE)
    assert judged(own, factory, *([own] if own else []), unit("B", state, OTHER)) == (Action.QUARANTINE, Finding.CLONE)


@pytest.mark.parametrize(
    ("held", "carried", "factory"),
    each([*LIVE, None], [State.GENERATED, State.QUARANTINED], [PART, WHOLE, NAMED]),
)
def test_an_identity_that_no_board_has(held, carried, factory):
    """A board without an identity is run: it gets the one that it carries. One with an identity is set aside, unless
    its claim was provably never written."""
    own = None if held is None else unit("A", held, BOARD)
    if own is None:
        expected = Action.RESUME, Finding.CARRIED
    elif held is State.CLAIMED and factory is WHOLE:
        expected = Action.RELEASE, Finding.UNWRITTEN_CLAIM
    else:
        expected = Action.QUARANTINE, Finding.CONFLICT
    assert judged(own, factory, unit("B", carried)) == expected


@pytest.mark.parametrize(
    ("changes", "of_other", "known"),
    [
        ({"attempts": 2}, {}, {}),
        ({"labelled_count": 1}, {}, {}),
        ({}, {"product": "fan"}, {}),
        ({}, {}, {"open_batches": frozenset({"lamp-0001"})}),
    ],
)
def test_a_claim_is_released_only_if_it_was_never_written(changes, of_other, known):
    """One that was claimed twice, has a label, or whose board could not get the other identity, is not given up."""
    held = unit("A", State.CLAIMED, BOARD, **changes)
    carried = replace(unit("B", State.GENERATED), **of_other)
    assert judged(held, WHOLE, carried, **known) == (Action.QUARANTINE, Finding.CONFLICT)


@pytest.mark.parametrize("factory", [PART, WHOLE, NAMED])
def test_two_identities_on_one_board(factory):
    """Parts of two identities that are not void set the board aside; a void one beside its own does not count."""
    own, free = unit("A", State.CLAIMED, BOARD), unit("B", State.GENERATED)
    assert judged(own, factory, own, free) == (Action.QUARANTINE, Finding.MIXED)
    assert judged(None, factory, free, unit("C", State.QUARANTINED)) == (Action.QUARANTINE, Finding.MIXED)
    assert judged(own, factory, own, unit("V", State.VOID, BOARD))[0] is Action.RESUME


@pytest.mark.parametrize("held", [None, *LIVE])
def test_an_identity_that_is_handed_over(held):
    """A board that carries one is set aside, whatever it is here: it may be a unit of the factory that has it."""
    ours = None if held is None else unit("A", held, BOARD)
    for content in (PART, WHOLE):
        gone = unit("B", State.HANDED_OVER)
        assert judged(ours, content, gone) == (Action.QUARANTINE, Finding.HANDED_OVER)


def test_void_and_unknown_identities():
    """What is void or not of this ledger sets a board aside; the next run of a unit overwrites its board's void one."""
    void = unit("V", State.VOID, BOARD)
    assert judged(None, WHOLE, void) == (Action.QUARANTINE, Finding.VOID)
    assert judged(None, PART, void) == (Action.QUARANTINE, Finding.VOID)
    assert judged(None, PART) == (Action.QUARANTINE, Finding.UNKNOWN)
    assert judged(None, UNREADABLE) == (Action.QUARANTINE, Finding.UNREADABLE)
    assert judged(None, BLANK) == (Action.IN_ORDER, Finding.NEW)
    for state in LIVE:
        assert judged(unit("A", state, BOARD), PART, void) == (Action.RESUME, Finding.VOID_REMAINS)
        assert judged(unit("A", state, BOARD), PART) == (Action.QUARANTINE, Finding.UNKNOWN)


def test_other_products_and_open_batches():
    """An identity for a different product, or of a batch that is not finished, is nothing to run."""
    fan = replace(unit("A", State.CLAIMED, BOARD), product="fan")
    assert judged(fan, BLANK) == (Action.QUARANTINE, Finding.OTHER_PRODUCT)
    carried = replace(unit("B", State.GENERATED), product="fan")
    assert judged(None, WHOLE, carried) == (Action.QUARANTINE, Finding.OTHER_PRODUCT)
    batch = frozenset({"lamp-0001"})
    free = unit("B", State.GENERATED)
    assert judged(None, WHOLE, free, open_batches=batch) == (Action.QUARANTINE, Finding.OPEN_BATCH)


def test_firmware():
    """A verified unit with a different firmware is run again; what was not compared is not held against it."""
    held = unit("A", State.VERIFIED, BOARD)
    assert judged(held, WHOLE, held, firmware=False) == (Action.RESUME, Finding.OTHER_FIRMWARE)
    assert judged(held, WHOLE, held, firmware=True)[0] is Action.IN_ORDER
    assert judged(held, NAMED, held)[0] is Action.IN_ORDER


@pytest.mark.parametrize("factory", FactoryData)
@pytest.mark.parametrize("held", [*LIVE, None])
def test_a_ledger_that_does_not_hold_the_pool(held, factory):
    """It sends no board back to the line: what was given since is not in it."""
    own = None if held is None else unit("A", held, BOARD)
    for carried in ([], [own] if own else [], [unit("B", State.GENERATED)]):
        action, _ = judged(own, factory, *carried, holds_pool=False)
        assert action in (Action.IN_ORDER, Action.QUARANTINE)


def test_without_a_board():
    """A unit in the middle is to be run, and only a flashed one may be verified instead."""
    assert "rmfab verify" not in advice_without_board(unit("A", State.CLAIMED, BOARD))
    assert "rmfab verify" in advice_without_board(unit("A", State.FLASHED, BOARD))


# The promises of the judge, against the rules of the claim.

STEPS = {
    State.CLAIMED: [],
    State.FLASHED: [State.FLASHED],
    State.VERIFIED: [State.FLASHED, State.VERIFIED],
    State.FAILED: [State.FAILED],
}


def carries(ledger, *serials):
    """Return what a flash with these serials carries: one by node id, one by `random`."""
    found = [ledger.identity_by_serial(serial) for serial in serials]
    if not found:
        return None
    return Carried(found[0].node_id, found[-1].record.random_sha256)


CASES = [
    (),
    ("LMP-000001",),
    ("LMP-000002",),
    ("LMP-000003",),
    ("LMP-000004",),
    ("LMP-000005",),
    ("LMP-000001", "LMP-000003"),
]
"""1: the board's own if it has one, 2: of a different board, 3: free, 4: void and of this board, 5: void and free."""


@pytest.mark.slow
@pytest.mark.parametrize(("state", "flash"), each([*LIVE, None], CASES))
def test_the_line_does_what_is_promised(make_fresh, state, flash):
    """If a board may be run, its claim gives the serial that was promised; a clone or a mixture is refused; after a
    release, the claim gives what the flash carries. The ledger stays sound."""
    ledger = make_fresh(10)
    void = ledger.claim(BOARD, Wish("lamp", serial="LMP-000004"), station=STATION, ts=now()).identity
    ledger.void(void.serial, reason="dead", station=STATION, ts=now())
    ledger.void("LMP-000005", reason="dead", station=STATION, ts=now())
    ledger.claim(OTHER, Wish("lamp", serial="LMP-000002"), station=STATION, ts=now())
    if state is not None:
        ledger.claim(BOARD, Wish("lamp", serial="LMP-000001"), station=STATION, ts=now())
        for then in STEPS[state]:
            outcome = Outcome.FAIL if then is State.FAILED else Outcome.PASS
            step = Event(now(), EventKind.STEP, serial="LMP-000001", mac=BOARD, step="x", outcome=outcome, state=then)
            ledger.record(STATION, [step])
    carried = carries(ledger, *flash)
    named = () if carried is None else ledger.identities_carried(carried)
    assert {one.serial for one in named} == set(flash)
    held = ledger.identity_by_mac(BOARD)
    content = BoardContent(BOARD, WHOLE if flash else BLANK)
    verdict = judge_board(content, Known(held, named, "lamp"))
    if verdict.action is Action.RELEASE:
        voided = Event(now(), EventKind.VOID, serial="LMP-000001", mac=BOARD, state=State.VOID)
        seen = {one.serial: one.standing for one in (held, *named)}
        ledger.reconciled([voided], seen, station=STATION)
        promised = flash[0]
    else:
        promised = verdict.serial
    gives = lambda: ledger.claim(BOARD, Wish("lamp"), station=STATION, ts=now(), carried=carried).identity.serial  # noqa: E731
    if verdict.action in (Action.RESUME, Action.RELEASE):
        assert gives() == promised
    elif verdict.finding in (Finding.CLONE, Finding.MIXED, Finding.CONFLICT):
        with pytest.raises(CloneError if verdict.finding is Finding.CLONE else IntegrityError):
            gives()
    elif verdict.finding is Finding.VERIFIED:
        assert gives() == "LMP-000001"
    else:
        assert verdict.finding in (Finding.NEW, Finding.VOID)
        assert gives() not in ("LMP-000002", "LMP-000004", "LMP-000005")
    assert ledger.check() == ()
    assert ledger.rebuild() == 0


def test_a_finding_is_an_event(make_fresh):
    """What was found is in the history of the serial and of the board, and changes no state; also of a clone."""
    ledger = make_fresh(10)
    given = claim(ledger, 1).identity
    found = Event(now(), EventKind.RECONCILE, serial=given.serial, mac=OTHER, reason="quarantine: a clone")
    ledger.reconciled([found], {given.serial: given.standing}, station=STATION)
    assert ledger.history(OTHER)[-1].event.reason == "quarantine: a clone"
    assert ledger.history(given.serial)[-1].event.kind is EventKind.RECONCILE
    assert ledger.identity_by_serial(given.serial).standing == given.standing
    assert ledger.check() == ()
    with pytest.raises(ValueError, match="findings"):
        ledger.reconciled([replace(found, kind=EventKind.STEP)], {}, station=STATION)


def test_a_unit_that_changed_meanwhile(make_fresh):
    """If a unit was changed after its board was read, nothing is recorded."""
    ledger = make_fresh(10)
    given = claim(ledger, 1).identity
    seen = {given.serial: given.standing}
    claim(ledger, 1)
    with pytest.raises(InputError) as caught:
        ledger.reconciled([Event(now(), EventKind.VOID, serial=given.serial, state=State.VOID)], seen, station=STATION)
    assert caught.value.cause == "changed-meanwhile"
    assert ledger.identity_by_serial(given.serial).state is State.CLAIMED


def test_units_in_the_middle(make_fresh):
    """Only those that are claimed or flashed are listed, oldest first."""
    ledger = make_fresh(10)
    for board, states in enumerate(STEPS.values()):
        serial = claim(ledger, board).identity.serial
        for state in states:
            ledger.record(STATION, [Event(now(), EventKind.STEP, serial=serial, step="x", state=state)])
    assert [one.serial for one in ledger.unfinished()] == ["LMP-000001", "LMP-000002"]
