"""PostgreSQL for the ledger: several stations on one server, each with its own chain of events.

This module starts the transactions, not the driver. A read is one snapshot (REPEATABLE READ). Writes of one process
share one connection, one after the other, and are READ COMMITTED: the rules lock the rows that they decide about. Two
locks of the server order the transactions (advisory locks, postgresql.org/docs/15/explicit-locking.html): changes that
concern everyone (a batch, an adoption, a migration) run alone, claims and records run beside each other; and the name
of a station belongs to one host as long as it is connected.

A connection that is lost before COMMIT was sent has written nothing. If it is lost during COMMIT, the server is asked
what became of the transaction: whether the event that it wrote is there, and whether it is over (pg_xact_status).
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, QueuePool, bindparam, create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rmfab.errors import LedgerError, RmfabError
from rmfab.ledger.sql import postgres_schema, schema
from rmfab.ledger.sql.copy_rows import backup_to_file
from rmfab.ledger.sql.database import Damage, LedgerServer, Weakness
from rmfab.ledger.sql.evidence import Evidence, forget, left
from rmfab.ledger.sql.group_commit import GroupCommit
from rmfab.ledger.sql.outage import Away, Outage, Unsettled, Watcher
from rmfab.ledger.sql.postgres_errors import Conflict, explain
from rmfab.ledger.sql.postgres_link import Link, LinkWatch, connect, reaches
from rmfab.ledger.sql.postgres_pipeline import ServerAnswer
from rmfab.ledger.sql.server_address import ServerAddress
from rmfab.ledger.sql.statement import Asked, driver, of_text
from rmfab.ledger.sql.station_lock import StationLock
from rmfab.ledger.sql.upgrade import needs_upgrade, refuse_other_revision, upgrade_schema

T = TypeVar("T")

for _name in ("psycopg", "sqlalchemy.pool"):
    # Without a handler, Python prints on the operator's screen what they log of each lost connection, with tracebacks.
    logging.getLogger(_name).addHandler(logging.NullHandler())

_FIRST = "rmfab_first"
"""What the first statement of the transaction returned."""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

_TOGETHER = "SELECT pg_current_xact_id()::text FROM pg_advisory_xact_lock_shared(1919772258, 0)"
_ALONE = "SELECT pg_current_xact_id()::text FROM pg_advisory_xact_lock(1919772258, 0)"
"""Both return the id of the transaction; 1919772258 is "rmfb" in ASCII."""
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
_WRITTEN = select(schema.event.c.id).where(
    schema.event.c.chain == bindparam("chain"),
    schema.event.c.seq == bindparam("seq"),
    schema.event.c.hash == bindparam("hash"),
)
_STATUS = text("SELECT pg_xact_status((:xid)::xid8)")
_IN_THE_FUTURE = "22023"
"""SQLSTATE of pg_xact_status for an id that was not given yet (xid8funcs.c, TransactionIdInRecentPast)."""
_END = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = (:xid)::xid8::xid")
_READERS = 32
"""How many threads may read at once: more than a line has slots."""
_RACES = 20
"""How often work that lost a race runs again; each time someone else has succeeded."""
_ANSWER_FACTOR = 1.5
"""The server has this many times our patience to answer: it waits itself for locks, as long as we are patient."""
_BY_INDEX = {"enable_seqscan": "off", "jit": "off"}
"""Settings of the connection that writes. The server plans a claim's statements once, also if the ledger is still empty
then, and would read its tables from end to end from then on (postgresql.org/docs/15/sql-prepare.html)."""
_PLACE = """
SELECT (SELECT system_identifier FROM pg_control_system())::text
    || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
    || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""The cluster, its timeline (new after a restore to a point in time, or when a replica takes over), and the database: a
