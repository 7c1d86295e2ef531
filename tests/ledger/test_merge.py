"""Merging the chains of a factory: what it may say, and what no honest ledger would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rmfab.errors import InputError, IntegrityError
from rmfab.ledger.chains import genesis
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.handovers import Terms
from rmfab.ledger.host_record import Head
from rmfab.ledger.merge import Merged, Receiver, Returned
from rmfab.ledger.receipts import Span
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.ledger.stored_events import FIELDS, canonical, chain_hash
from tests.ledger.test_late_serials import late as late_batch
from tests.ledger.workshop import STATION, claim, fresh, mac, now

FACTORY, CHAIN = "f" * 32, "c" * 32
TERMS = Terms("factory", "print", "age1", "pem", "2099-01-01T00:00:00.000Z")
RECEIVER = Receiver(FACTORY, "a" * 32, now())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An owner's ledger of ten: three are in handover 1, one in handover 2, one on a board."""
    with fresh(tmp_path) as made:
        for count in (3, 1):
            made.exchange.hand_over("lamp-0001", count, TERMS, station=STATION, ts=now(), write=lambda *_: None)
        claim(made, 5)
        yield made


def event(kind: str, serial: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the columns of an event of the factory."""
    given = {"ts": now(), "kind": kind, "serial": serial, "batch": "lamp-0001-h1", "details": "{}"} | more
    return dict.fromkeys(FIELDS) | given


def claimed(number: int, board: int, **more: Any) -> dict[str, Any]:
    return event("claim", f"LMP-{number:06d}", mac=mac(board), state="claimed", **more)


def told(ledger: Ledger, events: list[dict[str, Any]], before: Head | None = None, number: int = 1) -> Returned:
    """Number *events* after *before* in the factory's chain; return what the return says."""
    head = start = before or Head(0, genesis(FACTORY, CHAIN, "line"))
    for columns in events:
        columns |= {"chain": CHAIN, "seq": head.seq + 1}
        head = Head(head.seq + 1, chain_hash(head.hash, columns | {"station": "line"}))
    span = Span(CHAIN, "line", start, head)
    return Returned(ledger.id, FACTORY, number, f"digest {number}", {1: RECEIVER}, (span,))


def merge(ledger: Ledger, said: Returned, *blocks: list[dict[str, Any]]) -> Merged:
    return ledger.exchange.merge(said, [[dict(one) for one in block] for block in blocks], station=STATION, ts=now())


def refused(ledger: Ledger, cause: str, said: Returned, *blocks: list[dict[str, Any]]) -> str:
    """Assert that a merge is refused with *cause* and changes nothing; return the message."""
    before = [one.standing for one in ledger.identities("lamp-0001")], len(ledger.history("LMP-000001"))
    with pytest.raises(IntegrityError) as caught:
        merge(ledger, said, *blocks)
    assert caught.value.cause == cause, str(caught.value)
    assert ([one.standing for one in ledger.identities("lamp-0001")], len(ledger.history("LMP-000001"))) == before
    assert ledger.check() == ()
    return str(caught.value)


def test_blocks_may_cut_a_unit_in_two(ledger: Ledger) -> None:
    """A unit whose events are in two blocks ends as its last event says, and the ledger is sound."""
    events = [claimed(1, 1), event("step", "LMP-000001", mac=mac(1), state="flashed"), claimed(2, 2)]
    done = merge(ledger, told(ledger, events), events[:1], events[1:])
    assert (done.events, done.units) == (3, 2)
    assert [one.state for one in ledger.identities("lamp-0001")][:2] == [State.FLASHED, State.CLAIMED]
    assert ledger.check() == ()
    assert ledger.rebuild() == 0


def test_boards_may_change_hands(ledger: Ledger) -> None:
    """A board whose identity was voided there, and that got a new one, is the unit of the new one."""
    events = [claimed(1, 1), event("void", "LMP-000001", mac=mac(1), state="void"), claimed(2, 1)]
    merge(ledger, told(ledger, events), events)
    assert ledger.identity_by_mac(mac(1)).serial == "LMP-000002"
    assert ledger.check() == ()


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([claimed(4, 1)], "LMP-000004 was not handed over to this factory"),
        ([claimed(5, 1)], "LMP-000005 was not handed over to this factory"),
        ([claimed(6, 1)], "LMP-000006 was not handed over to this factory"),
        ([claimed(99, 1)], "LMP-000099 does not exist here"),
        ([claimed(1, 5)], f"board {mac(5)} is LMP-000005 here, and LMP-000001 there"),
        ([event("step", "LMP-000001", state="flashed")], "LMP-000001: a generated unit cannot become flashed"),
        ([claimed(1, 1), event("step", "LMP-000001", mac=mac(2), state="flashed")], "this unit is board"),
        ([event("merge", "LMP-000001", details='{"standing":{}}')], "is a merge"),
        ([event("handover", "LMP-000001", state="handed-over")], "is a handover"),
        ([claimed(1, 1, details='{"serial":"SN-A"}')], "LMP-000001 was given a serial that it cannot have"),
    ],
)
def test_contradictions_are_named(ledger: Ledger, events: list[dict[str, Any]], words: str) -> None:
    """An identity that was given elsewhere, a board with two, an impossible history: each is named, none is merged."""
    assert words in refused(ledger, "return-conflict", told(ledger, events), events)


