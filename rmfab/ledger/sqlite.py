"""SQLite as the ledger needs it: durable, patient, one file that only its owner reads.

Transactions are begun here, not by the driver: `BEGIN` takes a snapshot to read, `BEGIN IMMEDIATE` the one right to
write. WAL with synchronous=FULL: what is committed survives a pulled plug, and readers never wait for a writer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rmfab.errors import IntegrityError, LedgerError, RmfabError

BEGIN = "rmfab_begin"
"""Execution option: how a transaction on this connection begins."""

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "afs", "ncpfs", "ceph", "fuse.ceph", "lustre", "beegfs", "gpfs"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.rclone", "davfs", "fuse.davfs", "vboxsf"}
)


def open_engine(path: Path, patience: float) -> Engine:
    """An engine on the file *path*, which must exist; each lock is waited for *patience* seconds."""

    def connect() -> sqlite3.Connection:
        address = f"{path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)

    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(url, creator=connect, poolclass=QueuePool, pool_timeout=patience)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def make_file(path: Path) -> None:
    """Makes an empty file for the owner alone, where there is none. Raises LedgerError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise LedgerError(
            f"cannot make the ledger: {error.strerror}", where=str(path), cause="ledger-missing"
        ) from error


def use_wal(engine: Engine, patience: float) -> None:
    """Switches the file to WAL, waiting for others who open it just now. Raises what SQLite raises."""
    deadline = time.monotonic() + patience
    while True:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself for the lock that this switch needs.
            if not _name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def is_network(file_system: str) -> bool:
    """Whether a file system of this type shares files between hosts, but not the memory that WAL needs."""
    return file_system in _NETWORK


def file_system_of(path: Path, mounts: str) -> str | None:
    """The type of the file system that holds *path*, by the text of Linux's mountinfo; None where it is not told.

    Source: proc(5), /proc/pid/mountinfo: field 5 is the mount point, the type follows the field `-`.
    """
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split()
        if "-" not in fields[6:]:
            continue
        point = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if path.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = len(point.parts), fields[fields.index("-", 6) + 1]
    return None if best is None else best[1]


def refuse_network(path: Path) -> None:
    """Raises LedgerError (cause `ledger-network`) where *path* can be told to lie on a network share."""
    if not _MOUNTS.exists():
        return
    kind = file_system_of(path.resolve(), _MOUNTS.read_text(errors="replace"))
    if kind is not None and is_network(kind):
        raise LedgerError(
            f"this folder is a network share ({kind}), where SQLite cannot keep a ledger safely",
            where=str(path),
            hint="move the workspace to a local disk",
            cause="ledger-network",
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raises whatever the database raises inside as LedgerError or IntegrityError, with its cause and a hint."""
    try:
        yield
    except DBAPIError as error:
        raise explain(error.orig, path) from error
    except PoolTimeoutError as error:
        raise LedgerError("too many readers at once", where=str(path), cause="ledger-locked") from error
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: BaseException | None, path: Path) -> RmfabError:
    """The error to raise for SQLite's *error*, judged by its result code (sqlite.org/rescode.html)."""
    name = _name(error)
    for prefix, cause, what, hint in _CAUSES:
        if name.startswith(prefix):
            kind = IntegrityError if cause in ("ledger-corrupt", "ledger-constraint") else LedgerError
            detail = f" ({error})" if cause in ("ledger-io", "ledger-constraint") else ""
            return kind(what + detail, where=str(path), hint=hint, cause=cause)
    return LedgerError(f"the ledger cannot be used: {error}", where=str(path))


_CAUSES = (
    ("SQLITE_BUSY", "ledger-locked", "the ledger is locked by another program", "end that program, then repeat this"),
    ("SQLITE_LOCKED", "ledger-locked", "the ledger is locked by another program", "end that program, then repeat this"),
    (
        "SQLITE_READONLY",
        "ledger-read-only",
        "the ledger is read-only",
        "give yourself write access to it and its folder",
    ),
    ("SQLITE_PERM", "ledger-read-only", "the ledger is read-only", "give yourself write access to it and its folder"),
    ("SQLITE_FULL", "ledger-full", "the disk is full; nothing was written", "make room, then repeat this"),
    (
        "SQLITE_CANTOPEN",
        "ledger-missing",
        "the ledger cannot be opened",
        "it needs read and write access to its folder",
    ),
    ("SQLITE_CORRUPT", "ledger-corrupt", "the ledger is damaged", "restore it from a backup"),
    ("SQLITE_NOTADB", "ledger-corrupt", "this file is no ledger, or a damaged one", "restore it from a backup"),
    ("SQLITE_IOERR", "ledger-io", "the disk does not take the ledger; nothing was written", "look at the disk"),
    ("SQLITE_CONSTRAINT", "ledger-constraint", "the ledger's rules refuse this", None),
)


def _name(error: BaseException | None) -> str:
    return getattr(error, "sqlite_errorname", None) or ""


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-32768", "wal_autocheckpoint=1000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))
