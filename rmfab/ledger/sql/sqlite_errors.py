"""What SQLite reports, as errors of the ledger with a cause and a hint."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rmfab.errors import IntegrityError, LedgerError, RmfabError
from rmfab.ledger.sql.read_only import denied, may_open
from rmfab.ledger.sql.sqlite_file import TamperedFileError


def explain(error: BaseException | None, path: Path) -> RmfabError:
    """Return the error to raise for SQLite's *error*, chosen by its result code (sqlite.org/rescode.html)."""
    if isinstance(error, TamperedFileError):
        return IntegrityError(f"the ledger is damaged: {error}", where=str(path), hint=_RESTORE, cause="ledger-corrupt")
    name = error_name(error)
    if name.startswith("SQLITE_CANTOPEN") and path.exists() and not may_open(path):
        return denied(path)
    if name.startswith("SQLITE_IOERR") and _is_full(path.parent):
        name = "SQLITE_FULL"
    for prefix, cause, what, hint in _CAUSES:
        if name.startswith(prefix):
            kind = IntegrityError if cause in ("ledger-corrupt", "ledger-constraint") else LedgerError
            detail = f" ({error})" if cause in ("ledger-io", "ledger-constraint") else ""
            return kind(what + detail, where=str(path), hint=hint, cause=cause)
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith(_NOT_TEXT):
        return IntegrityError("the ledger is damaged", where=str(path), hint=_RESTORE, cause="ledger-corrupt")
    return LedgerError(f"cannot use the ledger: {error}", where=str(path))


def _is_full(folder: Path) -> bool:
    """Return whether the disk of *folder* has no room for the next part of a -shm, which SQLite needs even to read.

    SQLite reports that as an error of the disk (SQLITE_IOERR_SHMSIZE), and not as SQLITE_FULL.
    """
    import shutil

    try:
        return shutil.disk_usage(folder).free < _SHARED_MEMORY_PART
    except OSError:
        return False


_SHARED_MEMORY_PART = 32 << 10
"""By how many bytes a -shm grows (sqlite.org/walformat.html, 2.2)."""
_NOT_TEXT = "Could not decode to UTF-8"
"""How Python's sqlite3 reports a text that is none, without a result code (CPython, Modules/_sqlite/cursor.c)."""
_RESTORE = "restore it from a backup"
LOCKED = "the ledger is locked by another program"
UNLOCK = "close that program, then retry"
_CAUSES = (
    ("SQLITE_BUSY", "ledger-locked", LOCKED, UNLOCK),
    ("SQLITE_LOCKED", "ledger-locked", LOCKED, UNLOCK),
    (
        "SQLITE_READONLY",
        "ledger-read-only",
        "the ledger is read-only",
        "get write access to it and its folder",
    ),
    ("SQLITE_PERM", "ledger-read-only", "the ledger is read-only", "get write access to it and its folder"),
    ("SQLITE_FULL", "ledger-full", "the disk is full; nothing was written", "free disk space, then retry"),
    (
        "SQLITE_CANTOPEN",
        "ledger-missing",
        "cannot open the ledger",
        "check that you can read and write its folder",
    ),
    ("SQLITE_CORRUPT", "ledger-corrupt", "the ledger is damaged", _RESTORE),
    ("SQLITE_TOOBIG", "ledger-corrupt", "the ledger is damaged", _RESTORE),
    ("SQLITE_NOTADB", "ledger-corrupt", "this file is not a ledger, or is damaged", f"name a ledger, or {_RESTORE}"),
    ("SQLITE_IOERR", "ledger-io", "the disk reported an error; nothing was written", "check the disk"),
    ("SQLITE_CONSTRAINT", "ledger-constraint", "this violates a constraint of the ledger", None),
)


def error_name(error: BaseException | None) -> str:
    """Return the name of SQLite's result code, empty if *error* has none."""
    return getattr(error, "sqlite_errorname", None) or ""