def test_all_contradictions_are_named_at_once(ledger: Ledger) -> None:
    """Each of several is in the message, and of very many the first twenty."""
    events = [claimed(4, 1), claimed(99, 2)]
    message = refused(ledger, "return-conflict", told(ledger, events), events)
    assert "LMP-000004" in message
    assert "LMP-000099" in message
    many = [claimed(number, number - 99) for number in range(100, 200)]
    assert refused(ledger, "return-conflict", told(ledger, many), many).endswith("and more")


@pytest.mark.parametrize(
    "change",
    [
        {"mac": mac(1).upper()},
        {"kind": "party"},
        {"state": "drunk"},
        {"ts": "yesterday"},
        {"mac": "board"},
        {"reason": "a\0b"},
        {"seconds": 1.23456},
        {"details": '{"a": 1}'},
        {"details": '{"a":1,"a":2}'},
        {"details": "[]"},
        {"details": '{"a":NaN}'},
        {"details": "{"},
        {"details": '{"a":"\\ud800"}'},
        {"details": '{"a":' + "[" * 70 + "]" * 70 + "}"},
    ],
)
def test_what_no_ledger_stores(ledger: Ledger, change: dict[str, Any]) -> None:
    """An event that rmfab would not have stored like this is refused, although its hash is right."""
    events = [claimed(1, 1) | change]
    refused(ledger, "return-gap", told(ledger, events), events)


def test_gaps(ledger: Ledger) -> None:
    """Events that are missing, doubled, changed or in a different chain do not follow from what was signed."""
    events = [claimed(1, 1), claimed(2, 2)]
    said = told(ledger, events)
    refused(ledger, "return-gap", said, events[:1])
    refused(ledger, "return-gap", said, events[1:])
    refused(ledger, "return-gap", said, [events[0], events[0]])
    refused(ledger, "return-gap", said, [events[0], events[1] | {"mac": mac(3)}])
    refused(ledger, "return-gap", said, [*events, events[1] | {"seq": 3}])
    refused(ledger, "return-gap", said, [events[0] | {"chain": "d" * 32}])
    (span,) = said.spans
    refused(ledger, "return-gap", replace(said, spans=(replace(span, before=Head(1, "0" * 64)),)), events)
    refused(ledger, "return-gap", replace(said, spans=(replace(span, station="a b"),)), events)
    refused(ledger, "return-gap", replace(said, number=3), events)
    merge(ledger, said, events)
    refused(ledger, "return-gap", told(ledger, events, number=2), events)
    refused(ledger, "second-holder", replace(said, digest="different"), events)
    assert merge(ledger, said, events).again
    more = [event("unit", "LMP-000001", mac=mac(1), outcome="PASS")]
    assert merge(ledger, told(ledger, more, said.spans[0].after, 2), more).events == 1


