"""The ledger: one database, one object per process, usable from every thread.

    ledger = Ledger.open(path, create=True)
    order = BatchOrder(name=None, prefix="lamp", product="lamp", size=250, policy={...}, unique_key=..., serial_of=...)
    batch = ledger.begin_batch(order, ts)                        # open: nothing is claimed from it yet
    for plan in ledger.missing_chunks(batch):
        again = ledger.add_chunk(batch, plan.number, wrapped_key, records)   # indices to draw again, () when written
    ledger.close_batch(batch, station, ts)
    claim = ledger.claim(mac, product="lamp", station="bench", slot=slot, ts=ts, carried=Carried(node_id=...))
    ledger.record("bench", [Event(ts, EventKind.STEP, serial=claim.identity.serial, step="flash", outcome=Outcome.PASS,
                                  state=State.FLASHED, seconds=6.1)])
    ledger.check(); ledger.backup(target)

Times are given by the caller (`timestamp(datetime)`); stations are names. Everything that changes is one durable
transaction. Raised everywhere: LedgerError (causes `ledger-locked`, `-read-only`, `-full`, `-io`, `-missing`,
`-newer`, `-network`) and IntegrityError (`ledger-corrupt`, `ledger-constraint`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import audit, batches, claims, outcomes, queries, releases
from rmfab.ledger.audit import AuditFinding
from rmfab.ledger.batches import BatchOrder, Taken
from rmfab.ledger.claims import Carried, Claim, Wish
from rmfab.ledger.events import Event, EventKind, StoredEvent, normal_mac
from rmfab.ledger.records import Batch, BatchCount, Chunk, ChunkPlan, LedgerIdentity
from rmfab.ledger.releases import FlashedUnit
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.open_database import open_database

PATIENCE = 30.0
"""Seconds that a lock of another process is waited for."""


class Ledger:
    """Identities, the boards that have them, and what happened to each. Made by `open`; a context manager."""

    def __init__(self, database: Database, ledger_id: str) -> None:
        self.id = ledger_id
        self._database = database

    @classmethod
    def open(cls, location: Path | str, *, create: bool, patience: float = PATIENCE) -> Self:
        """Opens the ledger at *location*, the path of a file; with *create* makes it where there is none.

        An older schema is brought up to date. Raises LedgerError, and InputError for a database URL: this version
        keeps its ledger in SQLite.
        """
        database = open_database(location, create=create, patience=patience)
        try:
            database.upgrade(create=create)
            with database.reading() as connection:
                return cls(database, queries.ledger_id(connection))
        except BaseException:
            database.dispose()
            raise

    def close(self) -> None:
        """Closes all connections. The object is of no use afterwards."""
        self._database.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Making batches

    def begin_batch(self, order: BatchOrder, ts: str) -> Batch:
        """See `batches.begin`: the batch of *order*, new, continued, or (`closed`) made before."""
        with self._database.writing() as connection:
            return batches.begin(connection, order, ts)

    def missing_chunks(self, batch: Batch) -> tuple[ChunkPlan, ...]:
        """The chunks that *batch* still needs, in order."""
        with self._database.reading() as connection:
            return tuple(batches.missing(connection, batch))

    def add_chunk(
        self, batch: Batch, number: int, wrapped_key: bytes, sealed: Sequence[SealedRecord]
    ) -> tuple[int, ...]:
        """See `batches.add`: writes a chunk and returns (), or the indices in *sealed* to draw again."""
        with self._database.writing() as connection:
            return batches.add(connection, batch, number, wrapped_key, sealed)

    def close_batch(self, batch: Batch, station: str, ts: str) -> Batch:
        """See `batches.close`: makes a complete batch claimable."""
        with self._database.writing() as connection:
            return batches.close(connection, self.id, batch, station, ts)

    def find_taken(self, serials: Iterable[str] = (), node_ids: Iterable[str] = ()) -> tuple[Taken, ...]:
        """The serials and node ids that are in the ledger already."""
        with self._database.reading() as connection:
            return tuple(batches.find_taken(connection, serials, node_ids))

    # Units

    def claim(
        self,
        mac: str,
        *,
        product: str,
        station: str,
        ts: str,
        batch: str | None = None,
        serial: str | None = None,
        slot: str | None = None,
        carried: Carried | None = None,
    ) -> Claim:
        """The identity of the board *mac*, bound durably before this returns. See `rmfab.ledger.claims`."""
        event = claims.claim_event(mac, slot, ts)
        with self._database.writing() as connection:
            return claims.claim(connection, self.id, Wish(product, batch, serial), event, station, carried)

    def record(self, station: str, events: Iterable[Event]) -> None:
        """See `outcomes.record`: adds steps and verdicts, moving units where an event names a state."""
        with self._database.writing() as connection:
            outcomes.record(connection, self.id, station, events)

    def void(self, term: str, *, reason: str, station: str, ts: str) -> LedgerIdentity:
        """See `outcomes.void`: the identity of a serial, node id or live MAC is never used again."""
        with self._database.writing() as connection:
            return outcomes.void(connection, self.id, station, term, reason, ts)

    def labelled(
        self, serials: Iterable[str], *, station: str, ts: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """See `outcomes.labelled`: notes printed labels, the first and every later time."""
        with self._database.writing() as connection:
            outcomes.labelled(connection, self.id, station, serials, ts, details or {})

    def rewrap(self, wrapped: Mapping[int, bytes], *, recipients: Iterable[str], station: str, ts: str) -> None:
        """See `outcomes.rewrap`: new wrapped data keys by chunk id."""
        with self._database.writing() as connection:
            outcomes.rewrap(connection, self.id, station, wrapped, ts, recipients)

    def accept(self, station: str, event: Event, *, after: StoredEvent | None) -> bool:
        """See `releases.accept`: notes that a release or a trust file was accepted, unless another came in between."""
        with self._database.writing() as connection:
            return releases.accept(connection, self.id, station, event, after)

    # Reading

    def last_release(self, product: str) -> StoredEvent | None:
        """The last acceptance of a release for *product*."""
        with self._database.reading() as connection:
            return releases.last_accepted(connection, EventKind.RELEASE, product)

    def last_trust(self, product: str) -> StoredEvent | None:
        """The last acceptance of a trust file for *product*."""
        with self._database.reading() as connection:
            return releases.last_accepted(connection, EventKind.TRUST, product)

    def flashed_units(self, digest: str) -> Iterator[FlashedUnit]:
        """See `releases.flashed_units`: the units that got a release, or one that a key signed, in flat memory."""
        with self._database.reading() as connection:
            yield from releases.flashed_units(connection, digest)

    def batches(self) -> tuple[Batch, ...]:
        """All batches, open ones too, oldest first."""
        with self._database.reading() as connection:
            return queries.batches(connection)

    def batch(self, name: str) -> Batch:
        """The batch *name*, open or closed. Raises InputError (cause `no-batch`)."""
        with self._database.reading() as connection:
            return queries.batch_named(connection, name)

    def counts(self, name: str | None = None) -> tuple[BatchCount, ...]:
        """How the identities of batch *name*, or of each batch, stand."""
        with self._database.reading() as connection:
            return queries.counts(connection, name)

    def free(self, product: str, batch: str | None = None) -> int:
        """How many identities can still be claimed from *batch*, or from all batches of *product*."""
        with self._database.reading() as connection:
            return queries.free(connection, product, batch)

    def identity_by_serial(self, serial: str) -> LedgerIdentity | None:
        """The identity with this serial."""
        with self._database.reading() as connection:
            return queries.by_serial(connection, serial)

    def identity_by_mac(self, mac: str) -> LedgerIdentity | None:
        """The identity of the live unit with this MAC. Raises InputError where *mac* is none."""
        with self._database.reading() as connection:
            return queries.by_mac(connection, normal_mac(mac))

    def find(self, term: str) -> tuple[LedgerIdentity, ...]:
        """The identities that a serial, node id or MAC names, void ones too."""
        with self._database.reading() as connection:
            return queries.find(connection, term)

    def history(self, term: str) -> tuple[StoredEvent, ...]:
        """The events of a serial, node id or MAC, in order."""
        with self._database.reading() as connection:
            return queries.history(connection, term)

    def identities(self, name: str) -> Iterator[LedgerIdentity]:
        """The identities of the closed batch *name* in order of position, in flat memory."""
        with self._database.reading() as connection:
            batch = queries.closed_batch(connection, name)
        position = -1
        while True:
            with self._database.reading() as connection:
                some = queries.page(connection, batch, position)
            if not some:
                return
            yield from some
            position = some[-1].position

    def chunks(self, name: str | None = None) -> Iterator[Chunk]:
        """The chunks of batch *name*, or of all batches, in flat memory."""
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
        """The wrapped data key of the chunk that `Identity.chunk` names. Raises KeyError."""
        with self._database.reading() as connection:
            return queries.chunk(connection, chunk).wrapped_key

    # Keeping

    def check(self, limit: int = 1000) -> tuple[AuditFinding, ...]:
        """See `audit.check`: what does not hold, the first *limit* of it; empty for a sound ledger."""
        with self._database.reading() as connection:
            return tuple(islice(audit.check(connection, self.id, self._database.damage(connection)), limit))

    def rebuild(self) -> int:
        """See `audit.rebuild`: makes current state from history; returns how many identities it mended."""
        with self._database.writing() as connection:
            return audit.rebuild(connection, self.id)

    def backup(self, target: Path) -> None:
        """See `Database.backup`: a consistent copy in the new file *target*, while stations go on working."""
        self._database.backup(target)
