"""The file of a ledger in SQLite, opened by the driver alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

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
