"""Void an identity: retire it for good."""

from __future__ import annotations

from rmfab.errors import UsageError
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.workspace.workspace import Workspace


def void(workspace: Workspace, unit: str, reason: str) -> LedgerIdentity:
    """Void the identity of *unit*, a serial or MAC, because of *reason*; return it.

    It is never used again, and its board may get a new one. Raise InputError if there is no such unit.
    """
    if not reason.strip():
        raise UsageError("--reason must not be empty")
    station = workspace.station.name
    return workspace.ledger.void(unit, reason=reason, station=station, ts=timestamp(workspace.now()))