restored dump has a new one. A connection does not outlive them."""
_TABLE = of_text("SELECT CAST(to_regclass('event') AS oid)")
"""The table: it is new if a dump was restored into the same database, under the connections of the stations."""


class PostgresDatabase:
    """A ledger on the server at *address*; waits up to *patience* seconds for each lock. See `Database`."""

    def __init__(self, address: ServerAddress, patience: float, host: str) -> None:
        self.address = address
        self._shown = address.shown
        self._patience = patience
        self._watch = LinkWatch(_ANSWER_FACTOR * patience, partial(reaches, address))
        self._outage = Outage()
        self._stations = StationLock(address.shown, host)
        connecting = partial(_connect, address, patience, self._watch, self._stations.application_name)
        self._writers = _make_engine(partial(connecting, _BY_INDEX), patience, 1)
        self._readers = _make_engine(partial(connecting, {}), patience, _READERS)
        self._kept: list[Connection] = []  # that of the last writer: a new one costs a tenth of a claim
        self._closing = weakref.finalize(self, _close, self._kept, self._writers, self._readers, self._watch)
        self._writer = threading.Lock()
        self._group = GroupCommit(self._put_off, patience)

    @classmethod
    def open(cls, address: ServerAddress, *, patience: float, host: str) -> Self:
        """Connect to the server once, so that a wrong address or user is noticed now. Raise LedgerError.

        *host* is that of `host_of`.
        """
        database = cls(address, patience, host)
        try:
            with _explained(address.shown), database._readers.connect():
                return database
        except BaseException:
            database.dispose()
            raise

    @property
    def server(self) -> LedgerServer:
        """See `Database.server`."""
        return self

    @property
    def shown(self) -> str:
        """See `Database.shown`: the address, which has no password."""
        return self._shown

    @property
    def caveat(self) -> str | None:
        """See `Database.caveat`. The server decides for each statement what this user may do."""
        return None

    def upgrade(self, *, create: bool) -> None:
        """See `Database.upgrade`. An older schema is upgraded only by `migrate`: other stations work on it."""
        with self.reading() as connection:
            empty = self._is_empty(connection)
            if empty and not create:
                raise LedgerError(
                    "there is no ledger in this database",
                    where=self._shown,
                    hint="`rmfab ledger init` makes one; `rmfab ledger copy` brings one here",
                    cause="ledger-missing",
                )
            if not empty and needs_upgrade(connection, self._shown, create=create):
                refuse_other_revision(connection, self._shown)
        if empty:
            self.migrate()

    def _is_empty(self, connection: Connection) -> bool:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
        return bool(connection.exec_driver_sql(query).scalar_one() == 0)

    def migrate(self, backup: Path | None = None) -> bool:
        """See `LedgerServer.migrate`."""
        with self.writing() as connection:
            empty = self._is_empty(connection)
            if not empty and not needs_upgrade(connection, self._shown, create=True):
                return False
            if empty:
                postgres_schema.refuse_unfit(connection, self._shown)
            else:
                if backup is not None:
                    backup_to_file(connection, backup, self._patience)
                postgres_schema.loosen(connection)
            upgrade_schema(connection, self._shown)
            postgres_schema.complete(connection)
        return True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction: one snapshot."""
        deadline = time.monotonic() + self._patience
        with _explained(self._shown), self._begun(self._readers, deadline, (_READ, "SELECT 1")) as connection:
            yield connection

    @contextmanager
    def writing(self, *, alone: bool = True) -> Iterator[Connection]:
        """See `Database.writing`."""
        with self._writing(time.monotonic() + self._patience, _ALONE if alone else _TOGETHER) as connection:
            yield connection

    def commit(self, work: Callable[[Connection], T]) -> T:
        """See `Database.commit`. Work that lost a race or its connection runs again."""
        attempts = self._outage.attempts(time.monotonic() + self._patience)
        races = 0
        while True:
            try:
                return self._group.run(work)
            except Conflict:
                races += 1
                if races == _RACES:
                    raise
            except Away as error:
                attempts.pause(error, lost=True)

    def _put_off(self, deadline: float) -> AbstractContextManager[Connection]:
        return self._writing(deadline, _TOGETHER, later=True)

    @contextmanager
    def _writing(self, deadline: float, first: str, *, later: bool = False) -> Iterator[Connection]:
        """Open a write transaction; wait for the server until *deadline* (monotonic). See `_begin`."""
        if not self._writer.acquire(timeout=max(0.0, deadline - time.monotonic())):
            what = "this ledger is busy with a different task of this program"
            raise LedgerError(what, where=self._shown, hint="retry", cause="ledger-locked")
        try:
            with (
                _explained(self._shown),
                self._begun(self._writers, deadline, (_WRITE, first), later=later) as connection,
            ):
                forget(connection)
                yield connection
                self._commit(connection, deadline)
        finally:
            self._writer.release()

    @contextmanager
    def _begun(
        self, engine: Engine, deadline: float, statements: tuple[str, str], *, later: bool = False
    ) -> Iterator[Connection]:
        """Yield a connection in a transaction. See `_begin`.

        A connection that the server has ended since it was used last is replaced: that alone is no outage, and after
        one, every connection from before it is found so.
        """
        attempts = self._outage.attempts(deadline)
        while True:
            connection = None
            try:
                kept = engine is self._writers and self._kept
                connection = kept.pop() if kept else engine.connect()
                _begin(connection, *statements, later=later)
                connection.begin()
                break
            except (DBAPIError, psycopg.Error) as error:
                if connection is not None:
                    _drop(connection)
                told = _told(error, self._shown)
                if not isinstance(told, Away):
                    raise told from error
                engine.dispose()  # the other connections are probably lost, too
                attempts.pause(told, lost=connection is not None)
            except BaseException:
                if connection is not None:
                    _drop(connection)
                raise
        self._outage.note_back()
        try:
            yield connection
        except BaseException:
            _drop(connection)
            raise
        if connection.closed or connection.in_transaction():  # that of a reader always is
            _drop(connection)
        else:
            self._kept.append(connection)

    def _commit(self, connection: Connection, deadline: float) -> None:
        """Commit the transaction. Raise Away if it was not written, Unsettled if nobody can say."""
        evidence, xid = left(connection), None
        try:
            if _FIRST not in connection.info:
                driver(connection).catch_up()
            xid = str(connection.info[_FIRST])
            connection.commit()
        except (DBAPIError, psycopg.Error) as error:
            _drop(connection)
            told = _told(error, self._shown)
            if xid is None or not isinstance(told, Away) or not self._was_committed(xid, evidence, told, deadline):
                raise told from error

    def _was_committed(self, xid: str, evidence: Evidence | None, lost: Away, deadline: float) -> bool:
        """Return what became of the transaction *xid*, whose connection was *lost* during COMMIT."""
        unsettled = Unsettled(
            f"the connection was lost while a change was written; whether it was is not known: {lost.what}",
            where=self._shown,
            hint="when the server is back, look with `rmfab trace` or `rmfab status`; repeating the command is safe",
            cause="ledger-away",
        )
        # The server gets a new patience: it was away when the old one began to run out.
        attempts = self._outage.attempts(max(deadline, time.monotonic() + self._patience))
        while True:
            connection = None
            try:
                with _explained(self._shown), self._readers.connect() as connection:
                    found = _outcome(connection, xid, evidence)
            except Away:
                found = None
            except RmfabError as error:  # the server does not know the transaction: it is not the same one any more
                raise unsettled from error
            if found is not None:
                return found
            attempts.pause(unsettled, lost=connection is not None)

    def place(self, connection: Connection) -> str:
        """See `LedgerServer.place`."""
        found = connection.info.get("rmfab_place")
        if found is None:
            found = connection.info["rmfab_place"] = connection.exec_driver_sql(_PLACE).scalar_one()
        ((table,),) = _TABLE.tuples(connection, {})
        return f"{found}/{table}"

    @property
    def foreseen(self) -> Sequence[Asked]:
        """See `LedgerServer.foreseen`."""
        return ((_TABLE, {}),)

    def occupy(self, connection: Connection, station: str) -> None:
        """See `LedgerServer.occupy`."""
        self._stations.take(connection, station)

    @contextmanager
    def guarded(self, watcher: Watcher | None = None) -> Iterator[None]:
        """See `Database.guarded`."""
        with self._outage.watched(watcher):
            yield

    def refuse_damage(self) -> None:
        """See `Database.refuse_damage`. The server checks its own files."""

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """See `Database.damage`."""
        return postgres_schema.damage(connection)

    def now(self, connection: Connection) -> datetime:
        """Return the server's clock."""
        said: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return said

    def backup(self, target: Path) -> None:
        """See `Database.backup`. The copy is a SQLite file, of one snapshot."""
        with self.reading() as connection:
            backup_to_file(connection, target, self._patience)

    def weaknesses(self, connection: Connection) -> Iterator[Weakness]:
        """See `LedgerServer.weaknesses`."""
        return postgres_schema.weaknesses(connection)

    def grant(self, connection: Connection, stations: Sequence[str], readers: Sequence[str]) -> None:
        """See `LedgerServer.grant`."""
        postgres_schema.grant(connection, stations, readers)

    def continue_numbers(self, connection: Connection) -> None:
        """See `LedgerServer.continue_numbers`."""
        postgres_schema.continue_numbers(connection)

    def dispose(self) -> None:
        """Close all connections; the end of the process does so, too, so that the server frees its locks at once."""
        self._closing()


