"""Handovers, returns and merges with ledgers in files and on servers: the owner's, the factory's, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rmfab.errors import InputError, IntegrityError, StationError
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.handovers import Handover, Terms
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_receipts import received
from rmfab.ledger.merge import Merged, Receiver, Returned
from rmfab.ledger.receipts import Receipt, Return
from rmfab.ledger.records import BatchOrigin
from rmfab.ledger.sql.group_commit import Unsettled
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.ledger.stored_events import FIELDS
from rmfab.ledger.transfer import transfer
from tests.ledger.workshop import FILE, STATION, UNIQUE_KEY, cause_of, claim, fresh, mac, now

LATER = "2099-01-01T00:00:00.000Z"
SERVER = pytest.param("postgres", marks=pytest.mark.peers)


def host(folder: Path, name: str) -> PoolHost:
    (folder / name).mkdir(exist_ok=True)
    return PoolHost(folder / name, name)


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path | str]:
    """Return a function that makes a place for a new ledger, of an engine."""

    def make(engine: str) -> Path | str:
        if engine == "sqlite":
            return tmp_path / f"other-{FILE}"
        databases: Callable[[], str] = request.getfixturevalue("databases")
        return databases()

    return make


@dataclass
class Sides:
    """The owner's ledger, the one of a factory at *place*, and the state folders of the factory's hosts in *folder*."""

    owner: Ledger
    factory: Ledger
    place: Path | str
    folder: Path

    def hand_over(self, count: int, until: str = LATER) -> tuple[Handover, list[SealedRecord]]:
        """Hand over *count* identities; return the handover and what its file contains."""
        records: list[SealedRecord] = []
        given = self.owner.exchange.hand_over(
            "lamp-0001",
            count,
            Terms("factory", "print", "age1", "pem", until),
            station=STATION,
            ts=now(),
            write=lambda _, identities: records.extend(one.record for one in identities),
        )
        self.owner.exchange.note_written(given.number, station=STATION, ts=now())
        return given, records

    def receive(
        self,
        given: Handover,
        records: Sequence[SealedRecord],
        factory: Ledger | None = None,
        station: str = "line",
    ) -> str:
        """Receive a handover in the factory's ledger; return the name of the batch there."""
        origin = BatchOrigin(self.owner.id, given.batch, given.number, given.terms.until)
        order = BatchOrder(
            name=origin.local_name,
            prefix="",
            product="lamp",
            size=len(records),
            policy={"key": "ecdsa-p256"} | origin.policy,
            unique_key=UNIQUE_KEY,
            serial_of=None,
            chunk_size=4,
        )
        chunks = [(b"key", records[at : at + 4]) for at in range(0, len(records), 4)]
        receipt = Receipt(origin, "owner", {}, "envelope", ts=now())
        return (factory or self.factory).exchange.receive(order, chunks, receipt, station=station).name

    def make_return(self, *, unused: bool) -> tuple[Returned, list[dict[str, Any]]]:
        """Make a return; return what its file says, and its events."""
        events: list[dict[str, Any]] = []

        def write(_: Return, rows: Iterator[Any]) -> None:
            events.extend({name: getattr(row, name) for name in (*FIELDS, "chain", "seq")} for row in rows)

        made = self.factory.exchange.make_return(unused=unused, station="line", ts=now(), write=write)
        received = {
            one.origin.handover: Receiver(self.factory.id, one.holder, one.ts)
            for one in self.factory.exchange.receipts()
        }
        return Returned(
            self.owner.id, self.factory.id, made.number, f"digest {made.number}", received, made.spans
        ), events

    def merge(self, told: Returned, events: Sequence[dict[str, Any]]) -> Merged:
        """Merge a return, in two blocks."""
        half = len(events) // 2
        blocks = [[dict(one) for one in some] for some in (events[:half], events[half:])]
        return self.owner.exchange.merge(told, blocks, station=STATION, ts=now())

    def states(self) -> list[State]:
        return [one.state for one in self.owner.identities("lamp-0001")]


@pytest.fixture(params=["sqlite", SERVER])
def sides(
    place: Path | str,
    request: pytest.FixtureRequest,
    new_place: Callable[[str], Path | str],
    tmp_path: Path,
) -> Iterator[Sides]:
    """An owner with ten identities, and a factory without any: each in a file and on a server."""
    there = new_place(request.param)
    with (
        fresh(place) as owner,
        Ledger.open(there, create=True, host=host(tmp_path, "factory")) as factory,
    ):
        yield Sides(owner, factory, there, tmp_path)


def give(ledger: Ledger, board: int, station: str = "line", ts: str = now(), **more: Any) -> str:
    return ledger.claim(mac(board), Wish("lamp", **more), station=station, ts=ts).identity.serial


