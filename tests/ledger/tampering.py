"""What is done to a ledger past its rules: rows changed, pages damaged, a batch taken back to its beginning."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

PAGE = 4096
"""The size of a page; the tables of a small ledger have one page each."""
OTHER_HOLDER = "UPDATE meta SET value = 'other' WHERE name = 'holder'"
"""A different copy of the ledger holds its pool."""


_SPELLINGS = (
    ("x'00'", "'\\x00'::bytea"),
    ("hex(zeroblob(32))", "repeat('00', 32)"),
    ("hex(randomblob(32))", "md5(random()::text)"),
)
"""SQLite's, and PostgreSQL's."""


def change(place: Path | str, *statements: str) -> None:
    """Run *statements*, which are spelled for SQLite, in the ledger's file or database behind its back."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return
    with psycopg.connect(place) as server:
        server.execute("ALTER TABLE event DISABLE TRIGGER USER")  # its owner can do so
        for statement in statements:
            for theirs, ours in _SPELLINGS:
                statement = statement.replace(theirs, ours)
            server.execute(statement)  # type: ignore[call-overload]
        server.execute("ALTER TABLE event ENABLE TRIGGER USER")


def page_of(path: Path, name: str) -> int:
    """Write the WAL into the ledger's file; return where in the file the first page of table or index *name* starts."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(root - 1) * PAGE


def damage(path: Path, name: str) -> None:
    """Overwrite the beginning of the first page of table or index *name*."""
    at = page_of(path, name)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\x77" * 16)


def begin_again(path: Path, batch: str) -> None:
    """Take *batch* back to the moment after it was begun, as a process that was killed then leaves it."""
    of_batch = f"batch_id = (SELECT id FROM batch WHERE name = '{batch}')"
    change(
        path,
        f"DELETE FROM identity WHERE {of_batch}",
        f"DELETE FROM chunk WHERE {of_batch}",
        f"UPDATE batch SET state = 'open', digest = NULL WHERE name = '{batch}'",
    )
