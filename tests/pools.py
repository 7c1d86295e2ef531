"""Workspaces with a pool of their own: a copy of a workspace must not give the identities of the original."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rmfab.ledger.host import this_host
from rmfab.ledger.host_record import Given, Head, Holding, HostRecord
from rmfab.workspace.workspace import DEMO_MARKER


def copied_with_pool(source: Path, target: Path) -> Path:
    """Copy the workspace *source*; the copy holds the pool by a record in its own folder `state`, as a demo does.

    The original does not know of it. Only tests may do this.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("state", "ledger.db*"))
    (target / DEMO_MARKER).touch()
    if (source / "ledger.db").exists():
        _copy_ledger(source / "ledger.db", target / "ledger.db")
        hold(target / "ledger.db", target / "state")
    return target


def _copy_ledger(source: Path, target: Path) -> None:
    """Copy by SQLite: whoever closes the ledger last removes its -wal, perhaps while files are copied."""
    target.touch(0o600)
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def hold(ledger: Path, state: Path) -> None:
    """Write the record that makes *ledger* the one that gives identities on a host with the folder *state*."""
    with closing(sqlite3.connect(ledger)) as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        batches = connection.execute(
            "SELECT policy, first_n, size FROM batch WHERE first_n IS NOT NULL ORDER BY first_n"
        )
        numbers = {
            f"{meta['unique_key']} {json.loads(policy)['serials']}": Given(first + size, str(ledger))
            for policy, first, size in batches
            if "serials" in json.loads(policy)
        }
        heads = connection.execute("SELECT id, last_seq, last_hash FROM chain").fetchall()
    host = this_host(state)
    new = Holding.new(host, {chain: Head(seq, last) for chain, seq, last in heads})
    with HostRecord(host, meta["ledger_id"]).hold() as record:
        record.replace(replace(new, holder=meta["holder"], numbers=numbers))
