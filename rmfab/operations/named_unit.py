"""The units that an operator names by batches and serials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rmfab.errors import InputError
from rmfab.ledger.records import LedgerIdentity
from rmfab.workspace.workspace import Workspace


def named_unit(workspace: Workspace, serial: str) -> LedgerIdentity:
    """Return the identity with this serial. Raise InputError, with the nearest name as a hint, if there is none."""
    identity = workspace.ledger.identity_by_serial(serial)
    if identity is None:
        hint = workspace.ledger.hint_for_unknown(serial, batches=True) or "`rmfab status` lists the batches"
        if serial == "check":
            hint = "`rmfab scan` tells whose label it is"
        raise InputError(f'"{serial}" is neither a batch nor a serial', hint=hint)
    return identity


def named_units(
    workspace: Workspace,
    units: Sequence[str],
    of_batch: Callable[[str], Iterable[LedgerIdentity]],
    of_serial: Callable[[str], LedgerIdentity],
) -> list[LedgerIdentity]:
    """Return the identities that *units* name, each once, in order: those that *of_batch* and *of_serial* choose."""
    batches = {batch.name for batch in workspace.ledger.batches()}
    chosen: dict[str, LedgerIdentity] = {}
    for unit in units:
        found = of_batch(unit) if unit in batches else [of_serial(unit)]
        chosen.update((one.name, one) for one in found)
    return list(chosen.values())
