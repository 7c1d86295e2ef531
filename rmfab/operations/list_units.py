"""List the units of a batch, or of all, as the ledger has them now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rmfab.operations.read_ledger import ledger_to_read
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.report.period import ALWAYS, Period
from rmfab.report.units import EVERY_UNIT, ListedUnit, UnitFilter, listed, of_states
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class UnitQuery:
    """Which units are listed: of *batch*, in one of *states*, to which something happened since the start of *period*,
    and which fit *chosen*. By default all that are or were bound to a board."""

    batch: str | None = None
    states: tuple[str, ...] = ()
    period: Period = ALWAYS
    chosen: UnitFilter = EVERY_UNIT


def list_units(workspace: Workspace, query: UnitQuery, terminal: Terminal = UNATTENDED) -> Iterator[ListedUnit]:
    """Yield the units of *query* in the order of their batches, in constant memory.

    Raise LedgerError, InputError for an unknown batch.
    """
    ledger = ledger_to_read(workspace, terminal)
    histories = ledger.histories(query.batch, states=of_states(query.states), since=query.period.since)
    return (unit for unit in map(listed, histories) if query.chosen.fits(unit))
