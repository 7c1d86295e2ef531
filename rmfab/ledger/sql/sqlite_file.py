"""The file of a ledger in SQLite, opened by the driver alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from rmfab.errors import IntegrityError
from rmfab.ledger.sql.revision import TABLES_OF_A_LEDGER

WRITABLE = "mode=rw"
"""The URI query for a file that exists and may be written."""


def connect(path: Path, query: str, patience: float) -> sqlite3.Connection:
    """Open the file with the URI *query*; wait up to *patience* seconds for each lock. The caller starts transactions.

    Raise sqlite3.Error.
    """
    address = f"{path.absolute().as_uri()}?{query}"
    return sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)


def refuse_bad_cells(connection: sqlite3.Connection) -> None:
    """Let SQLite check each page that it reads (sqlite.org/pragma.html#pragma_cell_size_check)."""
    connection.execute("PRAGMA cell_size_check=ON").close()


def refuse_other_file(path: Path, opened: os.stat_result, shown: Path) -> None:
    """Raise IntegrityError if the file at *path* is no longer the one that was *opened*; the error names *shown*."""
    try:
        if os.path.samestat(path.stat(), opened):
            return
        what = "the ledger was replaced by a different file while it was in use"
    except FileNotFoundError:
        what = "the ledger was deleted while it was in use"
    hint = "stop every line; put the ledger back as it was, after removing the -wal and -shm files beside it"
    raise IntegrityError(what, where=str(shown), hint=hint, cause="ledger-replaced")


def is_ledger(path: Path) -> bool:
    """Return whether *path* is the file of a ledger, and not that of a different program, a folder or a device.

    It is not locked, and what is only in its -wal is not read: a ledger gets its tables before it gets its name.
    """
    try:
        with closing(connect(path, "mode=ro&immutable=1", 0)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (sqlite3.Error, OSError):
        return False
    return tables >= TABLES_OF_A_LEDGER
