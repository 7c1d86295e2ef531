"""Retiring an identity for ever."""

from __future__ import annotations

from rmfab.errors import UsageError
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.workspace.workspace import Workspace


def void(workspace: Workspace, unit: str, reason: str) -> LedgerIdentity:
    """Voids the identity of *unit*, a serial or MAC, because of *reason*; returns it.

    It is never given again, and its board may get a new one. Raises InputError where there is no such unit.
    """
    if not reason.strip():
        raise UsageError("--reason needs a text")
    station = workspace.station.name
    return workspace.ledger.void(unit, reason=reason, station=station, ts=timestamp(workspace.now()))
