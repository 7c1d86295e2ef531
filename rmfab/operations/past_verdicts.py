"""The verdicts before a run, from the ledger: of this station's day and shift, and of a unit that comes back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from rmfab.line.line_ledger import LineLedger
from rmfab.report.runs import runs_of
from rmfab.report.unit_tally import UnitVerdict

if TYPE_CHECKING:
    from rmfab.ledger.histories import PastEvent


def past_verdicts(ledger: LineLedger, station: str, since: str, until: str) -> tuple[UnitVerdict, ...]:
    """Return all verdicts of the units that had one at *station* from *since* until before *until*.

    Raise LedgerError if the ledger does not answer.
    """
    return _verdicts(ledger.station_verdicts(station, since, until), station)


def verdicts_of_unit(ledger: LineLedger, serial: str, station: str, until: str) -> tuple[UnitVerdict, ...]:
    """Return the verdicts of the unit *serial* before *until*. Raise LedgerError if the ledger does not answer."""
    identity = ledger.identity_by_serial(serial)
    return () if identity is None else _verdicts(ledger.unit_verdicts(identity.name, until), station)


def _verdicts(events: Iterable[PastEvent], station: str) -> tuple[UnitVerdict, ...]:
    units = groupby(events, lambda event: event.serial)
    return tuple(UnitVerdict.of_run(run, station) for _, some in units for run in runs_of(some))
