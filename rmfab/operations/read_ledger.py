"""The ledger for an operation that only reads it."""

from __future__ import annotations

from rmfab.ledger.store import Ledger
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.workspace.workspace import Workspace


def ledger_to_read(workspace: Workspace, terminal: Terminal = UNATTENDED) -> Ledger:
    """Return the ledger of *workspace*; report how it is read if it is read-only for this user. Raise LedgerError."""
    ledger = workspace.ledger
    if ledger.caveat is not None:
        terminal.warn(ledger.caveat)
    return ledger
