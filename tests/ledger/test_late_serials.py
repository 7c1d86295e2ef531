"""Identities that get their serial with their board: names in the pool, claims, uniqueness, events, audit."""

import sqlite3

import psycopg
import pytest

from rmfab.errors import InputError
from rmfab.identity.sealed_record import is_pool_name, pool_name
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.tampering import change
from tests.ledger.workshop import STATION, cause_of, digest, mac, make, now, order, record


@pytest.fixture
def ledger(place):
    """A ledger with a batch of five identities without serials."""
    with Ledger.open(place, create=True) as opened:
        late(opened)
        yield opened


def late(ledger, name="lamp-0001", size=5):
    batch = ledger.begin_batch(order(name, size, serial_of=None, policy={"serials": "{scan}"}), now())
    for plan in ledger.missing_chunks(batch):
        records = [record(pool_name(name, position)) for position in range(plan.first, plan.first + plan.count)]
        assert ledger.add_chunk(batch, plan.number, b"key", records) == ()
    return ledger.close_batch(batch, STATION, now())


def claim(ledger, board, given=None, *, gives=True, carried=None, **wish):
    return ledger.claim(
        mac(board), Wish("lamp", gives=gives, given=given, **wish), station=STATION, ts=now(), carried=carried
    )


def passed(ledger, serial):
    states = (State.FLASHED, State.VERIFIED)
    ledger.record(
        STATION, [Event(now(), EventKind.STEP, serial=serial, outcome=Outcome.PASS, state=one) for one in states]
    )


@pytest.mark.parametrize(
    ("name", "good"),
    [("lamp-0001#1", True), ("a#10", True), ("#1", False), ("a#0", False), ("a#01", False), ("a b#1", False),
     ("a#1\n", False), ("a#b", False), ("x" * 62 + "#1", True), ("x" * 63 + "#1", False), ("LMP-1", False)],
)  # fmt: skip
def test_pool_names(name, good):
    """A name in the pool is a batch, `#` and a number from 1; it has at most 64 characters, and is never a serial."""
    assert is_pool_name(name) is good


def test_the_serial_comes_with_the_claim(ledger):
    """Before the claim an identity has its name in the pool; from then on everything works by its serial."""
    assert [one.serial for one in ledger.identities("lamp-0001")] == [f"lamp-0001#{n}" for n in range(1, 6)]
    claimed = claim(ledger, 1, "SN-A").identity
    assert (claimed.serial, claimed.name, claimed.unnamed) == ("SN-A", "lamp-0001#1", False)
    passed(ledger, "SN-A")
    ledger.labelled(["SN-A"], station=STATION, ts=now())
    unit = ledger.identity_by_serial("SN-A")
    assert (unit.state, unit.mac, unit.standing.labelled_count) == (State.VERIFIED, mac(1), 1)
    for term in ("SN-A", "lamp-0001#1", "node-lamp-0001#1", mac(1)):
        assert [one.serial for one in ledger.find(term)] == ["SN-A"]
        assert [told.event.kind.value for told in ledger.history(term)] == ["claim", "step", "step", "label"]
    (gone,) = ledger.void("SN-A", reason="x", station=STATION, ts=now())
    assert (gone.serial, gone.state) == ("SN-A", State.VOID)
    assert ledger.check() == ()


def test_the_same_board_keeps_its_serial(ledger):
    """A board that comes back has its serial without any code; a different code for it is an error."""
    claim(ledger, 1, "SN-A")
    for given in (None, "SN-A"):
        assert claim(ledger, 1, given).identity.serial == "SN-A"
    with pytest.raises(InputError, match="this board is SN-A, not SN-B") as caught:
        claim(ledger, 1, "SN-B")
    assert caught.value.cause == "serial-mismatch"
    assert ledger.identity_by_serial("SN-A").standing.attempts == 3


def test_a_serial_is_given_once(ledger):
    """A serial that a live unit has is refused with that unit's state, board and batch, and the identity stays free."""
    claim(ledger, 1, "SN-A")
    for serial, board in (("SN-A", mac(1)), ("LMP-000003", "no board")):
        make(ledger, "counted", size=3) if serial != "SN-A" else None
        with pytest.raises(InputError, match=f"serial {serial} belongs to a different unit: .*{board}") as caught:
            claim(ledger, 2, serial, batch="lamp-0001")
        assert caught.value.cause == "serial-taken"
    assert ledger.free("lamp", "lamp-0001") == 4
    assert ledger.identity_by_mac(mac(2)) is None
    assert claim(ledger, 2, "SN-B", batch="lamp-0001").identity.name == "lamp-0001#2"
    assert ledger.check() == ()


