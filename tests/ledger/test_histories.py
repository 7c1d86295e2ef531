"""Histories of units, the heads that seal a report, and who did it: in a file and on a server."""

from __future__ import annotations

import pytest

from rmfab.errors import BoardConflict, InputError
from rmfab.ledger import histories
from rmfab.ledger.badge import Badge, bad_name
from rmfab.ledger.claim_terms import Carried, Replacement, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from tests.ledger.workshop import STATION, claim, mac, now


def ended(serial, second, outcome=Outcome.PASS, **fields):
    """Return the verdict of a unit."""
    return Event(now(second), EventKind.UNIT, serial=serial, slot="A1", outcome=outcome, **fields)


def step(serial, second, name, **fields):
    """Return a step of a unit."""
    fields = {"outcome": Outcome.PASS, "seconds": 1.5} | fields
    return Event(now(second), EventKind.STEP, serial=serial, slot="A1", step=name, **fields)


def test_only_units_have_a_history(make_fresh):
    """Identities that were never bound are left out, unless their state is asked for; in order of the batch."""
    ledger = make_fresh(10)
    for board in (3, 1, 2):
        claim(ledger, board)
    assert [one.serial for one in ledger.histories()] == ["LMP-000001", "LMP-000002", "LMP-000003"]
    free = list(ledger.histories("lamp-0001", states=[State.GENERATED]))
    assert [one.serial for one in free] == [f"LMP-{n:06d}" for n in range(4, 11)]
    assert all(one.events == () for one in free)
    with pytest.raises(InputError, match="no batch"):
        list(ledger.histories("fan-0001"))


def test_the_events_of_a_unit_in_order(make_fresh):
    """A history has the steps and verdicts of the unit, and no one else's, with details and chain."""
    ledger = make_fresh(10)
    one, two = (claim(ledger, board).identity.serial for board in (1, 2))
    ledger.record(STATION, [step(one, 1, "flash", state=State.FLASHED), step(two, 1, "boot")])
    ledger.record(STATION, [ended(one, 2, details={"log": "a.log"}), ended(two, 2, Outcome.FAIL, cause="panic")])
    first, second = ledger.histories()
    assert [event.kind for event in first.events] == ["claim", "step", "unit"]
    assert [event.outcome for event in second.events][-1] == "FAIL"
    assert dict(first.events[-1].details) == {"log": "a.log"}
    (head,) = ledger.chain_heads()
    assert {event.chain for event in (*first.events, *second.events)} == {head.chain}
    assert (head.station, head.head.seq, head.merged) == (STATION, 7, False)


def test_histories_since(make_fresh):
    """Since a time: only units to which something happened then or later, with all their events."""
    ledger = make_fresh(10)
    serials = [claim(ledger, board).identity.serial for board in (1, 2)]
    ledger.record(STATION, [ended(serials[1], 100)])
    (late,) = ledger.histories(since=now(100))
    assert (late.serial, len(late.events)) == (serials[1], 2)
    assert list(ledger.histories(since=now(101))) == []


def test_more_units_than_a_page(make_fresh, monkeypatch):
    """Histories go on over the pages in which they are read."""
    monkeypatch.setattr(histories, "PAGE", 20)
    ledger = make_fresh(45)
    for board in range(45):
        claim(ledger, board)
    assert len([one for one in ledger.histories() if len(one.events) == 1]) == 45


def test_runs_before_an_identity(make_fresh):
    """Runs that ended before the board had an identity are counted by slot and cause, in a period."""
    ledger = make_fresh(10)
    for second, slot, cause in ((1, "A1", "no-answer"), (2, "A1", "no-answer"), (3, "A2", "port-absent")):
        ledger.record(STATION, [Event(now(second), EventKind.UNIT, slot=slot, outcome=Outcome.ERROR, cause=cause)])
    found = [(one.slot, one.cause, one.count) for one in ledger.lost_runs()]
    assert found == [("A1", "no-answer", 2), ("A2", "port-absent", 1)]
    assert [one.count for one in ledger.lost_runs(now(2), now(3))] == [1]


