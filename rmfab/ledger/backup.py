"""Backup: a consistent copy of the ledger while stations go on working, through SQLite's own backup."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import Engine

from rmfab.errors import InputError, IntegrityError
from rmfab.files import output_file
from rmfab.ledger.sqlite import make_file


def backup(engine: Engine, target: Path) -> None:
    """Copies the ledger to *target*, a new file for the owner alone, which appears whole or not at all.

    Raises InputError where *target* exists or cannot be written, IntegrityError where the copy is not sound.
    """
    if target.exists():
        raise InputError(
            "this file exists", where=str(target), hint="choose a new name for each backup", cause="exists"
        )
    copy = target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}.copy")
    try:
        _copy(engine, copy)
        with output_file(target, secret=True) as stream, copy.open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 20)
    except OSError as error:
        raise InputError(f"cannot write the backup: {error.strerror or error}", where=str(target)) from error
    finally:
        for leftover in (copy, *(copy.with_name(copy.name + end) for end in ("-journal", "-wal", "-shm"))):
            leftover.unlink(missing_ok=True)


def _copy(engine: Engine, copy: Path) -> None:
    make_file(copy)
    source = engine.raw_connection()
    try:
        destination = sqlite3.connect(copy, isolation_level=None)
        try:
            source.driver_connection.backup(destination)  # type: ignore[union-attr]
            sound = destination.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            destination.close()
    finally:
        source.close()
    if sound != "ok":
        raise IntegrityError(f"the copy is not sound: {sound}", where=str(copy), cause="ledger-corrupt")
