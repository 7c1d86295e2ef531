"""The ledger: one database, one object per process, usable from every thread.

    ledger = Ledger.open(path, create=True)
    order = BatchOrder(name=None, prefix="lamp", product="lamp", size=250, policy={...}, unique_key=..., serial_of=...)
    batch = ledger.begin_batch(order, ts)                        # open: stations cannot claim from it yet
    for plan in ledger.missing_chunks(batch):
        again = ledger.add_chunk(batch, plan.number, wrapped_key, records)   # indices to draw again, () when written
    ledger.close_batch(batch, station, ts)
    claim = ledger.claim(mac, Wish("lamp"), station="bench", slot=slot, ts=ts, carried=Carried(node_id=...))
    ledger.record("bench", [Event(ts, EventKind.STEP, serial=claim.identity.serial, step="flash", outcome=Outcome.PASS,
                                  state=State.FLASHED, seconds=6.1)])
    ledger.check(); ledger.backup(target)

A change is allowed only in the ledger that holds the pool (`rmfab.ledger.pool`). The caller supplies the times
(`timestamp(datetime)`); stations are given by name. Every change is one durable transaction. Every
method may raise LedgerError (causes `ledger-locked`, `-read-only`, `-denied`, `-full`, `-io`, `-missing`, `-newer`,
`-older`, `-network`, `-away`) and IntegrityError (`ledger-corrupt`, `ledger-constraint`); one that changes it also
IntegrityError (`not-pool-holder`), LedgerError (`station-taken`) and StationError (`no-state-folder`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from rmfab.errors import InputError, one_line
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import (
    audit,
    batches,
    chains,
    claims,
    histories,
    online,
    outcomes,
    pool,
    queries,
    questions,
    registrations,
    releases,
)
from rmfab.ledger.audit import AuditFinding
from rmfab.ledger.badge import Badge, wear
from rmfab.ledger.batches import BatchOrder, Taken
from rmfab.ledger.claim_terms import ALONE, Around, Carried, Claim, Wish
from rmfab.ledger.events import Event, EventKind, StoredEvent, normal_mac
from rmfab.ledger.exchange import LedgerExchange, LedgerPlace, pages
from rmfab.ledger.histories import ChainHead, LostRuns, PastEvent, UnitHistory
from rmfab.ledger.host import PoolHost, this_host
from rmfab.ledger.host_record import Given, Head, Hold, Holding, HostRecord, Unusable
from rmfab.ledger.inquiry import PATIENCE, Inquiry
from rmfab.ledger.numbers import Numbers, last_loss
from rmfab.ledger.pool_standing import Adoption, AdoptionReason, PoolPlace, PoolStanding, judged, standing
from rmfab.ledger.questions import ledger_id
from rmfab.ledger.records import Batch, BatchCount, Chunk, ChunkPlan, LedgerIdentity
from rmfab.ledger.registrations import CloudHistory, RegistrationJob
from rmfab.ledger.releases import FlashedUnit
from rmfab.ledger.sql.ask import Ask
from rmfab.ledger.sql.asking import asking
from rmfab.ledger.sql.database import Database, Weakness
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.sql.statement import Asked, foresee, of_text
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import damaged

T = TypeVar("T")


class Ledger(Inquiry):
    """Identities, the boards bound to them, and what happened to each. Created by `open`; a context manager.

    *badge* names who works with it: each event gets that name.
    """

    def __init__(self, database: Database, ledger_id: str, host: PoolHost, patience: float = PATIENCE) -> None:
        super().__init__(ledger_id, host, database.shown)
        self._database = database
        self._patience = patience
        self.badge = Badge()

    @classmethod
    def open(
        cls, location: Path | str, *, create: bool, patience: float = PATIENCE, host: PoolHost | None = None
    ) -> Self:
        """Open the ledger at *location* on *host* (default: this one); with *create*, create it if it does not exist.

        *location* is a file, or the URL of a database on a PostgreSQL server. The schema of a file is upgraded, that of
        a server by `migrate`. An empty ledger that is opened with *create* becomes a pool of its own. Raise
        LedgerError, or InputError for a URL that cannot be used.
        """
        host = host or this_host()
        database = open_database(location, create=create, patience=patience, state=host.state)
        try:
            database.upgrade(create=create)
            if create:
                _hold_if_empty(database, host)
            with database.reading() as connection:
                return cls(database, ledger_id(asking(connection)), host, patience)
        except BaseException:
            database.dispose()
            raise

    @property
    def caveat(self) -> str | None:
        """How the ledger is read if it is read-only for this user, for the operator; None if it may be written."""
        return self._database.caveat

    @property
    def where(self) -> str:
        """Where the ledger is, for people."""
        return self._where

    @property
    def shared(self) -> bool:
        """Whether several hosts work on this ledger at once."""
        return self._database.server is not None

    def close(self) -> None:
        """Close all connections. The object cannot be used afterwards."""
        self._database.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _asking(self) -> Iterator[Ask]:
        with self._database.reading() as connection:
            yield asking(connection)

    # The pool

    def _judge(self, connection: Connection, *, taking: bool = False) -> None:
        """Raise IntegrityError if this host must not change the ledger. See `pool_standing.judged`."""
        self._judged(connection, self._record.read(), taking=taking)

    def _judged(self, connection: Connection, known: Holding | Unusable, *, taking: bool = True) -> PoolStanding:
        """Return the pool if this host, with the record *known*, may take from it, or else change the ledger.

        Raise IntegrityError.
        """
        return judged(asking(connection), known, self._host, self._place(connection), taking=taking)

    def _judging(self, record: Holding | Unusable) -> Iterator[Asked]:
        """Yield what `_judged` asks if *record* is that of the holder."""
        for statement, values in questions.foreseen(record.heads if isinstance(record, Holding) else {}):
            yield of_text(statement), values
        if self._database.server is not None:
            yield from self._database.server.foreseen

    def _answered(self, connection: Connection) -> Mapping[str, Head]:
        """Return the heads for which this host answers once this transaction is durable."""
        return chains.written(connection) if self.shared else chains.heads(connection, opened=True)

    def _place(self, connection: Connection) -> PoolPlace:
        server = self._database.server
        return PoolPlace(self.where, None if server is None else server.place(connection))

    def _occupy(self, connection: Connection, station: str) -> None:
        """Let no other host write as *station* on a server."""
        if self._database.server is not None:
            self._database.server.occupy(connection, station)

    def _join(self, hold: Hold, held: PoolStanding) -> None:
        """Make the record of this host one of the pool that is *held* if the ledger is shared."""
        if self.shared:
            hold.join(lambda known: pool.joined(known, self._host, held))

    @contextmanager
    def _changing(
        self, station: str | None = None, *, taking: bool = False, alone: bool = True
    ) -> Iterator[Connection]:
        """Open a write transaction of *station* for a change that takes nothing from the pool.

        *taking*: a later part will. *alone*: no other host may change the ledger at that time.
        """
        with self._database.writing(alone=alone) as connection:
            wear(connection, self.badge)
            self._judge(connection, taking=taking)
            if station is not None:
                self._occupy(connection, station)
            yield connection

    def _add(self, station: str, work: Callable[[Connection], T], foreseen: Iterable[Asked] = ()) -> T:
        """Run *work*, which adds what *station* did and takes nothing from the pool, in a transaction of its own.

        *work* may run twice, as `Database.commit` says. *foreseen*: what it asks first.
        """
        asked = (*chains.foreseen(station), *foreseen)

        def added(connection: Connection) -> T:
            wear(connection, self.badge)
            known = self._record.read()
            self._occupy(connection, station)
            with foresee(connection, [*self._judging(known), *asked]):
                self._judged(connection, known, taking=False)
                return work(connection)

        return self._database.commit(added)

    def _take(self, work: Callable[[Connection], T], station: str, foreseen: Iterable[Asked] = ()) -> T:
        """Run *work*, which takes from the pool, in a transaction; return when ledger and record are durable.

        The record is locked from the check until it is written. *work* may run twice, as `Database.commit` says.
        *foreseen*: what *work* asks first.
        """
        asked = (*chains.foreseen(station), *foreseen)
        with self._record.hold(self._patience) as hold:

            def taken(connection: Connection) -> tuple[T, PoolStanding | None, Mapping[str, Head]]:
                wear(connection, self.badge)
                known = hold.read()
                try:
                    self._occupy(connection, station)  # before the chain of the station is locked, as everywhere
                    with foresee(connection, [*self._judging(known), *asked]):
                        held = self._judged(connection, known)
                        value = work(connection)
                except Exception:
                    hold.end()  # if the server is away: other processes of this host need not wait until it is back
                    raise
                joins = self.shared and pool.joined(known, self._host, held) is not None
                return value, held if joins else None, self._answered(connection)

            value, joined, heads = self._database.commit(taken)
            if joined is not None:
                self._join(hold, joined)
            hold.add(heads)
        return value

    @contextmanager
    def _taking(self, station: str) -> Iterator[Connection]:
        """Open the transaction of a long change of *station* that takes from the pool.

        As `_take`, but no other host changes the ledger meanwhile, and it is never shared or repeated.
        """
        with self._holding() as hold:
            with self._database.writing() as connection:
                wear(connection, self.badge)
                known = hold.read()
                self._occupy(connection, station)
                held = self._judged(connection, known)
                yield connection
                heads = self._answered(connection)
            self._join(hold, held)
            hold.add(heads)

    @contextmanager
    def _holding(self) -> Iterator[Hold]:
        """Yield a hold of the record for a transaction during which no other host changes the ledger.

        On a server, the record is locked first, as in `_take`: its transaction begins when it asks something, so that
        each waits for the other otherwise. In a file, whose transaction begins at once, the record is locked after it.
        """
        with self._record.hold(self._patience) as hold:
            if self.shared:
                hold.read()
            yield hold

    def enter(self, station: str) -> None:
        """See `Inquiry.enter`."""
        if self.shared:
            with self._database.writing(alone=False) as connection:
                self._occupy(connection, station)

    def pool_standing(self) -> PoolStanding:
        """Return whether this host may give identities from this ledger."""
        with self._database.reading() as connection:
            return standing(asking(connection), self._record.read(), self._host, self._place(connection))

    def free_identities(self) -> int:
        """Count the free identities of all batches: those that an adoption after a loss puts in quarantine."""
        with self._database.reading() as connection:
            return pool.free_identities(connection)

    def adopt(self, reason: AdoptionReason, *, station: str, ts: str) -> Adoption:
        """Make this host the holder of the pool, whoever was before. See `pool.adopt`."""
        with self._holding() as hold:
            with self._database.writing() as connection:
                wear(connection, self.badge)
                own = station if self.shared else None
                holding = pool.next_holding(connection, hold.read(), self._host, reason, own)
                # First the record: if this ends in between, ledger and record disagree, and nobody gives identities.
                hold.replace(holding)
                self._occupy(connection, station)
                place = self._place(connection).place
                adoption = pool.adopt(connection, self.id, station, ts, holding, reason, place)
                heads = chains.heads(connection, opened=True, station=own)
            hold.add(heads)
        return adoption

    def move(self, recipient: str, *, station: str, ts: str) -> None:
        """End giving identities from this ledger on this host, for the host with *recipient*. See `pool.move`."""
        with self._record.hold() as hold:
            self._take(lambda connection: pool.move(connection, self.id, station, ts, recipient), station)
            hold.change(lambda known: replace(known, moved=True))

    @property
    def holder(self) -> str | None:
        """The id under which this ledger may give identities, None if it has none."""
        with self._database.reading() as connection:
            return queries.meta_value(connection, "holder")

    @property
    def unique_key(self) -> str | None:
        """The fingerprint of the key under which PoPs are compared, None before the first batch."""
        with self._database.reading() as connection:
            return queries.meta_value(connection, "unique_key")

    @cached_property
    def exchange(self) -> LedgerExchange:
        """What this ledger exchanges with others: handovers, receipts, returns, merges."""
        place = LedgerPlace(self.id, self._database, self._host, self.where)
        return LedgerExchange(place, self._taking, self._changing)

    # Making batches

    def begin_batch(self, order: BatchOrder, ts: str) -> Batch:
        """Return the batch of *order*: new, continued, or (`closed`) made before. See `batches.begin`.

        When this returns, the record of this host has the numbers of its serials.
        """
        with self._holding() as hold:
            with self._database.writing() as connection:
                known = hold.read()
                held = self._judged(connection, known)
                batch = batches.begin(connection, order, ts, Numbers(known, tuple(self._record.others()), self.where))
            if order.series is not None and batch.first_n is not None:
                # On a server, other hosts may give some, too.
                series, given = order.series, Given(batch.first_n + batch.size, self.where, sure=not self.shared)
                self._join(hold, held)
                hold.change(lambda record: record.with_given(series, given))
        return batch

    @property
    def was_lost(self) -> bool:
        """Whether the ledger was adopted after a loss: it does not have everything that was given."""
        with self._database.reading() as connection:
            return last_loss(connection) is not None

    def missing_chunks(self, batch: Batch) -> tuple[ChunkPlan, ...]:
        """Return the chunks that *batch* still needs, in order."""
        with self._database.reading() as connection:
            return tuple(batches.missing(connection, batch))

    def add_chunk(
        self, batch: Batch, number: int, wrapped_key: bytes, sealed: Sequence[SealedRecord]
    ) -> tuple[int, ...]:
        """Write a chunk and return (), or return the indices in *sealed* to draw again. See `batches.add`."""
        with self._changing(taking=True) as connection:
            return batches.add(connection, batch, number, wrapped_key, sealed)

    def close_batch(self, batch: Batch, station: str, ts: str, *, on_boards: bool = False) -> Batch:
        """Close a complete batch, so that stations can claim from it. See `batches.close`.

        *on_boards*: boards out there have its identities. They go into quarantine in the same transaction.
        """
        if not on_boards:
            return self._take(lambda connection: batches.close(connection, self.id, batch, station, ts), station)
        with self._taking(station) as connection:
            closed = batches.close(connection, self.id, batch, station, ts)
            pool.quarantine(connection, self.id, station, ts, batch=closed.id)
        return closed

    def find_taken(self, values: Mapping[str, Iterable[str]]) -> tuple[Taken, ...]:
        """Return those of *values*, by column, that are already in the ledger. See `Taken` for the columns."""
        with self._database.reading() as connection:
            return tuple(batches.find_taken(connection, values))

    # Units

    def claim(
        self,
        mac: str,
        wish: Wish,
        *,
        station: str,
        ts: str,
        slot: str | None = None,
        carried: Carried | None = None,
        around: Around = ALONE,
    ) -> Claim:
        """Return the identity of the board *mac*, bound durably before this returns. See `rmfab.ledger.claims`.

        The events *around* the claim are part of its transaction; if it fails, none of them is recorded. After damage
        was found (`guarded`), raise IntegrityError with cause `ledger-corrupt`.
        """
        self._database.refuse_damage()
        event = claims.claim_event(mac, slot, ts)
        return self._take(
            lambda connection: claims.claim(connection, self.id, wish, event, station, carried, around),
            station,
            claims.foreseen(wish, event.mac or mac, carried),
        )

    def record(self, station: str, events: Iterable[Event]) -> None:
        """Add steps and verdicts, and change the state of a unit if an event contains one. See `outcomes.record`."""
        said = tuple(events)
        self._add(
            station,
            lambda connection: outcomes.record(connection, self.id, station, said),
            outcomes.foreseen(said),
        )

    def replay(self, station: str, events: Iterable[Event], after: Mapping[str, int]) -> tuple[str, ...]:
        """Add steps and verdicts that were kept elsewhere while this ledger was away; each is added once.

        Return what did not fit. See `outcomes.replay`.
        """
        said = tuple(events)
        return self._add(station, lambda connection: outcomes.replay(connection, self.id, station, said, after))

    def guarded(self, watcher: Watcher | None = None) -> AbstractContextManager[None]:
        """Look for damage in the background until the block ends; the next claim raises what is found.

        Meanwhile wait for a server that is away for as long as *watcher* waits, and tell it.
        """
        return self._database.guarded(watcher)

    def void(
        self, *terms: str, reason: str, station: str, ts: str, seen: Mapping[str, Standing] | None = None
    ) -> tuple[LedgerIdentity, ...]:
        """Void the identities with these serials, node ids or live MACs; they cannot be used again.

        All or none. See `outcomes.void`.
        """
        return self._take(
            lambda connection: outcomes.void(connection, self.id, station, terms, reason, ts, seen or {}), station
        )

    def reconciled(self, events: Iterable[Event], seen: Mapping[str, Standing], *, station: str) -> None:
        """Record what was found about boards, and void the claims that are given up. See `outcomes.reconciled`."""
        said = tuple(events)
        self._take(lambda connection: outcomes.reconciled(connection, self.id, station, said, seen), station)

    def labelled(
        self, serials: Iterable[str], *, station: str, ts: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """Record printed labels, the first and every later time. See `outcomes.labelled`."""
        with self.labelling(serials, station=station, ts=ts, details=details):
            pass

    @contextmanager
    def labelling(
        self, serials: Iterable[str], *, station: str, ts: str, details: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        """Record printed labels when the block ends; nothing if it fails. See `outcomes.labelled`."""
        with self._changing(station, alone=False) as connection:
            outcomes.labelled(connection, self.id, station, serials, ts, details or {})
            yield

    def sending(self, station: str, event: Event, seen: Standing) -> None:
        """Record that a printer is about to get a label. See `outcomes.sending`."""
        self._add(station, lambda connection: outcomes.sending(connection, self.id, station, event, seen))

    @contextmanager
    def exporting(self, event: Event, *, station: str) -> Iterator[None]:
        """Record an export when the block ends; nothing if it fails. Raise ValueError unless it is one."""
        if event.kind is not EventKind.EXPORT:
            raise ValueError("exporting() accepts only exports")
        with self._changing(station, alone=False) as connection:
            chains.append(connection, self.id, station, [event])
            yield

    def checked(self, station: str, events: Iterable[Event]) -> None:
        """Record what happened to units in their cloud. See `outcomes.checked`."""
        said = tuple(events)
        self._add(station, lambda connection: outcomes.checked(connection, self.id, station, said))

    def rewrap(self, wrapped: Mapping[int, bytes], *, recipients: Iterable[str], station: str, ts: str) -> None:
        """Replace wrapped data keys by chunk id. See `outcomes.rewrap`."""
        with self._changing(station) as connection:
            outcomes.rewrap(connection, self.id, station, wrapped, ts, recipients)

    def accept(self, station: str, event: Event, *, after: StoredEvent | None) -> bool:
        """Record that a release or trust file was accepted, unless one came in since *after*. See `releases.accept`."""
        with self._changing(station) as connection:
            return releases.accept(connection, self.id, station, event, after)

    # Reading

    def flashed_units(self, digest: str) -> Iterator[FlashedUnit]:
        """Yield the units flashed with a release, or with one that a key signed, in constant memory.

        See `releases.flashed_units`.
        """
        with self._database.reading() as connection:
            yield from releases.flashed_units(connection, digest)

    def counts(self, name: str | None = None) -> tuple[BatchCount, ...]:
        """Count the identities of batch *name*, or of each batch, by state."""
        with self._database.reading() as connection:
            return queries.counts(connection, name)

    def identity_by_serial(self, serial: str) -> LedgerIdentity | None:
        """Return the identity with this serial."""
        with self._database.reading() as connection:
            return queries.by_serial(connection, serial)

    def identities_named(self, service_name: str) -> tuple[LedgerIdentity, ...]:
        """Return the identities with this service name, in any state: one per batch at most."""
        with self._database.reading() as connection:
            return tuple(queries.by_service_name(connection, service_name))

    def identity_by_mac(self, mac: str) -> LedgerIdentity | None:
        """Return the identity of the live unit with this MAC. Raise InputError if *mac* is not a MAC."""
        with self._database.reading() as connection:
            return queries.by_mac(connection, normal_mac(mac))

    def bound_boards(self) -> Iterator[tuple[str, str | None]]:
        """Yield the MAC of every live unit, and the serial that came with its board, in constant memory."""
        with self._database.reading() as connection:
            yield from queries.bound_boards(connection)

    def standings(self, names: Iterable[str]) -> dict[str, Standing]:
        """Return the standings of the identities with *names*, by name."""
        with self._database.reading() as connection:
            return dict(queries.standings(connection, names))

    def identities_carried(self, carried: Carried) -> tuple[LedgerIdentity, ...]:
        """Return the identities that a board's flash names. See `claims.identities_carried`."""
        with self._database.reading() as connection:
            return claims.identities_carried(connection, carried)

    def unfinished(self) -> Iterator[LedgerIdentity]:
        """Yield the units that are claimed or flashed but not verified, oldest first, in constant memory."""
        with self._database.reading() as connection:
            yield from queries.unfinished(connection)

    def find(self, term: str) -> tuple[LedgerIdentity, ...]:
        """Return the identities that match a serial, node id or MAC, including void ones."""
        with self._database.reading() as connection:
            return queries.find(connection, term)

    def named(self, term: str) -> LedgerIdentity:
        """Return the identity with this serial, node id or live MAC. See `queries.named`."""
        with self._database.reading() as connection:
            return queries.named(connection, term)

    def hint_for_unknown(self, term: str, *, batches: bool = False) -> str | None:
        """Return a hint for *term*, which names no unit. See `queries.hint_for_unknown`."""
        with self._database.reading() as connection:
            return queries.hint_for_unknown(connection, term, batches=batches)

    def history(self, term: str) -> tuple[StoredEvent, ...]:
        """Return the events of a serial, node id or MAC, in order."""
        with self._database.reading() as connection:
            return queries.history(connection, term)

    def newest_ts(self) -> str | None:
        """Return the time of the event that was stored last, None if there is none."""
        with self._database.reading() as connection:
            return queries.newest_ts(connection)

    def maybe_online(self, names: Iterable[str]) -> set[str]:
        """Return those of the identities *names* whose units may be on a network. See `online.maybe_online`."""
        with self._database.reading() as connection:
            return online.maybe_online(connection, names)

    def registered(self, cloud: str, names: Iterable[str]) -> set[str]:
        """Return those of the identities *names* that *cloud* has. See `registrations.registered`."""
        with self._database.reading() as connection:
            return registrations.registered(connection, cloud, names)

    def jobs_in(self, cloud: str) -> tuple[RegistrationJob, ...]:
        """Return the registration jobs in *cloud*. See `registrations.jobs_in`."""
        with self._database.reading() as connection:
            return registrations.jobs_in(connection, cloud)

    def cloud_histories(self, cloud: str, host: str, names: Iterable[str]) -> dict[str, CloudHistory]:
        """Return what happened to identities in *cloud*, and at its broker *host*. See `registrations`."""
        with self._database.reading() as connection:
            return registrations.cloud_histories(connection, cloud, host, names)

    def identities(self, name: str) -> Iterator[LedgerIdentity]:
        """Yield the identities of the closed batch *name* in order of position, in constant memory."""
        with self._database.reading() as connection:
            batch = queries.closed_batch(connection, name)

        def page(after: int) -> Sequence[LedgerIdentity]:
            with self._database.reading() as connection:
                return queries.page(connection, batch, after)

        yield from pages(page)

    def histories(
        self, name: str | None = None, *, states: Collection[State] | None = None, since: str | None = None
    ) -> Iterator[UnitHistory]:
        """Yield the units of batch *name*, or of all batches, with their events on the line, in constant memory.

        *states*: identities in these, by default those that are or were bound to a board. *since*: only those to which
        something happened at that ledger time or later. Raise InputError for an unknown batch.
        """
        with self._database.reading() as connection:
            ask = asking(connection)
            batches = questions.batches(ask) if name is None else (queries.batch_named(connection, name),)
        for batch in batches:
            after, some = -1, True
            while some:
                with self._database.reading() as connection:
                    found, after = histories.page(connection, batch, after, states, since)
                yield from found
                some = bool(found)

    def chain_heads(self) -> tuple[ChainHead, ...]:
        """Return the heads of all chains: what the ledger contains at this moment. See `histories.heads`."""
        with self._database.reading() as connection:
            return histories.heads(connection)

    def station_verdicts(self, station: str, since: str, until: str) -> tuple[PastEvent, ...]:
        """Return what decided about the units with a verdict at *station*. See `histories.station_verdicts`."""
        with self._database.reading() as connection:
            return histories.station_verdicts(connection, station, since, until)

    def unit_verdicts(self, name: str, until: str) -> tuple[PastEvent, ...]:
        """Return what decided about an identity. See `histories.unit_verdicts`."""
        with self._database.reading() as connection:
            return histories.unit_verdicts(connection, name, until)

    def lost_runs(self, since: str | None = None, until: str | None = None) -> tuple[LostRuns, ...]:
        """Count the runs that ended before their board had an identity. See `histories.lost_runs`."""
        with self._database.reading() as connection:
            return histories.lost_runs(connection, since, until)

    def chunks(self, name: str | None = None) -> Iterator[Chunk]:
        """Yield the chunks of batch *name*, or of all batches, in constant memory."""
        after = 0
        with self._database.reading() as connection:
            batch = None if name is None else queries.batch_named(connection, name)
        while True:
            with self._database.reading() as connection:
                some = queries.chunks(connection, batch, after)
            if not some:
                return
            yield from some
            after = some[-1].id

    def wrapped_key(self, chunk: int) -> bytes:
        """Return the wrapped data key of a chunk (`LedgerIdentity.chunk`). Raise IntegrityError if it is missing."""
        with self._database.reading() as connection:
            return queries.chunk(connection, chunk).wrapped_key

    # Maintenance

    def check(self, limit: int = 1000) -> tuple[AuditFinding, ...]:
        """Return up to *limit* problems of the ledger, none if it is sound. See `audit.check`."""
        with self._database.reading() as connection:
            return tuple(islice(audit.check(connection, self.id, self._database.damage(connection)), limit))

    def require_sound(self) -> None:
        """Read the whole ledger; raise IntegrityError (cause `ledger-corrupt`) if the engine finds damage."""
        with self._database.reading() as connection:
            for found in self._database.damage(connection):
                raise damaged(one_line(f"{found.where}: {found.what}"), self._database.shown)

    def rebuild(self) -> int:
        """Recompute current state from the events; return how many identities were repaired. See `audit.rebuild`."""
        with self._database.writing() as connection:
            return audit.rebuild(connection, self.id)

    def weaknesses(self) -> tuple[Weakness, ...]:
        """Return the settings of a server, and of the connection to it, under which this ledger is not safe."""
        server = self._database.server
        if server is None:
            return ()
        with self._database.reading() as connection:
            return tuple(server.weaknesses(connection))

    def grant(self, stations: Sequence[str], readers: Sequence[str]) -> None:
        """Give roles of the server the rights of stations, and of readers. Raise InputError for a ledger in a file."""
        server = self._database.server
        if server is None:
            raise InputError("a ledger in a file has no roles", where=self.where, hint="set the modes of its folder")
        with self._database.writing() as connection:
            server.grant(connection, stations, readers)

    def backup(self, target: Path) -> None:
        """Write a consistent copy to the new file *target* while stations keep working. See `Database.backup`."""
        self._database.backup(target)


def migrate(location: Path | str, backup: Path, *, host: PoolHost | None = None) -> bool:
    """Upgrade the schema of the ledger at *location*, also on a server, after a copy to the new file *backup*.

    Return False, and write no copy, if it is up to date. Raise LedgerError.
    """
    database = open_database(location, create=False, patience=PATIENCE, state=(host or this_host()).state)
    try:
        if database.server is None:
            database.upgrade(create=False)
            return False
        return database.server.migrate(backup)
    finally:
        database.dispose()


def _hold_if_empty(database: Database, host: PoolHost) -> None:
    """Make an empty ledger the pool of *host*, under a new ledger id; leave any other ledger as it is."""
    with database.reading() as connection:
        if not pool.is_empty(connection):
            return
    with database.writing() as connection:
        if not pool.is_empty(connection):
            return
        ledger_id = uuid.uuid4().hex
        holding = Holding.new(host, {})
        with HostRecord(host, ledger_id).hold() as hold:
            hold.replace(holding)
        place = None if database.server is None else database.server.place(connection)
        pool.hold_empty(connection, ledger_id, holding, place)
