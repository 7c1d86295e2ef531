"""The interface to a ledger's database: the operations that each engine implements differently.

Rules get a `Connection` from `reading` or `writing` and use SQLAlchemy Core on it. Everything that differs between
engines is behind this interface, with one implementation per engine; `open_database` selects it by the ledger's
location.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


@dataclass(frozen=True)
class Damage:
    """A fault that the engine found in its own files: *where* it is and *what* is wrong."""

    where: str
    what: str


class Database(Protocol):
    """The database of one ledger, usable from every thread.

    Every method raises LedgerError or IntegrityError, never an error of the engine. Any other error raised inside a
    transaction passes through unchanged.
    """

    @property
    def caveat(self) -> str | None:
        """How the ledger is read if it must not be written, for the operator; None if it may be written."""

    def upgrade(self, *, create: bool) -> None:
        """Upgrade the schema to the newest revision; with *create*, create it in an empty database.

        Raise LedgerError with cause `ledger-missing` for an empty database without *create*, `ledger-foreign` for the
        database of a different program, `ledger-newer` for a schema that this version does not support.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a read transaction: one snapshot."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Open the single write transaction: all or nothing, durable when the block ends."""

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in a write transaction, shared with work of other threads; it is durable when this returns.

        An error of *work* is raised here only, and undoes only its own changes. *work* may run twice, after all changes
        of the first time were undone, so it must change nothing but the database.
        """

    def guarded(self) -> AbstractContextManager[None]:
        """Look for damage in the background until the block ends; `refuse_damage` raises what is found."""

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
