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
`-network`) and IntegrityError (`ledger-corrupt`, `ledger-constraint`); one that changes it also IntegrityError
(`not-pool-holder`) and StationError (`no-state-folder`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import audit, batches, chains, claims, outcomes, pool, queries, releases
from rmfab.ledger.audit import AuditFinding
from rmfab.ledger.batches import BatchOrder, Taken
from rmfab.ledger.claim_terms import ALONE, Around, Carried, Claim, Wish
from rmfab.ledger.events import Event, StoredEvent, normal_mac
from rmfab.ledger.exchange import LedgerExchange, LedgerPlace, pages
from rmfab.ledger.host import PoolHost, this_host
from rmfab.ledger.host_record import Given, Head, Holding, HostRecord
from rmfab.ledger.inquiry import PATIENCE, Inquiry
from rmfab.ledger.numbers import Numbers, last_loss
from rmfab.ledger.pool_standing import Adoption, AdoptionReason, judged
from rmfab.ledger.questions import ledger_id
from rmfab.ledger.records import Batch, BatchCount, Chunk, ChunkPlan, LedgerIdentity
from rmfab.ledger.releases import FlashedUnit
from rmfab.ledger.sql.ask import Ask
from rmfab.ledger.sql.asking import asking
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.standing import Standing

T = TypeVar("T")


class Ledger(Inquiry):
    """Identities, the boards bound to them, and what happened to each. Created by `open`; a context manager."""

    def __init__(self, database: Database, ledger_id: str, host: PoolHost, where: str) -> None:
        super().__init__(ledger_id, host, where)
        self._database = database

    @classmethod
    def open(
        cls, location: Path | str, *, create: bool, patience: float = PATIENCE, host: PoolHost | None = None
    ) -> Self:
        """Open the ledger file *location* on *host* (default: this one); with *create*, create it if it does not exist.

        An older schema is upgraded. An empty ledger that is opened with *create* becomes the pool of this host. Raise
        LedgerError, or InputError for a database URL: this version supports only SQLite.
        """
        host = host or this_host()
        database = open_database(location, create=create, patience=patience)
        try:
            database.upgrade(create=create)
            if create:
                _hold_if_empty(database, host)
            with database.reading() as connection:
                return cls(database, ledger_id(asking(connection)), host, _shown(location))
        except BaseException:
            database.dispose()
            raise

    @property
    def caveat(self) -> str | None:
        """How the ledger is read if it is read-only for this user, for the operator; None if it may be written."""
        return self._database.caveat

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
        judged(asking(connection), self._record.read(), self._host, self._where, taking=taking)

    @contextmanager
    def _changing(self, *, taking: bool = False) -> Iterator[Connection]:
        """Open the write transaction for a change that takes nothing from the pool; *taking*: a later part will."""
        with self._database.writing() as connection:
            self._judge(connection, taking=taking)
            yield connection

    def _take(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, which takes from the pool, in a transaction; return when ledger and record are durable.

        The record is locked from the check until it is written. *work* may run twice, as `Database.commit` says.
        """
        with self._record.hold() as hold:

            def taken(connection: Connection) -> tuple[T, Mapping[str, Head]]:
                judged(asking(connection), hold.read(), self._host, self._where, taking=True)
                return work(connection), chains.heads(connection, opened=True)

            value, heads = self._database.commit(taken)
            hold.add(heads)
        return value

    @contextmanager
    def _taking(self) -> Iterator[Connection]:
        """Open the transaction of a long change that takes from the pool; as `_take`, but never shared or repeated."""
        with self._record.hold() as hold:
            with self._database.writing() as connection:
                judged(asking(connection), hold.read(), self._host, self._where, taking=True)
                yield connection
                heads = chains.heads(connection, opened=True)
            hold.add(heads)

    def free_identities(self) -> int:
        """Count the free identities of all batches: those that an adoption after a loss puts in quarantine."""
        with self._database.reading() as connection:
            return pool.free_identities(connection)

    def adopt(self, reason: AdoptionReason, *, station: str, ts: str) -> Adoption:
        """Make this host the holder of the pool, whoever was before. See `pool.adopt`."""
        with self._record.hold() as hold:
            with self._database.writing() as connection:
                numbers = pool.numbers_of(connection, hold.read(), self._host, reason)
                holding = Holding.new(self._host, chains.heads(connection), numbers)
                # First the record: if this ends in between, ledger and record disagree, and nobody gives identities.
                hold.replace(holding)
                adoption = pool.adopt(connection, self.id, station, ts, holding, reason)
                heads = chains.heads(connection, opened=True)
            hold.add(heads)
        return adoption

    def move(self, recipient: str, *, station: str, ts: str) -> None:
        """End giving identities from this ledger on this host, for the host with *recipient*. See `pool.move`."""
        with self._record.hold() as hold:
            self._take(lambda connection: pool.move(connection, self.id, station, ts, recipient))
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
        place = LedgerPlace(self.id, self._database, self._host, self._where)
        return LedgerExchange(place, self._taking, self._changing)

    # Making batches

    def begin_batch(self, order: BatchOrder, ts: str) -> Batch:
        """Return the batch of *order*: new, continued, or (`closed`) made before. See `batches.begin`.

        When this returns, the record of this host has the numbers of its serials.
        """
        with self._record.hold() as hold:
            with self._database.writing() as connection:
                known = hold.read()
                judged(asking(connection), known, self._host, self._where, taking=True)
                batch = batches.begin(connection, order, ts, Numbers(known, tuple(self._record.others())))
            if order.series is not None and batch.first_n is not None:
                series, given = order.series, Given(batch.first_n + batch.size, self._where)
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

    def close_batch(self, batch: Batch, station: str, ts: str) -> Batch:
        """Close a complete batch, so that stations can claim from it. See `batches.close`."""
        return self._take(lambda connection: batches.close(connection, self.id, batch, station, ts))

    def find_taken(self, serials: Iterable[str] = (), node_ids: Iterable[str] = ()) -> tuple[Taken, ...]:
        """Return the serials and node ids that are already in the ledger."""
        with self._database.reading() as connection:
            return tuple(batches.find_taken(connection, serials, node_ids))

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
        return self._take(lambda connection: claims.claim(connection, self.id, wish, event, station, carried, around))

    def record(self, station: str, events: Iterable[Event]) -> None:
        """Add steps and verdicts, and change the state of a unit if an event contains one. See `outcomes.record`."""
        said = tuple(events)

        def record(connection: Connection) -> None:
            self._judge(connection)
            outcomes.record(connection, self.id, station, said)

        self._database.commit(record)

    def guarded(self) -> AbstractContextManager[None]:
        """Look for damage in the background until the block ends; the next claim raises what is found."""
        return self._database.guarded()

    def void(
        self, *terms: str, reason: str, station: str, ts: str, seen: Mapping[str, Standing] | None = None
    ) -> tuple[LedgerIdentity, ...]:
        """Void the identities with these serials, node ids or live MACs; they cannot be used again.

        All or none. See `outcomes.void`.
        """
        return self._take(lambda connection: outcomes.void(connection, self.id, station, terms, reason, ts, seen or {}))

    def reconciled(self, events: Iterable[Event], seen: Mapping[str, Standing], *, station: str) -> None:
        """Record what was found about boards, and void the claims that are given up. See `outcomes.reconciled`."""
        said = tuple(events)
        self._take(lambda connection: outcomes.reconciled(connection, self.id, station, said, seen))

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
        with self._changing() as connection:
            outcomes.labelled(connection, self.id, station, serials, ts, details or {})
            yield

    def rewrap(self, wrapped: Mapping[int, bytes], *, recipients: Iterable[str], station: str, ts: str) -> None:
        """Replace wrapped data keys by chunk id. See `outcomes.rewrap`."""
        with self._changing() as connection:
            outcomes.rewrap(connection, self.id, station, wrapped, ts, recipients)

    def accept(self, station: str, event: Event, *, after: StoredEvent | None) -> bool:
        """Record that a release or trust file was accepted, unless one came in since *after*. See `releases.accept`."""
        with self._changing() as connection:
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

    def identity_by_mac(self, mac: str) -> LedgerIdentity | None:
        """Return the identity of the live unit with this MAC. Raise InputError if *mac* is not a MAC."""
        with self._database.reading() as connection:
            return queries.by_mac(connection, normal_mac(mac))

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

    def identities(self, name: str) -> Iterator[LedgerIdentity]:
        """Yield the identities of the closed batch *name* in order of position, in constant memory."""
        with self._database.reading() as connection:
            batch = queries.closed_batch(connection, name)

        def page(after: int) -> Sequence[LedgerIdentity]:
            with self._database.reading() as connection:
                return queries.page(connection, batch, after)

        yield from pages(page)

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
        """Return the wrapped data key of a chunk (`LedgerIdentity.chunk`). Raise KeyError if it does not exist."""
        with self._database.reading() as connection:
            return queries.chunk(connection, chunk).wrapped_key

    # Maintenance

    def check(self, limit: int = 1000) -> tuple[AuditFinding, ...]:
        """Return up to *limit* problems of the ledger, none if it is sound. See `audit.check`."""
        with self._database.reading() as connection:
            return tuple(islice(audit.check(connection, self.id, self._database.damage(connection)), limit))

    def rebuild(self) -> int:
        """Recompute current state from the events; return how many identities were repaired. See `audit.rebuild`."""
        with self._database.writing() as connection:
            return audit.rebuild(connection, self.id)

    def backup(self, target: Path) -> None:
        """Write a consistent copy to the new file *target* while stations keep working. See `Database.backup`."""
        self._database.backup(target)


def _shown(location: Path | str) -> str:
    """Return *location* for messages, also for those of other workspaces."""
    return str(location if "://" in str(location) else Path(location).absolute())


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
        pool.hold_empty(connection, ledger_id, holding)
