"""SQLite for the ledger: durable, waits for locks, one file that only its owner can read.

This module starts the transactions, not the driver: `BEGIN` takes a snapshot to read, `BEGIN IMMEDIATE` the single
write lock. WAL with synchronous=FULL: commits survive a power loss, and readers do not wait for a writer
(sqlite.org/wal.html). Each commit costs one fsync, of the WAL.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rmfab.errors import InputError, IntegrityError, LedgerError, one_line
from rmfab.files import is_there, output_path
from rmfab.ledger.sql.database import Damage
from rmfab.ledger.sql.group_commit import GroupCommit
from rmfab.ledger.sql.network_share import refuse_network
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.sql.quick_check import QuickCheck
from rmfab.ledger.sql.read_only import ReadOnly, denied, how_to_read, may_open
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.sql.sqlite_errors import LOCKED, UNLOCK, error_name, explain
from rmfab.ledger.sql.sqlite_file import WRITABLE, connect, distrust, refuse_other_file
from rmfab.ledger.sql.upgrade import migrate, needs_upgrade, upgrade_schema
from rmfab.ledger.sql.write_queue import NoTurn, WriteQueue

T = TypeVar("T")

_BEGIN = "rmfab_begin"
"""Execution option: the statement that starts a transaction on this connection."""
_SETTLING_SECONDS = 5.0
"""How long a ledger that is replaced is waited for: a different process may be reading it."""


class SqliteDatabase:
    """A ledger in the existing file *path*; waits up to *patience* seconds for each lock. See `Database`.

    *reader*: how to read a ledger that must not be written, else None. *shown* is the path that the file gets once it
    is complete: errors name that one, and there are no other writers yet.
    """

    server = None

    def __init__(
        self, path: Path, patience: float, reader: ReadOnly | None = None, *, shown: Path | None = None
    ) -> None:
        self.path = path
        self._shown = shown or path
        self._patience = patience
        self._file = path.stat()
        self._reader = reader
        opened, query = (path, WRITABLE) if reader is None else (reader.path, reader.query)
        self._connect = partial(connect, opened, query, patience)
        self._engine = _make_engine(opened, self._connect, patience)
        self._writer = threading.Lock()
        self._queue = WriteQueue(path, self._file.st_mode) if shown is None else None
        self._group = GroupCommit(self._writing, patience)
        self._check: QuickCheck | None = None

    @classmethod
    def open(cls, path: Path, *, create: bool, patience: float) -> Self:
        """Open the database in *path*; with *create*, create it if it does not exist. Raise LedgerError."""
        refuse_network(path.parent)
        there = is_there(path)
        if create and not there:
            cls._create(path, patience)
        elif there and may_open(path) and not path.is_file():
            raise LedgerError("not a file", where=str(path), hint="name a file", cause="ledger-foreign")
        elif not there:
            raise LedgerError("there is no ledger here", where=str(path), cause="ledger-missing")
        return cls(path, patience, None if create else how_to_read(path))

    @property
    def shown(self) -> str:
        """See `Database.shown`."""
        return str(self._shown.absolute())  # also for messages of other workspaces

    @property
    def caveat(self) -> str | None:
        """See `Database.caveat`."""
        return self._reader.caveat if self._reader is not None else None

    @classmethod
    def _create(cls, path: Path, patience: float) -> None:
        """Create the database with its schema: complete or not at all, and once if several processes create it."""
        try:
            with new_file(path, patience):
                pass
        except InputError as error:
            if error.cause == "exists":  # a different process was faster
                return
            if isinstance(error.__cause__, PermissionError):
                raise denied(path) from error
            system = error.__cause__ if isinstance(error.__cause__, OSError) else None
            reason = error.what if system is None else system.strerror
            cause = "ledger-read-only" if system is not None and system.errno == errno.EROFS else "ledger-missing"
            raise LedgerError(f"cannot create the ledger: {reason}", where=str(path), cause=cause) from error

    def upgrade(self, *, create: bool) -> None:
        """See `Database.upgrade`. Also switch a file that lost WAL mode back to WAL."""
        with self.reading() as connection:
            outdated = needs_upgrade(connection, str(self._shown), create=create)
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        if self._reader is not None:
            if outdated:
                raise self._read_only()
            return
        if journal != "wal":
            with _explained(self._shown):
                _use_wal(self._engine, self._patience)
        if outdated:
            with self.writing() as connection:
                upgrade_schema(connection, str(self._shown))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction: one snapshot."""
        with _explained(self._shown), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, alone: bool = True) -> Iterator[Connection]:  # noqa: ARG002 - always
        """Open the single write transaction: all or nothing."""
        with self._writing(time.monotonic() + self._patience) as connection:
            yield connection

    def commit(self, work: Callable[[Connection], T]) -> T:
        """See `Database.commit`."""
        return self._group.run(work)

    @contextmanager
    def _writing(self, deadline: float) -> Iterator[Connection]:
        """Open the write transaction; wait for its turn until *deadline* (monotonic)."""
        if self._reader is not None:
            raise self._read_only()
        with self._writer, _explained(self._shown), self._engine.connect() as connection, self._turn(deadline):
            connection = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            with self._waits_until(deadline, connection), connection.begin():
                yield connection
                # Or the transaction would be durable in a file that no one finds.
                refuse_other_file(self.path, self._file, self._shown)

    def _turn(self, deadline: float) -> AbstractContextManager[None]:
        return nullcontext() if self._queue is None else self._queue.turn(deadline)

    @contextmanager
    def _waits_until(self, deadline: float, connection: Connection) -> Iterator[None]:
        """Let SQLite wait for its lock until *deadline*; afterwards, as long as ever."""
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={max(0, round(1000 * (deadline - time.monotonic())))}")
        try:
            yield
        finally:
            with suppress(sqlite3.ProgrammingError):  # ^C: SQLAlchemy has closed the connection
                cursor.execute(f"PRAGMA busy_timeout={round(1000 * self._patience)}")
                cursor.close()

    @contextmanager
    def guarded(self, watcher: Watcher | None = None) -> Iterator[None]:  # noqa: ARG002
        """See `Database.guarded`. A file is never away."""
        with QuickCheck(self._connect) as self._check:
            yield

    def refuse_damage(self) -> None:
        """See `Database.refuse_damage`."""
        if self._check is not None and self._check.finding is not None:
            raise IntegrityError(
                f"the ledger is damaged: {one_line(self._check.finding)}",
                where=str(self._shown),
                hint="stop every line, and restore it from a backup",
                cause="ledger-corrupt",
            )

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """Yield what SQLite itself finds: damaged pages, broken indexes, dangling references."""
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield Damage("SQLite", line)
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield Damage(f"table {row[0]}, row {row[1]}", f"refers to a missing row in table {row[2]}")

    def now(self, connection: Connection) -> datetime:
        """Return the host's clock as SQLite reads it, in milliseconds; it is constant within one statement."""
        said = connection.exec_driver_sql("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')").scalar_one()
        return datetime.fromisoformat(said)

    def backup(self, target: Path) -> None:
        """Copy the ledger to *target*, a new file that only the owner can read; never a partial file.

        Raise InputError if *target* exists or cannot be written, IntegrityError if the copy is damaged.
        """
        if target.is_dir():
            raise InputError("is a folder, expected a new file", where=str(target), hint="name a file in it")
        if target.exists():
            raise InputError(
                "this file already exists", where=str(target), hint="choose a new name for each backup", cause="exists"
            )
        with _explained(target), output_path(target, secret=True) as copy:
            _copy(self._engine, copy)

    def mark_as_copy(self) -> None:
        """Take the holder out of this ledger, so that it gives no identities."""
        connection = self._engine.raw_connection()
        try:
            _mark_as_copy(connection.driver_connection)  # type: ignore[arg-type]
        finally:
            connection.close()

    def settle(self) -> None:
        """Write everything into the file itself, for a file that gets its name without its -wal."""
        connection = self._engine.raw_connection()
        try:
            _settle(connection.driver_connection, self._shown)  # type: ignore[arg-type]
        finally:
            connection.close()

    def dispose(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._reader is not None:
            self._reader.discard()

    def _read_only(self) -> LedgerError:
        return LedgerError(
            "the ledger is read-only",
            where=str(self.path),
            hint="get write access to it and its folder",
            cause="ledger-read-only",
        )


@contextmanager
def new_file(path: Path, patience: float, revision: str = HEAD) -> Iterator[SqliteDatabase]:
    """Yield a new, empty ledger of *revision*; the file gets the name *path* if the block ends without an error.

    Raise InputError if *path* exists or cannot be written.
    """
    with _explained(path), output_path(path, secret=True) as new:
        database = SqliteDatabase(new, patience, shown=path)
        try:
            if revision == HEAD:
                database.upgrade(create=True)
            else:
                with database.writing() as connection:
                    migrate(connection, revision)
            yield database
            database.settle()
        finally:
            database.dispose()


def replace(source: Path, target: Path, patience: float, judge: Callable[[Path], None]) -> Path | None:
    """Put a copy of the ledger *source* in place of *target*; return the path under which *target* is kept.

    *judge* gets the path of the copy before it is put in place, and raises if it must not be. The copy says that it is
    one. Raise LedgerError, IntegrityError, InputError.
    """
    database = SqliteDatabase.open(source, create=False, patience=patience)
    try:
        with database.reading() as connection:
            needs_upgrade(connection, str(source), create=False)
        with _explained(target), output_path(target, secret=True, force=True) as new:
            _copy(database._engine, new)
            judge(new)
            return _set_aside(target)
    finally:
        database.dispose()


def _set_aside(path: Path) -> Path | None:
    """Give the database *path* and its -wal, -shm and -journal a second name, under which they stay; return it.

    *path* keeps its name until it is replaced, so there is always a ledger. Those go first, also if *path* itself is
    gone (then return None): they must not be applied to a different database (sqlite.org/howtocorrupt.html, 1.4).
    Before, what is in it is written into the database, so that the database is whole without it if this process ends in
    between. Raise LedgerError if a different process is reading it.
    """
    there = path.exists()
    if there:
        # A damaged one is kept as it is.
        with suppress(sqlite3.Error), closing(connect(path, WRITABLE, _SETTLING_SECONDS)) as connection:
            _settle(connection, path)
    kept = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    if there:
        os.link(path, kept)
    for ending in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{ending}", f"{kept}{ending}")  # noqa: PTH105
    return kept if there else None


def _make_engine(path: Path, creator: Callable[[], sqlite3.Connection], patience: float) -> Engine:
    """Return an engine on the file *path*, which *creator* opens; it waits up to *patience* seconds for a lock."""
    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(url, creator=creator, poolclass=QueuePool, pool_timeout=patience)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _use_wal(engine: Engine, patience: float) -> None:
    """Switch the file to WAL; wait for processes that are opening it right now. Raise what SQLite raises."""
    deadline = time.monotonic() + patience
    while True:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            # SQLite's busy timeout does not cover the lock that this switch needs.
            if not error_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def _copy(engine: Engine, copy: Path) -> None:
    source = engine.raw_connection()
    try:
        destination = sqlite3.connect(copy, isolation_level=None)
        try:
            source.driver_connection.backup(destination)  # type: ignore[union-attr]
            _mark_as_copy(destination)
            _settle(destination, copy)
            sound = destination.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            destination.close()
    finally:
        source.close()
    if sound != "ok":
        raise IntegrityError(f"the copy is damaged: {sound}", where=str(copy), cause="ledger-corrupt")


def _settle(connection: sqlite3.Connection, where: Path) -> None:
    """Write what is in the -wal into the file. SQLite does so when it is closed, too, but does not say if it could not,
    as on a full disk. Raise what SQLite raises, or LedgerError.
    """
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise LedgerError(LOCKED, where=str(where), hint=UNLOCK, cause="ledger-locked")


def _mark_as_copy(copy: sqlite3.Connection) -> None:
    """Take the holder out of a copy, so that it gives no identities (`rmfab.ledger.pool`)."""
    copy.executescript(
        "BEGIN; DELETE FROM meta WHERE name IN ('holder', 'copy');"
        "INSERT INTO meta VALUES ('copy', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')); COMMIT"
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Convert SQLite's errors inside the block to LedgerError or IntegrityError, with a cause and a hint.

    Those of a server, from which a copy is made, pass through.
    """
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error):
            raise
        raise explain(error.orig, path) from error
    except NoTurn as error:
        raise LedgerError(LOCKED, where=str(path), hint=UNLOCK, cause="ledger-locked") from error
    except PoolTimeoutError as error:
        raise LedgerError("too many concurrent readers", where=str(path), cause="ledger-locked") from error
    except sqlite3.Error as error:
        raise explain(error, path) from error


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    distrust(connection)
    cursor = connection.cursor()
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-32768",
        "wal_autocheckpoint=1000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
