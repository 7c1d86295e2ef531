"""The choice of the database engine, by the ledger's location."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.sqlite import SqliteDatabase


def open_database(location: Path | str, *, create: bool, patience: float) -> Database:
    """Open the database at *location*; with *create*, create it if it does not exist. Its schema may be out of date.

    Wait up to *patience* seconds for each lock. Raise LedgerError, or InputError for a database URL: this version
    supports only SQLite.
    """
    if "://" in str(location):
        raise InputError(
            "this version of rmfab stores its ledger in a file, not on a database server",
            hint="give the path of a file, or omit it",
            cause="ledger-url",
        )
    return SqliteDatabase.open(Path(location), create=create, patience=patience)
