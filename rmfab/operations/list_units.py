"""List the units of a batch, or of all, as the ledger has them now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from rmfab.errors import InputError
from rmfab.line.station import Station, slot_named
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

    A slot without units that this station does not have is a warning, with the one that may be meant. Raise
    LedgerError, InputError for an unknown batch.
    """
    ledger = ledger_to_read(workspace, terminal)
    histories = ledger.histories(query.batch, states=of_states(query.states), since=query.period.since)
    units = (unit for unit in map(listed, histories) if query.chosen.fits(unit))
    return _or_warning(units, query.chosen.slot, workspace.station, terminal)


def _or_warning(
    units: Iterator[ListedUnit], slot: str | None, station: Station, terminal: Terminal
) -> Iterator[ListedUnit]:
    """Yield *units*; if there is none, warn if *slot* is not one of *station*."""
    first = next(units, None)
    if first is not None:
        yield from chain((first,), units)
    elif slot is not None and station.slots:
        try:
            slot_named(slot, station)
        except InputError as error:
            terminal.warn(error.what, error.hint)
