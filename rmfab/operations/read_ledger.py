"""The ledger for an operation that only reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmfab.ledger.counts import count_at_once
from rmfab.ledger.records import BatchCount
from rmfab.ledger.sql.server_address import is_url
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.report.status import OutLease
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from rmfab.ledger.store import Ledger


def ledger_to_read(workspace: Workspace, terminal: Terminal = UNATTENDED) -> Ledger:
    """Return the ledger of *workspace*; report how it is read if it is read-only for this user. Raise LedgerError."""
    ledger = workspace.ledger
    if ledger.caveat is not None:
        terminal.warn(ledger.caveat)
    return ledger


def leases(workspace: Workspace) -> tuple[OutLease, ...]:
    """Return the leases of a ledger on a server of which something is out, oldest first; none for a file."""
    if not is_url(workspace.ledger_path):
        return ()
    known = workspace.ledger.exchange.handovers()
    return tuple(
        OutLease(one.terms.name, one.batch, out, one.ts) for one, out in known if one.lease is not None and out
    )


def count_units(workspace: Workspace, batch: str | None, terminal: Terminal = UNATTENDED) -> tuple[BatchCount, ...]:
    """Count the units of *batch*, or of each batch, by state. Raise LedgerError, InputError for an unknown batch."""
    counts = count_at_once(workspace.ledger_path, batch)
    return counts if counts is not None else ledger_to_read(workspace, terminal).counts(batch)