def passed(ledger: Ledger, serial: str, board: int) -> None:
    events = [
        Event(
            now(),
            EventKind.STEP,
            serial=serial,
            mac=mac(board),
            step=step,
            outcome=Outcome.PASS,
            state=state,
            seconds=0.25,
        )
        for step, state in (("flash", State.FLASHED), ("provision", State.VERIFIED))
    ]
    ledger.record("line", events)


def test_from_the_owner_to_the_factory_and_back(sides: Sides) -> None:
    """Handed over, received, given to boards, returned and merged: both ledgers are sound, and agree."""
    given, records = sides.hand_over(5)
    assert sides.states() == [State.HANDED_OVER] * 5 + [State.GENERATED] * 5
    assert claim(sides.owner, 6).identity.serial == "LMP-000006"
    assert sides.receive(given, records) == "lamp-0001-h1"
    assert sides.receive(given, records) == "lamp-0001-h1"
    assert [give(sides.factory, board) for board in (1, 2, 3)] == ["LMP-000001", "LMP-000002", "LMP-000003"]
    passed(sides.factory, "LMP-000001", 1)
    first = sides.make_return(unused=False)
    sides.factory.void("LMP-000003", reason="scrap", station="line", ts=now())
    second = sides.make_return(unused=True)
    with pytest.raises(IntegrityError) as caught:
        sides.merge(*second)
    assert caught.value.cause == "return-gap"
    done = sides.merge(*first)
    assert (done.units, done.given_back, done.voided) == (3, 0, 0)
    done = sides.merge(*second)
    assert (done.units, done.given_back, done.voided) == (0, 2, 1)
    assert sides.merge(*second).again
    assert sides.states() == [
        State.VERIFIED,
        State.CLAIMED,
        State.VOID,
        State.GENERATED,
        State.GENERATED,
        State.CLAIMED,
        *[State.GENERATED] * 4,
    ]
    assert give(sides.owner, 7, STATION) == "LMP-000004"
    assert sides.factory.free("lamp") == 0
    for ledger in (sides.owner, sides.factory):
        assert ledger.check() == ()
        assert ledger.rebuild() == 0


def test_a_merge_that_fails_changes_nothing(sides: Sides) -> None:
    """A return with an altered event is refused as a whole; the true one is merged after it."""
    sides.receive(*sides.hand_over(5))
    give(sides.factory, 1)
    told, events = sides.make_return(unused=False)
    altered = [*events[:-1], events[-1] | {"ts": now(1)}]
    with pytest.raises(IntegrityError) as caught:
        sides.merge(told, altered)
    assert caught.value.cause == "return-gap"
    assert sides.states()[:5] == [State.HANDED_OVER] * 5
    assert sides.merge(told, events).units == 1
    assert sides.owner.check() == ()


def test_a_file_that_cannot_be_written(sides: Sides) -> None:
    """A handover whose file cannot be written takes nothing out of the pool."""

    def full(_: Handover, identities: Iterator[Any]) -> None:
        next(identities)
        raise OSError("full")

    terms = Terms("factory", "print", "age1", "pem", LATER)
    with pytest.raises(OSError, match="full"):
        sides.owner.exchange.hand_over("lamp-0001", 3, terms, station=STATION, ts=now(), write=full)
    assert sides.states() == [State.GENERATED] * 10
    assert sides.owner.exchange.handovers() == ()
    assert sides.hand_over(2)[0].number == 1


def test_nobody_takes_while_a_handover_is_written(sides: Sides, place: Path | str) -> None:
    """A claim of a different process waits until the handover is durable, for as long as it is patient."""

    def meanwhile(_: Handover, identities: Iterator[Any]) -> None:
        with Ledger.open(place, create=False, patience=0.2) as other:
            assert cause_of(give, other, 1, "bench-2") == "ledger-locked"

    terms = Terms("factory", "print", "age1", "pem", LATER)
    sides.owner.exchange.hand_over("lamp-0001", 3, terms, station=STATION, ts=now(), write=meanwhile)
    with Ledger.open(place, create=False) as other:
        assert give(other, 1, "bench-2") == "LMP-000004"


def test_an_expired_handover_is_passed_over(sides: Sides) -> None:
    """After the end of a handover the line takes from the next one, and says so when there is no other."""
    sides.receive(*sides.hand_over(2, until=now(100)))
    sides.receive(*sides.hand_over(1))
    factory, late = sides.factory, now(200)
    assert (factory.free("lamp", ts=now(99)), factory.free("lamp", ts=late)) == (3, 1)
    assert give(factory, 1, ts=now(99)) == "LMP-000001"
    assert give(factory, 2, ts=late) == "LMP-000003"
    assert give(factory, 1, ts=late) == "LMP-000001"
    for wish in ({}, {"batch": "lamp-0001-h1"}, {"serial": "LMP-000002"}):
        with pytest.raises(InputError) as caught:
            give(factory, 3, ts=late, **wish)
        assert caught.value.cause == "handover-expired"
    assert sides.merge(*sides.make_return(unused=True)).given_back == 1
    assert factory.check() == sides.owner.check() == ()