def _outcome(connection: Connection, xid: str, evidence: Evidence | None) -> bool | None:
    """Return whether the transaction *xid* was committed; end its session and return None if that still goes on."""
    status = _status(connection, xid)  # first: once it is over, the look is final
    written = evidence is not None and connection.execute(_WRITTEN, vars(evidence)).first() is not None
    if status == "in progress" and not written:
        # It waits for a COMMIT that never arrived, and keeps its locks.
        connection.execute(_END, {"xid": xid}).all()
        return None
    # Without an event, only a part of a batch or a schema is at stake, which is looked at again before it counts.
    return written if evidence is not None else bool(status == "committed")


def _status(connection: Connection, xid: str) -> str:
    """Return the status of the transaction *xid*. A server that crashed may have forgotten that it gave this id."""
    try:
        return str(connection.execute(_STATUS, {"xid": xid}).scalar_one())
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error) and error.orig.sqlstate == _IN_THE_FUTURE:
            return "aborted"
        raise


def _connect(address: ServerAddress, patience: float, watch: LinkWatch, name: str, planning: Mapping[str, str]) -> Link:
    settings = {
        **planning,
        "lock_timeout": f"{round(1000 * patience)}ms",
        "statement_timeout": f"{round(1000 * watch.seconds)}ms",
        "idle_in_transaction_session_timeout": "15min",
        # The server must notice soon that a station is gone: until then it keeps its locks.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    link = connect(address, watch, name, settings)
    try:
        link.execute(_DURABLE)  # a claim must survive a power cut, whatever the server's default is
    except BaseException:
        link.close()
        raise
    return link


def _make_engine(connecting: Callable[[], Link], patience: float, size: int) -> Engine:
    """Return an engine with up to *size* connections."""
    return create_engine(
        "postgresql+psycopg://",
        creator=connecting,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=patience,
        use_native_hstore=False,
    )


def _close(kept: list[Connection], writers: Engine, readers: Engine, watch: LinkWatch) -> None:
    while kept:
        _drop(kept.pop())
    writers.dispose()
    readers.dispose()
    watch.close()


def _begin(connection: Connection, begin: str, first: str, *, later: bool) -> None:
    """Start a transaction by *begin*, with the statement *first*.

    *later*: both are put off until the work asks something: then the server answers all in one round trip.
    """
    info, link = connection.info, driver(connection)
    info.pop(_FIRST, None)

    def heard(answer: ServerAnswer) -> None:
        ((info[_FIRST],),) = answer

    link.later((begin, ()))
    link.later((first, ()), heard)
    if later:
        link.pgconn.consume_input()  # notices if the server has ended the session, without waiting for anything
    else:
        link.catch_up()


def _drop(connection: Connection) -> None:
    """Give *connection* back; what it has not committed is undone."""
    with suppress(DBAPIError, psycopg.Error):
        connection.close()


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Convert the server's errors inside the block to errors of rmfab; those of a file beside it pass through."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        if isinstance(error, DBAPIError) and not isinstance(error.orig, psycopg.Error):
            raise
        raise _told(error, where) from error
    except PoolTimeoutError as error:
        raise LedgerError("too many concurrent readers", where=where, cause="ledger-locked") from error


def _told(error: DBAPIError | psycopg.Error, where: str) -> RmfabError:
    return explain(error.orig if isinstance(error, DBAPIError) else error, where)
