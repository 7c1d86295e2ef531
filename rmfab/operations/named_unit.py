"""The unit that an operator names by its serial, where a batch could stand too."""

from __future__ import annotations

from rmfab.errors import InputError
from rmfab.ledger.records import LedgerIdentity
from rmfab.workspace.workspace import Workspace


def named_unit(workspace: Workspace, serial: str) -> LedgerIdentity:
    """Return the identity with this serial. Raise InputError, with the nearest name as a hint, if there is none."""
    identity = workspace.ledger.identity_by_serial(serial)
    if identity is None:
        hint = workspace.ledger.hint_for_unknown(serial, batches=True) or "`rmfab status` lists the batches"
        raise InputError(f'"{serial}" is neither a batch nor a serial', hint=hint)
    return identity
