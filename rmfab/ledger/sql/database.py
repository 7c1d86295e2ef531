"""The door to a ledger's database: what every engine does in its own way.

Rules get a `Connection` from `reading` or `writing` and speak SQLAlchemy Core to it; all that differs between engines
lies behind this door. One implementation per engine; `open_database` chooses it by the ledger's location.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection


@dataclass(frozen=True)
class Damage:
    """A fault that the engine finds in its own files: *where* it is and *what* is wrong."""

    where: str
    what: str


class Database(Protocol):
    """The database of one ledger, usable from every thread.

    Every method raises LedgerError or IntegrityError, never an error of the engine; an error raised inside a
    transaction leaves it in the same way.
    """

    def upgrade(self, *, create: bool) -> None:
        """Brings the schema up to date; with *create* makes it in an empty database.

        Raises LedgerError: causes `ledger-missing` for an empty database without *create*, `ledger-foreign` for one
        of another program, `ledger-newer` for a schema that this version does not know.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """One snapshot to read."""

    def writing(self) -> AbstractContextManager[Connection]:
        """The right to write, and all of it or nothing; durable once the block has ended."""

    def damage(self, connection: Connection) -> Iterator[Damage]:
        """What the engine itself finds: damaged pages, broken indexes, dangling references."""

    def now(self, connection: Connection) -> datetime:
        """The time by the database's clock, in UTC: the one clock that all stations of a ledger share."""

    def backup(self, target: Path) -> None:
        """A consistent copy in the new file *target*, while stations go on working.

        Raises InputError where *target* exists or cannot be written, IntegrityError where the copy is not sound.
        """

    def dispose(self) -> None:
        """Closes all connections."""
