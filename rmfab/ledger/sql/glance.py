"""A glance into a ledger without SQLAlchemy, whose import takes longer than most statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rmfab.errors import LedgerError
from rmfab.ledger.sql.network_share import refuse_network
from rmfab.ledger.sql.read_only import how_to_read
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.sql.sqlite_file import WRITABLE, connect

_PATIENCE = 1.0  # seconds: whoever waits longer should open the ledger, which reports the lock


def glance(location: Path | str, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
    """Return the rows of one statement, read in one snapshot.

    Return None if the ledger is not a file that this version and user can read as it is. Then open it with
    `open_database`, which upgrades it, finds a different way to read it, or explains what is wrong.
    """
    if "://" in str(location):
        return None
    path = Path(location)
    try:
        refuse_network(path.parent)
        if not path.is_file() or how_to_read(path) is not None:
            return None
        with closing(connect(path, WRITABLE, _PATIENCE)) as connection:
            connection.execute("BEGIN")
            if connection.execute("SELECT version_num FROM alembic_version").fetchall() != [(HEAD,)]:
                return None
            return connection.execute(statement, values).fetchall()
    except (LedgerError, OSError, sqlite3.Error):
        return None
