"""Restore a ledger from a backup: checked before it is put in place, and without the right to give identities."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import IntegrityError
from rmfab.ledger.inquiry import PATIENCE
from rmfab.ledger.sql import sqlite
from rmfab.ledger.store import Ledger


def restore(source: Path, target: Path) -> Path | None:
    """Put a copy of the ledger *source* in place of the ledger file *target*; return where *target* is kept, if it
    existed.

    Raise IntegrityError (cause `chain`) if *source* does not pass `rmfab ledger check`, LedgerError if it is no ledger.
    """
    return sqlite.replace(source, target, PATIENCE, _judge)


def _judge(copy: Path) -> None:
    with Ledger.open(copy, create=False) as ledger:
        findings = ledger.check(1)
    if findings:
        raise IntegrityError(
            f"this backup is not sound: {findings[0].where}: {findings[0].what}",
            hint="restore a different backup",
            cause="chain",
        )