def test_a_receipt_that_may_be_written_stays_noted(tmp_path: Path) -> None:
    """If nobody knows whether a server has a receipt, only the same ledger may receive that handover again."""

    def receive(ledger: str, *errors: Exception) -> None:
        at = host(tmp_path, "factory")
        with received(at, "a" * 32, 1, ledger, "b" * 32, "here", lambda: False, Unsettled):
            for error in errors:
                raise error

    with pytest.raises(InputError):
        receive("c" * 32, InputError("refused"))
    with pytest.raises(Unsettled):
        receive("d" * 32, Unsettled("the connection was lost"))
    assert cause_of(receive, "c" * 32) == "handover-received"
    receive("d" * 32)


def test_a_receipt_whose_record_could_not_be_written_stays_noted(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk of the state folder is full, or ^C comes, after the ledger has the identities, no other ledger of the
    host receives them; the same one goes on."""
    given, records = sides.hand_over(3)

    def full(*_: object) -> None:
        raise StationError("the disk is full", cause="no-state-folder")

    with monkeypatch.context() as patch:
        patch.setattr("rmfab.ledger.host_record.Hold.add", full)
        with pytest.raises(StationError):
            sides.receive(given, records)
    with Ledger.open(tmp_path / "second.db", create=True, host=host(tmp_path, "factory")) as second:
        assert cause_of(sides.receive, given, records, second) == "handover-received"
    assert sides.receive(given, records) == "lamp-0001-h1"
    assert give(sides.factory, 1) == "LMP-000001"


def test_a_lost_handover_is_void(sides: Sides) -> None:
    """What is out of a handover that is declared lost is void, and its return is refused."""
    given, records = sides.hand_over(3)
    sides.receive(given, records)
    assert sides.owner.exchange.lose_handover(given.number, reason="lost in the mail", station=STATION, ts=now()) == 3
    with pytest.raises(IntegrityError) as caught:
        sides.merge(*sides.make_return(unused=False))
    assert caught.value.cause == "handover-lost"
    assert sides.owner.check() == ()


@pytest.mark.parametrize("place", ["sqlite", SERVER], indirect=True)
@pytest.mark.peers
def test_an_exchange_goes_along_with_the_ledger(
    place: Path | str, new_place: Callable[[str], Path | str], tmp_path: Path
) -> None:
    """A ledger with handovers and merged chains that changes its engine is complete there, and so is its backup."""
    to = new_place("sqlite" if isinstance(place, str) else "postgres")
    with (
        fresh(place) as owner,
        Ledger.open(tmp_path / "factory.db", create=True, host=host(tmp_path, "factory")) as factory,
    ):
        sides = Sides(owner, factory, tmp_path / "factory.db", tmp_path)
        sides.receive(*sides.hand_over(5))
        give(factory, 1)
        sides.merge(*sides.make_return(unused=False))
        transfer(owner, to, station=STATION, ts=now())
        with Ledger.open(to, create=False) as moved:
            sides.owner = moved
            assert [one.standing for one in moved.identities("lamp-0001")] == [
                one.standing for one in owner.identities("lamp-0001")
            ]
            assert moved.exchange.handovers() == owner.exchange.handovers()
            assert sides.merge(*sides.make_return(unused=True)).given_back == 4
            assert give(moved, 7, STATION) == "LMP-000002"
            moved.backup(tmp_path / "backup.db")
            assert moved.check() == ()
    with Ledger.open(tmp_path / "backup.db", create=False) as backup:
        assert [receipt.number for receipt, _ in backup.exchange.handovers()] == [1]
        assert backup.check() == ()


@pytest.mark.peers
@pytest.mark.parametrize("place", [SERVER], indirect=True)
@pytest.mark.parametrize("sides", [SERVER], indirect=True)
def test_a_factory_with_many_stations(sides: Sides) -> None:
    """Hosts that share the ledger of a factory take from what one of them received; each receives it at most once."""
    given, records = sides.hand_over(5)
    sides.receive(given, records)
    with Ledger.open(sides.place, create=False, host=host(sides.folder, "bench-2")) as other:
        assert sides.receive(given, records, other, "bench-2") == "lamp-0001-h1"
        assert [give(sides.factory, 1), give(other, 2, "bench-2")] == ["LMP-000001", "LMP-000002"]
        assert other.check() == ()
    told, events = sides.make_return(unused=True)
    assert {one.station for one in told.spans} == {"line", "bench-2"}
    done = sides.merge(told, events)
    assert (done.units, done.given_back) == (2, 3)
    assert sides.owner.check() == ()
    double = replace(told, number=2, digest="x", spans=(), received={1: Receiver("9" * 32, "9" * 32, now())})
    with pytest.raises(IntegrityError) as caught:
        sides.owner.exchange.merge(double, [], station=STATION, ts=now())
    assert caught.value.cause == "second-holder"
