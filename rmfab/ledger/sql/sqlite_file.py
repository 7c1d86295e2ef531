"""The file of a ledger in SQLite, opened by the driver alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from rmfab.errors import IntegrityError
from rmfab.ledger.sql.revision import TABLES, TABLES_OF_A_LEDGER

WRITABLE = "mode=rw"
"""The URI query for a file that exists and may be written."""
_LONGEST_VALUE = 64 << 20
"""In bytes, of a value and of a row. Those of a ledger are far below."""
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_SCHEMA = "SELECT type, name, rootpage FROM sqlite_master WHERE type <> 'index'"


def connect(path: Path, query: str, patience: float) -> sqlite3.Connection:
    """Open the file with the URI *query*; wait up to *patience* seconds for each lock. The caller starts transactions.

    Raise sqlite3.Error.
    """
    _refuse_other_journal(path)
    address = f"{path.absolute().as_uri()}?{query}"
    return sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)


def _refuse_other_journal(path: Path) -> None:
    """Raise TamperedFileError if the rollback journal is not a file, or names a journal of several databases.

    SQLite deletes the file of that name, wherever it is (sqlite3.c, pager_delsuper), and waits for ever at a pipe.
    A ledger is one database, so the journals of rmfab name none. The name is at the end
    (sqlite.org/atomiccommit.html, 5.2).
    """
    real = os.path.realpath(path)  # as SQLite does
    journal = Path(f"{real}-journal")
    try:
        if not journal.exists():
            return
        if not journal.is_file():
            raise TamperedFileError(f"{journal.name} is not a file")
        if journal.stat().st_size < len(_JOURNAL_MAGIC):
            return
        with journal.open("rb") as stream:
            stream.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
            named = stream.read() == _JOURNAL_MAGIC
    except OSError:  # SQLite cannot read it, either
        return
    if named:
        raise TamperedFileError(f"{journal.name} names a file of somebody else, which SQLite would delete")


class TamperedFileError(sqlite3.DatabaseError):
    """The file, or the journal beside it, would make SQLite do what rmfab did not ask for."""


def distrust(connection: sqlite3.Connection) -> None:
    """Let SQLite check each page that it reads, and bound each value: the file may be damaged, or of somebody else.

    Raise TamperedFileError if a statement of rmfab would run SQL of the file: a trigger, or a view or a virtual table
    with the name of a table. That can change what is written, and need not come to an end
    (sqlite.org/security.html, "Untrusted SQLite Database Files").
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA cell_size_check=ON").close()
    connection.execute("PRAGMA trusted_schema=OFF").close()
    for kind, name, root in connection.execute(_SCHEMA):
        if kind == "trigger" or (name in TABLES and (kind == "view" or not root)):
            what = kind if kind != "table" else "virtual table"
            raise TamperedFileError(f"it contains the {what} {name!r}, which rmfab did not make")


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
