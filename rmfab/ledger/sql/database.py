"""The interface to a ledger's database: the operations that each engine implements differently.

Rules get a `Connection` from `reading` or `writing` and use SQLAlchemy Core on it. Everything that differs between
engines is behind this interface, with one implementation per engine; `open_database` selects it by the ledger's
location.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.sql.statement import Asked

T = TypeVar("T")


@dataclass(frozen=True)
class Damage:
    """A fault that the engine found in its own files: *where* it is and *what* is wrong."""

    where: str
    what: str


@dataclass(frozen=True)
class Weakness:
    """A setting of a server under which a ledger is not safe: *what* it is, and a *hint*."""

    what: str
    hint: str


class LedgerServer(Protocol):
    """What only a database has on which several hosts work at once. It raises as `Database` does."""

    def migrate(self, backup: Path | None = None) -> bool:
        """Upgrade the schema; return whether it was out of date. Raise as `Database.upgrade`.

        First write a copy of the database to the new file *backup*.
        """

    def place(self, connection: Connection) -> str:
        """Return where the database is: that changes if it is restored, cloned, or replaced by a replica."""

    @property
    def foreseen(self) -> Sequence[Asked]:
        """What `place` asks each time, for `foresee`."""

    def occupy(self, connection: Connection, station: str) -> None:
        """Let no other host write as *station* as long as this one is connected, in a write transaction.

        Raise LedgerError (cause `station-taken`) if one does, and name it.
        """

    def continue_numbers(self, connection: Connection) -> None:
        """Let the numbers of new rows begin after those of rows that were copied with their numbers."""

    def weaknesses(self, connection: Connection) -> Iterator[Weakness]:
        """Yield the settings of the server, and of the connection to it, under which a ledger is not safe."""

    def grant(self, connection: Connection, stations: Sequence[str], readers: Sequence[str]) -> None:
        """Give the roles *stations* of a server the rights of stations, and *readers* those of reports."""


class Database(Protocol):
    """The database of one ledger, usable from every thread.

    Every method raises LedgerError or IntegrityError, never an error of the engine. Any other error raised inside a
    transaction passes through unchanged.
    """

    @property
    def caveat(self) -> str | None:
        """How the ledger is read if it must not be written, for the operator; None if it may be written."""

    @property
    def server(self) -> LedgerServer | None:
        """The server on which several hosts work at once, None for a file."""

    @property
    def shown(self) -> str:
        """Where the database is, for people."""

    def upgrade(self, *, create: bool) -> None:
        """Upgrade the schema to the newest revision; with *create*, create it in an empty database.

        Raise LedgerError with cause `ledger-older` for that of a server, which only `LedgerServer.migrate` upgrades,
        `ledger-missing` for an empty database without *create*, `ledger-foreign` for the database of a different
        program, `ledger-newer` for a schema that this version does not support.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a read transaction: one snapshot."""

    def writing(self, *, alone: bool = True) -> AbstractContextManager[Connection]:
        """Open a write transaction: all or nothing, durable when the block ends.

        It is the only one at that time; on a server, not *alone*, other hosts may write beside it.
        """

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in a write transaction, shared with work of other threads; it is durable when this returns.

        An error of *work* is raised here only, and undoes only its own changes. *work* may run twice, after all changes
        of the first time were undone, so it must change nothing but the database.
        """

    def guarded(self, watcher: Watcher | None = None) -> AbstractContextManager[None]:
        """Look for damage in the background until the block ends; `refuse_damage` raises what is found.

        Meanwhile wait for a server that is away for as long as *watcher* waits, and tell it.
        """

    def refuse_damage(self) -> None:
        """Raise IntegrityError (cause `ledger-corrupt`) if damage was found in the background."""

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """Yield what the engine itself finds: damaged pages, broken indexes, dangling references."""

    def now(self, connection: Connection) -> datetime:
        """Return the time of the database's clock, in UTC: the one clock that all stations of a ledger share."""

    def backup(self, target: Path) -> None:
        """Write a consistent copy to the new file *target* while stations keep working; it says that it is a copy.

        Raise InputError if *target* exists or cannot be written, IntegrityError if the copy is damaged.
        """

    def dispose(self) -> None:
        """Close all connections."""
