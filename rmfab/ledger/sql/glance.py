"""A glance into a ledger without SQLAlchemy, whose import takes longer than most statements."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from rmfab.errors import IntegrityError, LedgerError
from rmfab.ledger.sql.ask import Ask
from rmfab.ledger.sql.network_share import refuse_network
from rmfab.ledger.sql.read_only import how_to_read
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.sql.sqlite_errors import explain
from rmfab.ledger.sql.sqlite_file import WRITABLE, connect, distrust, refuse_other_file

_PATIENCE = 1.0  # seconds: whoever waits longer should open the ledger, which reports the lock


def glance(location: Path | str, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
    """Return the rows of one statement, None if the ledger must be opened for that. See `AskedFile.open`."""
    file = AskedFile.open(location)
    if file is None:
        return None
    try:
        with file.asking() as ask:
            return [tuple(row) for row in ask(statement, values)]
    except (LedgerError, IntegrityError):
        return None
    finally:
        file.close()


class AskedFile:
    """A ledger file that this version and user can read as it is; usable from every thread. Made by `open`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, opened: os.stat_result) -> None:
        self._connection = connection
        self._path = path
        self._opened = opened
        self._turn = threading.Lock()

    @classmethod
    def open(cls, location: Path | str, patience: float = _PATIENCE) -> Self | None:
        """Open the ledger at *location* to ask it; waits up to *patience* seconds for each lock.

        Return None if it is not a file that this version and user can read as it is. Then open it with `open_database`,
        which upgrades it, finds a different way to read it, or explains what is wrong.
        """
        if "://" in str(location):
            return None
        path = Path(location)
        try:
            refuse_network(path.parent)
            if not path.is_file() or how_to_read(path) is not None:
                return None
            opened = path.stat()
            connection = connect(path, WRITABLE, patience)
        except (LedgerError, OSError, sqlite3.Error):
            return None
        if _is_ready(connection):
            return cls(connection, path, opened)
        connection.close()
        return None

    @contextmanager
    def asking(self) -> Iterator[Ask]:
        """Open a read transaction: one snapshot. Raise LedgerError or IntegrityError."""
        with self._turn:
            try:
                self._connection.execute("BEGIN")
                try:
                    yield self._connection.execute
                finally:
                    self._connection.rollback()
            except sqlite3.Error as error:
                raise explain(error, self._path) from error

    def refuse_other_file(self) -> None:
        """Raise IntegrityError if the file at the ledger's path is no longer the one that was opened."""
        refuse_other_file(self._path, self._opened, self._path.absolute())

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _is_ready(connection: sqlite3.Connection) -> bool:
    """Return whether the file is a ledger of this revision in WAL mode."""
    try:
        distrust(connection)
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        connection.execute("SELECT id FROM identity LIMIT 0")  # or it is the database of a different program
        return (revision, connection.execute("PRAGMA journal_mode").fetchall()) == ([(HEAD,)], [("wal",)])
    except sqlite3.Error:
        return False