def test_the_database_refuses_a_second_one(ledger, place):
    """Two live units with one serial are a constraint of the database, whatever the rules do."""
    claim(ledger, 1, "SN-A")
    claim(ledger, 2, "SN-B")
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError), match="given_serial"):
        change(place, "UPDATE identity SET given_serial = 'SN-A' WHERE given_serial = 'SN-B'")


def test_a_void_unit_frees_its_serial(ledger):
    """After a void, the code on the carrier names the board's new identity; the trace shows both."""
    claim(ledger, 1, "SN-A")
    ledger.void("SN-A", reason="module dead", station=STATION, ts=now())
    assert ledger.identity_by_serial("SN-A") is None
    again = claim(ledger, 2, "SN-A").identity
    assert (again.name, again.serial) == ("lamp-0001#2", "SN-A")
    assert [one.state.value for one in ledger.find("SN-A")] == ["void", "claimed"]
    assert len(ledger.history("SN-A")) == 3
    passed(ledger, "SN-A")
    assert ledger.identity_by_serial("SN-A").state is State.VERIFIED
    assert [one.name for one in ledger.void("SN-A", reason="x", station=STATION, ts=now())] == ["lamp-0001#2"]
    assert ledger.check() == ()


def test_a_serial_of_a_unit_is_not_generated(ledger):
    """`generate` does not make a serial that a board brought: a counter skips it, and a given one is an error."""
    claim(ledger, 1, "LMP-000002")
    batch = ledger.begin_batch(order("counted", 3), now())
    assert batch.first_n == 3
    batch = ledger.begin_batch(order("given", 1, serial_of=None), now())
    with pytest.raises(InputError, match=r"LMP-000002.*lamp-0001"):
        ledger.add_chunk(batch, 0, b"key", [record("LMP-000002")])


@pytest.mark.parametrize(
    ("wish", "cause"),
    [
        ({"gives": True, "given": None}, "no-serial"),
        ({"gives": False}, "policy-mismatch"),
        ({"gives": True, "given": "SN-A", "batch": "counted"}, "policy-mismatch"),
        ({"gives": True, "given": "SN-A", "serial": "SN-B"}, "no-serial"),
    ],
)
def test_claims_without_the_right_serial(ledger, wish, cause):
    """A claim without a code, or one of a batch that does not fit product.toml, is an error and takes nothing."""
    make(ledger, "counted", size=3)
    with pytest.raises(InputError) as caught:
        claim(ledger, 1, **wish)
    assert caught.value.cause == cause
    assert ledger.free("lamp") == 8


def test_the_requested_serial_may_be_new(ledger):
    """`--serial` with the code of a new board takes a free identity; with that of a unit, only that unit."""
    assert claim(ledger, 1, "SN-A", serial="SN-A").identity.name == "lamp-0001#1"
    assert claim(ledger, 1, None, serial="SN-A").again
    with pytest.raises(InputError) as caught:
        claim(ledger, 2, "SN-A", serial="SN-A")
    assert caught.value.cause == "serial-taken"


def test_quarantine_keeps_the_rules(ledger):
    """A quarantined identity gets its serial from the board that carries it, and not one that a unit has."""
    claim(ledger, 1, "SN-A")
    assert ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now()).quarantined == 4
    carried = Carried("node-lamp-0001#3", digest("random lamp-0001#3"))
    with pytest.raises(InputError) as caught:
        claim(ledger, 3, "SN-A", carried=carried)
    assert caught.value.cause == "serial-taken"
    claimed = claim(ledger, 3, "SN-C", carried=carried)
    assert (claimed.restored, claimed.identity.serial) == (True, "SN-C")
    assert ledger.check() == ()


def test_a_serial_comes_back_from_history(ledger, place):
    """A serial that was edited in the database is found by `check`, and `rebuild` takes it from the events."""
    claim(ledger, 1, "SN-A")
    claim(ledger, 2, "SN-B")
    change(
        place,
        "UPDATE identity SET given_serial = NULL WHERE given_serial = 'SN-A'",
        "UPDATE identity SET given_serial = 'SN-A' WHERE given_serial = 'SN-B'",
    )
    assert {one.where for one in ledger.check()} == {"lamp-0001#1", "lamp-0001#2"}
    assert cause_of(claim, ledger, 1) == "ledger-corrupt"
    assert ledger.rebuild() == 2
    assert ledger.check() == ()
    assert ledger.identity_by_mac(mac(2)).serial == "SN-B"
