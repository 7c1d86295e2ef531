"""A ledger that this user may read but not write: another user's, a backup, or on read-only media.

SQLite's WAL keeps two files beside the database, and needs to create them even to read. If it cannot, the file is read
as immutable if nothing can change it, or else from a private copy. Source: sqlite.org/wal.html, read-only databases.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import LedgerError

if TYPE_CHECKING:
    import tempfile

_ATTEMPTS = 5
_SIDECAR = "-wal"


@dataclass
class ReadOnly:
    """How to read: the file *path*, the URI *query* for SQLite, and what to tell the operator (*caveat*).

    *copy* is the private copy, removed by `discard`.
    """

    path: Path
    query: str
    caveat: str
    copy: tempfile.TemporaryDirectory[str] | None = None

    def discard(self) -> None:
        """Remove the private copy, if there is one."""
        if self.copy is not None:
            self.copy.cleanup()


def denied(path: Path) -> LedgerError:
    """Return the error of a ledger that this user may not open."""
    return LedgerError(
        "no permission to open the ledger",
        where=str(path),
        hint="run rmfab as the user who owns it, or get access to it and its folder",
        cause="ledger-denied",
    )


def may_open(path: Path) -> bool:
    """Return whether this user may read *path* and enter its folder."""
    return os.access(path.parent, os.X_OK) and os.access(path, os.R_OK)


def how_to_read(path: Path) -> ReadOnly | None:
    """Return how to read the ledger in *path*, None if it may be written. Raise LedgerError."""
    if not may_open(path):
        raise denied(path)
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return None
    if _opens(path):
        return ReadOnly(path, "mode=ro", "you may not write to the ledger: nothing is recorded")
    if _unchangeable(path) and not _wal_size(path):
        caveat = f"{path.parent} is read-only: the ledger is read as it is there, and nothing is recorded"
        return ReadOnly(path, "mode=ro&immutable=1", caveat)
    return _private_copy(path)


def _opens(path: Path) -> bool:
    """Return whether SQLite can read *path* in place, beside stations that write to it."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return False
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return True


def _unchangeable(path: Path) -> bool:
    """Return whether no one can change *path* while it is read, because its file system is read-only."""
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _wal_size(path: Path) -> int:
    try:
        return Path(f"{path}{_SIDECAR}").stat().st_size
    except OSError:
        return 0


def _private_copy(path: Path) -> ReadOnly:
    """Copy the ledger and its WAL; again if a station wrote to them meanwhile."""
    import shutil
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="rmfab-ledger-")
    target = Path(folder.name) / path.name
    try:
        for _ in range(_ATTEMPTS):
            before = _state(path)
            for end in ("", _SIDECAR):
                if Path(f"{path}{end}").exists():
                    shutil.copyfile(f"{path}{end}", f"{target}{end}")
            if _state(path) == before:
                caveat = f"you may not write to {path.parent}: the ledger is read from a private copy of this moment"
                return ReadOnly(target, "mode=rw", caveat, folder)
    except OSError as error:
        folder.cleanup()
        raise LedgerError(
            f"cannot copy the ledger to read it: {error.strerror}", where=str(path), cause="ledger-read-only"
        ) from error
    folder.cleanup()
    raise LedgerError(
        "the ledger is read-only for you, and stations write to it faster than it can be copied",
        where=str(path),
        hint="run this command as the user who owns it, or read a backup (`rmfab ledger backup`)",
        cause="ledger-read-only",
    )


def _state(path: Path) -> list[tuple[int, int] | None]:
    states: list[tuple[int, int] | None] = []
    for name in (path, Path(f"{path}{_SIDECAR}")):
        try:
            status = name.stat()
        except OSError:
            states.append(None)
        else:
            states.append((status.st_size, status.st_mtime_ns))
    return states
