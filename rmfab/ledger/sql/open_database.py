"""The choice of the database engine, by the ledger's location."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import make_folder
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.server_address import ServerAddress, is_url
from rmfab.ledger.sql.sqlite import SqliteDatabase


def open_database(location: Path | str, *, create: bool, patience: float, state: Path) -> Database:
    """Open the database at *location*, a path or the URL of a PostgreSQL server. Its schema may be out of date.

    With *create*, create a file that does not exist; the database of a server must exist. *state* is the folder of this
    host's state. Wait up to *patience* seconds for each lock. Raise LedgerError, or InputError for an invalid URL.
    """
    if not is_url(location):
        return SqliteDatabase.open(Path(location), create=create, patience=patience)
    address = ServerAddress.parse(str(location))
    try:
        from rmfab.ledger.sql.postgres import PostgresDatabase
        from rmfab.ledger.sql.station_lock import host_of
    except ImportError as error:
        raise InputError(
            "a ledger on a server needs psycopg",
            hint="pip install '.[postgres]' in rmfab's checkout",
            cause="no-psycopg",
        ) from error
    return PostgresDatabase.open(address, patience=patience, host=host_of(make_folder(state)))
