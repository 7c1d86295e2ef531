"""The ledger: one file, one object per process, usable from every thread.

    ledger = Ledger.open(path, create=True)
    order = BatchOrder(name=None, prefix="lamp", product="lamp", size=250, policy={...}, unique_key=..., serial_of=...)
    batch = ledger.begin_batch(order, ts)                        # open: nothing is claimed from it yet
    for plan in ledger.missing_chunks(batch):
        again = ledger.add_chunk(batch, plan.number, wrapped_key, records)   # indices to draw again, () when written
    ledger.close_batch(batch, station, ts)
    claim = ledger.claim(mac, product="lamp", station="bench", slot=slot, ts=ts, carried=Carried(node_id=...))
    ledger.record("bench", [Event(ts, Kind.STEP, serial=claim.identity.serial, step="flash", outcome=Outcome.PASS,
                                  state=State.FLASHED, seconds=6.1)])
    ledger.check(); ledger.backup(target)

Times are given by the caller (`timestamp(datetime)`); stations are names. Everything that changes is one durable
transaction. Raised everywhere: LedgerError (causes `ledger-locked`, `-read-only`, `-full`, `-io`, `-missing`,
`-newer`, `-network`) and IntegrityError (`ledger-corrupt`, `ledger-constraint`).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, insert, inspect, select, text

from rmfab.errors import InputError, LedgerError
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import audit, backup, batches, claims, outcomes, records, releases, schema, sqlite
from rmfab.ledger.audit import AuditFinding
from rmfab.ledger.batches import BatchOrder, Taken
from rmfab.ledger.claims import Carried, Claim, Wish
from rmfab.ledger.events import Event, EventKind, StoredEvent, normal_mac
from rmfab.ledger.records import Batch, BatchCount, Chunk, ChunkPlan, LedgerIdentity
from rmfab.ledger.releases import FlashedUnit

PATIENCE = 30.0
"""Seconds that a lock of another process is waited for."""


class Ledger:
    """Identities, the boards that have them, and what happened to each. Made by `open`; a context manager."""

    def __init__(self, path: Path, engine: Engine, ledger_id: str) -> None:
        self.path = path
        self.id = ledger_id
        self._engine = engine
        self._writer = threading.Lock()

    @classmethod
    def open(cls, location: Path | str, *, create: bool, patience: float = PATIENCE) -> Self:
        """Opens the ledger in the file *location*; with *create* makes it where there is none.

        An older schema is brought up to date. Raises LedgerError, and InputError for a database URL: this version
        keeps its ledger in SQLite.
        """
        if "://" in str(location):
            raise InputError(
                "this version of rmfab keeps its ledger in a file, not on a database server",
                hint="give the path of a file, or leave it out",
                cause="ledger-url",
            )
        path = Path(location)
        _find(path, create)
        engine = sqlite.open_engine(path, patience)
        try:
            with sqlite.explained(path):
                ledger_id = _ready(engine, path, patience, create)
        except BaseException:
            engine.dispose()
            raise
        return cls(path, engine, ledger_id)

    def close(self) -> None:
        """Closes all connections. The object is of no use afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Making batches

    def begin_batch(self, order: BatchOrder, ts: str) -> Batch:
        """See `batches.begin`: the batch of *order*, new, continued, or (`closed`) made before."""
        with self._writing() as connection:
            return batches.begin(connection, order, ts)

    def missing_chunks(self, batch: Batch) -> tuple[ChunkPlan, ...]:
        """The chunks that *batch* still needs, in order."""
        with self._reading() as connection:
            return tuple(batches.missing(connection, batch))

    def add_chunk(
        self, batch: Batch, number: int, wrapped_key: bytes, sealed: Sequence[SealedRecord]
    ) -> tuple[int, ...]:
        """See `batches.add`: writes a chunk and returns (), or the indices in *sealed* to draw again."""
        with self._writing() as connection:
            return batches.add(connection, batch, number, wrapped_key, sealed)

    def close_batch(self, batch: Batch, station: str, ts: str) -> Batch:
        """See `batches.close`: makes a complete batch claimable."""
        with self._writing() as connection:
            return batches.close(connection, self.id, batch, station, ts)

    def find_taken(self, serials: Iterable[str] = (), node_ids: Iterable[str] = ()) -> tuple[Taken, ...]:
        """The serials and node ids that are in the ledger already."""
        with self._reading() as connection:
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
        with self._writing() as connection:
            return claims.claim(connection, self.id, Wish(product, batch, serial), event, station, carried)

    def record(self, station: str, events: Iterable[Event]) -> None:
        """See `outcomes.record`: adds steps and verdicts, moving units where an event names a state."""
        with self._writing() as connection:
            outcomes.record(connection, self.id, station, events)

    def void(self, term: str, *, reason: str, station: str, ts: str) -> LedgerIdentity:
        """See `outcomes.void`: the identity of a serial, node id or live MAC is never used again."""
        with self._writing() as connection:
            return outcomes.void(connection, self.id, station, term, reason, ts)

    def labelled(
        self, serials: Iterable[str], *, station: str, ts: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """See `outcomes.labelled`: notes printed labels, the first and every later time."""
        with self._writing() as connection:
            outcomes.labelled(connection, self.id, station, serials, ts, details or {})

    def rewrap(self, wrapped: Mapping[int, bytes], *, recipients: Iterable[str], station: str, ts: str) -> None:
        """See `outcomes.rewrap`: new wrapped data keys by chunk id."""
        with self._writing() as connection:
            outcomes.rewrap(connection, self.id, station, wrapped, ts, recipients)

    def accept(self, station: str, event: Event, *, after: StoredEvent | None) -> bool:
        """See `releases.accept`: notes that a release or a trust file was accepted, unless another came in between."""
        with self._writing() as connection:
            return releases.accept(connection, self.id, station, event, after)

    # Reading

    def last_release(self, product: str) -> StoredEvent | None:
        """The last acceptance of a release for *product*."""
        with self._reading() as connection:
            return releases.last_accepted(connection, EventKind.RELEASE, product)

    def last_trust(self, product: str) -> StoredEvent | None:
        """The last acceptance of a trust file for *product*."""
        with self._reading() as connection:
            return releases.last_accepted(connection, EventKind.TRUST, product)

    def flashed_units(self, digest: str) -> Iterator[FlashedUnit]:
        """See `releases.flashed_units`: the units that got a release, or one that a key signed, in flat memory."""
        with self._reading() as connection:
            yield from releases.flashed_units(connection, digest)

    def batches(self) -> tuple[Batch, ...]:
        """All batches, open ones too, oldest first."""
        with self._reading() as connection:
            return records.batches(connection)

    def batch(self, name: str) -> Batch:
        """The batch *name*, open or closed. Raises InputError (cause `no-batch`)."""
        with self._reading() as connection:
            return records.batch_named(connection, name)

    def counts(self, name: str | None = None) -> tuple[BatchCount, ...]:
        """How the identities of batch *name*, or of each batch, stand."""
        with self._reading() as connection:
            return records.counts(connection, name)

    def free(self, product: str, batch: str | None = None) -> int:
        """How many identities can still be claimed from *batch*, or from all batches of *product*."""
        with self._reading() as connection:
            return records.free(connection, product, batch)

    def identity_by_serial(self, serial: str) -> LedgerIdentity | None:
        """The identity with this serial."""
        with self._reading() as connection:
            return records.by_serial(connection, serial)

    def identity_by_node_id(self, node_id: str) -> LedgerIdentity | None:
        """The identity with this node id."""
        with self._reading() as connection:
            return records.by_node_id(connection, node_id)

    def identity_by_mac(self, mac: str) -> LedgerIdentity | None:
        """The identity of the live unit with this MAC. Raises InputError where *mac* is none."""
        with self._reading() as connection:
            return records.by_mac(connection, normal_mac(mac))

    def find(self, term: str) -> tuple[LedgerIdentity, ...]:
        """The identities that a serial, node id or MAC names, void ones too."""
        with self._reading() as connection:
            return records.find(connection, term)

    def history(self, term: str) -> tuple[StoredEvent, ...]:
        """The events of a serial, node id or MAC, in order."""
        with self._reading() as connection:
            return records.history(connection, term)

    def identities(self, name: str) -> Iterator[LedgerIdentity]:
        """The identities of the closed batch *name* in order of position, in flat memory."""
        with self._reading() as connection:
            batch = records.closed_batch(connection, name)
        position = -1
        while True:
            with self._reading() as connection:
                some = records.page(connection, batch, position)
            if not some:
                return
            yield from some
            position = some[-1].position

    def chunks(self, name: str | None = None) -> Iterator[Chunk]:
        """The chunks of batch *name*, or of all batches, in flat memory."""
        after = 0
        with self._reading() as connection:
            batch = None if name is None else records.batch_named(connection, name)
        while True:
            with self._reading() as connection:
                some = records.chunks(connection, batch, after)
            if not some:
                return
            yield from some
            after = some[-1].id

    def wrapped_key(self, chunk: int) -> bytes:
        """The wrapped data key of the chunk that `Identity.chunk` names. Raises KeyError."""
        with self._reading() as connection:
            return records.chunk(connection, chunk).wrapped_key

    # Keeping

    def check(self, limit: int = 1000) -> tuple[AuditFinding, ...]:
        """See `checking.check`: what does not hold, the first *limit* of it; empty for a sound ledger."""
        with self._reading() as connection:
            return tuple(islice(audit.check(connection, self.id), limit))

    def rebuild(self) -> int:
        """See `checking.rebuild`: makes current state from history; returns how many identities it mended."""
        with self._writing() as connection:
            return audit.rebuild(connection, self.id)

    def backup(self, target: Path) -> None:
        """See `backup.backup`: a consistent copy in the new file *target*, while stations go on working."""
        with sqlite.explained(target):
            backup.backup(self._engine, target)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One snapshot to read."""
        with sqlite.explained(self.path), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """The one right to write, and all of it or nothing."""
        with self._writer, sqlite.explained(self.path), _exclusive(self._engine) as connection:
            yield connection


def _find(path: Path, create: bool) -> None:
    """Raises LedgerError where there is no ledger and none is to be made."""
    sqlite.refuse_network(path.parent)
    if create:
        sqlite.make_file(path)
        return
    if not path.is_file():
        raise LedgerError("there is no ledger here", where=str(path), cause="ledger-missing")


def _ready(engine: Engine, path: Path, patience: float, create: bool) -> str:
    """Brings the schema up to date where it is not; returns the ledger's id."""
    with engine.connect() as connection, connection.begin():
        revision = _revision(connection, path)
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    if revision is None and not create:
        raise LedgerError("the ledger is empty", where=str(path), cause="ledger-missing")
    if journal != "wal":
        sqlite.use_wal(engine, patience)
    if revision != schema.HEAD:
        _migrate(engine, path)
    with engine.connect() as connection, connection.begin():
        query = select(schema.meta.c.value).where(schema.meta.c.name == "ledger_id")
        return str(connection.execute(query).scalar_one())


def _migrate(engine: Engine, path: Path) -> None:
    from rmfab.ledger import migrations

    with _exclusive(engine) as connection:
        revision = _revision(connection, path)  # another process may have been faster
        if revision == schema.HEAD:
            return
        if revision is not None and not migrations.knows(revision):
            raise LedgerError(
                "this ledger was made by a newer rmfab",
                where=str(path),
                hint="update rmfab on this host",
                cause="ledger-newer",
            )
        migrations.upgrade(connection)
        if revision is None:
            connection.execute(insert(schema.meta).values(name="ledger_id", value=uuid.uuid4().hex))


def _revision(connection: Connection, path: Path) -> str | None:
    """The revision of the schema; None for an empty database. Raises LedgerError for a database of another program."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables or "identity" not in tables:
        raise LedgerError("this database is no ledger of rmfab", where=str(path), cause="ledger-foreign")
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection = connection.execution_options(**{sqlite.BEGIN: "BEGIN IMMEDIATE"})
        with connection.begin():
            yield connection