def test_a_chain_of_this_ledger(ledger: Ledger) -> None:
    """A factory cannot go on in a chain that is the owner's own."""
    with ledger._database.reading() as connection:
        (own,) = connection.exec_driver_sql("SELECT id FROM chain").scalars()
    events = [claimed(1, 1)]
    said = told(ledger, events)
    span = replace(said.spans[0], chain=own, station=STATION)
    refused(ledger, "return-gap", replace(said, spans=(span,)), [events[0] | {"chain": own}])


def test_handovers_of_a_return(ledger: Ledger) -> None:
    """A return about a different ledger, a handover that was lost, or a second receiver is refused."""
    events = [claimed(1, 1)]
    said = told(ledger, events)
    with pytest.raises(InputError, match="different ledger"):
        merge(ledger, replace(said, pool="0" * 32), events)
    merge(ledger, said, events)
    other = replace(RECEIVER, holder="b" * 32)
    again = replace(said, ledger="e" * 32, received={1: other})
    assert "received twice: by" in refused(ledger, "second-holder", again, events)
    ledger.exchange.lose_handover(1, reason="fire", station=STATION, ts=now())
    more = [event("unit", "LMP-000001", mac=mac(1), outcome="PASS")]
    refused(ledger, "handover-lost", told(ledger, more, said.spans[0].after, 2), more)


def test_the_acceptances_of_a_factory_are_not_those_of_the_owner(ledger: Ledger) -> None:
    """A release or trust file that a factory accepted says nothing of what the owner accepted."""
    kinds = ("release", "trust", "adopt", "move")
    events = [event(kind, batch=None, details='{"product":"lamp"}') for kind in kinds]
    assert merge(ledger, told(ledger, events), events).events == len(kinds)
    assert ledger.last_release("lamp") is None
    assert ledger.last_trust("lamp") is None
    assert ledger.pool_standing().held


@pytest.fixture
def late(ledger: Ledger) -> Ledger:
    """The owner's ledger, with three identities of handover 3 that get their serials with their boards."""
    late_batch(ledger, "lamp-0002", 5)
    ledger.exchange.hand_over("lamp-0002", 3, TERMS, station=STATION, ts=now(), write=lambda *_: None)
    ledger.claim(mac(9), Wish("lamp", "lamp-0002", gives=True, given="SN-H"), station=STATION, ts=now())
    return ledger


def named(number: int, board: int, serial: Any) -> dict[str, Any]:
    details = canonical({"serial": serial})
    return event("claim", f"lamp-0002#{number}", mac=mac(board), state="claimed", details=details)


def about_3(ledger: Ledger, events: list[dict[str, Any]]) -> Returned:
    return replace(told(ledger, events), received={3: RECEIVER})


def test_serials_that_came_with_boards_return(late: Ledger) -> None:
    """A unit that got its serial there has it here, also if its identity was void first and a new one has it now."""
    void = event("void", "lamp-0002#1", mac=mac(1), state="void")
    events = [named(1, 1, "SN-A"), void, named(2, 1, "SN-A")]
    merge(late, about_3(late, events), events[:1], events[1:])
    unit = late.identity_by_serial("SN-A")
    assert unit is not None
    assert (unit.name, unit.mac) == ("lamp-0002#2", mac(1))
    assert late.check() == ()
    assert late.rebuild() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([named(1, 1, "SN-H")], "serial SN-H is lamp-0002#4 here, and lamp-0002#1 there"),
        ([named(1, 1, "LMP-000007")], "serial LMP-000007 is LMP-000007 here, and lamp-0002#1 there"),
        ([named(1, 1, "SN-A"), named(2, 2, "SN-A")], "serial SN-A is both lamp-0002#1 and lamp-0002#2 there"),
        *(
            ([named(1, 1, bad)], "lamp-0002#1 was given a serial that it cannot have")
            for bad in ("../x", "lamp-0002#2", "", 7, ["SN-A"], "S" * 65)
        ),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_serials_that_contradict(late: Ledger, events: list[dict[str, Any]], words: str, apart: bool) -> None:
    """A serial of a different unit, one for two units, or what is no serial, is named, and nothing is merged."""
    blocks = [[one] for one in events] if apart else [events]
    message = refused(late, "return-conflict", about_3(late, events), *blocks)
    assert words in message or (apart and "serial SN-A is lamp-0002#1 here" in message)
