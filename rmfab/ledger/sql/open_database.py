"""Which engine keeps a ledger: chosen by the ledger's location."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.sqlite import SqliteDatabase


def open_database(location: Path | str, *, create: bool, patience: float) -> Database:
    """The door to the database at *location*, made where it is missing with *create*; its schema may be out of date.

    Each lock is waited for *patience* seconds. Raises LedgerError, and InputError for a database URL: this version
    keeps its ledger in SQLite.
    """
    if "://" in str(location):
        raise InputError(
            "this version of rmfab keeps its ledger in a file, not on a database server",
            hint="give the path of a file, or leave it out",
            cause="ledger-url",
        )
    return SqliteDatabase.open(Path(location), create=create, patience=patience)