def test_verdicts_of_a_station(make_fresh):
    """A period of a station has its units with all their verdicts before, also elsewhere, and what decided about them;
    boards without an identity come first. Steps that passed and proved nothing, and other stations' units, are left
    out."""
    ledger = make_fresh(10)
    one, two, three = (claim(ledger, board).identity.serial for board in (1, 2, 3))
    verified = step(one, 3, "reset", state=State.VERIFIED)
    bad = step(one, 1, "boot", outcome=Outcome.FAIL, cause="panic")
    ledger.record("far", [bad, ended(one, 1, Outcome.FAIL), ended(three, 1)])
    ledger.record(STATION, [ended(two, 2), step(one, 3, "flash", state=State.FLASHED), verified, ended(one, 4)])
    lost = Event(now(5), EventKind.UNIT, mac=mac(9), slot="A2", outcome=Outcome.ERROR, cause="no-answer")
    ledger.record(STATION, [lost, ended(two, 9)])
    found = ledger.station_verdicts(STATION, now(3), now(9))
    assert found[0].mac == mac(9)
    assert [(event.serial, event.station, event.kind, event.step) for event in found] == [
        (None, STATION, "unit", None),
        (one, "far", "step", "boot"),
        (one, "far", "unit", None),
        (one, STATION, "step", "reset"),
        (one, STATION, "unit", None),
    ]
    assert [event.ts for event in ledger.station_verdicts(STATION, now(9), now(99))] == [now(2), now(9)]
    assert ledger.station_verdicts(STATION, now(10), now(99)) == ()
    assert ledger.station_verdicts("none", now(0), now(99)) == ()
    assert [event.station for event in ledger.unit_verdicts(one, now(3))] == ["far", "far"]


def test_every_event_has_its_operator(make_fresh):
    """Claims, steps, voids and labels have the name of who works; a record that was kept elsewhere keeps its own."""
    ledger = make_fresh(10)
    serial = claim(ledger, 1).identity.serial
    ledger.badge = Badge("op-7")
    claim(ledger, 1)
    ledger.record(STATION, [step(serial, 1, "boot"), step(serial, 2, "boot", details={"operator": "op-2"})])
    ledger.badge.pass_to("张伟")
    ledger.labelled([serial], station=STATION, ts=now(3))
    ledger.void(serial, reason="lost", station=STATION, ts=now(4))
    names = [one.event.details.get("operator") for one in ledger.history(serial)]
    assert names == [None, "op-7", "op-7", "op-2", "张伟", "张伟"]
    assert ledger.check() == ()


@pytest.mark.parametrize("name", ["", " ", " op", "op ", "a\nb", "a\tb", "\x1b[31m", "a\u202eb", "x" * 41, "\ud800"])
def test_no_name_of_an_operator(name):
    """A name is short and visible, and has no blanks around it."""
    assert bad_name(name) is not None
    with pytest.raises(InputError):
        Badge().pass_to(name)


def reidentified(ledger, board, old, reason="returned", **fields):
    """Claim for a board that loses *old*."""
    wish = Wish("lamp", replaces=Replacement(old, reason), **fields)
    return ledger.claim(mac(board), wish, station=STATION, ts=now(5), slot="A1", carried=Carried(node_id=f"node-{old}"))


def test_a_board_changes_its_identity_at_once(make_fresh):
    """The void and the claim are one transaction: each names the other, and the MAC has one live unit."""
    ledger = make_fresh(10)
    old = claim(ledger, 1).identity.serial
    ledger.labelled([old], station=STATION, ts=now(1))
    new = reidentified(ledger, 1, old)
    assert (new.identity.serial, new.again, new.restored, new.unknown) == ("LMP-000002", False, False, None)
    assert [one.state for one in ledger.find(mac(1))] == [State.VOID, State.CLAIMED]
    void, made = ledger.history(old)[-1].event, ledger.history("LMP-000002")[0].event
    assert (void.details["successor"], made.details["predecessor"], void.reason) == ("LMP-000002", old, "returned")
    assert ledger.check() == ()
    assert ledger.rebuild() == 0


def test_the_same_claim_again_finds_the_successor(make_fresh):
    """Repeated, the claim gives the board the identity that it got; nothing else is void, and nothing else taken."""
    ledger = make_fresh(10)
    old = claim(ledger, 1).identity.serial
    first, second = reidentified(ledger, 1, old), reidentified(ledger, 1, old)
    assert (first.identity.serial, second.identity.serial, second.again) == ("LMP-000002", "LMP-000002", True)
    assert ledger.free("lamp") == 8
    assert ledger.check() == ()


@pytest.mark.parametrize("case", ["wrong board", "unbound", "unknown", "not its successor", "used up"])
def test_a_board_that_keeps_its_identity(make_fresh, case):
    """On a wrong board, or without a free identity, nothing is changed at all."""
    ledger = make_fresh(2 if case == "used up" else 10)
    old = claim(ledger, 1).identity.serial
    if case in ("wrong board", "used up"):
        claim(ledger, 2)
    if case == "not its successor":
        ledger.void(old, reason="x", station=STATION, ts=now(1))
        claim(ledger, 1)
    before = ledger.counts()
    name = {"unbound": "LMP-000009", "unknown": "LMP-999999"}.get(case, old)
    with pytest.raises((InputError, BoardConflict)):
        reidentified(ledger, 2 if case == "wrong board" else 1, name)
    assert ledger.counts() == before
    assert ledger.check() == ()
