"""Look-up of the unit that a board is expected to be, in the ledger. It binds nothing: that is the step `claim`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rmfab.errors import InputError
from rmfab.ledger.events import StoredEvent
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.events import Step
from rmfab.line.stages import Bound
from rmfab.line.visit import Visit


def find_unit(visit: Visit, mac: str | None) -> Bound | None:
    """Return the expected unit: by the MAC read in the loader, or else by the serial that the operator gave."""
    if mac is not None:
        record = _by_mac(visit, mac)
    elif visit.job.serial is not None:
        record = _by_serial(visit, visit.job.serial)
    else:
        return None
    return None if record is None else Bound(record, visit.open_identity(record))


def _by_mac(visit: Visit, mac: str) -> LedgerIdentity | None:
    record = visit.job.ledger.identity_by_mac(mac)
    if record is None:
        return None
    visit.is_unit(record)
    if visit.job.serial not in (None, record.serial):
        raise InputError(f"this board is {record.serial}, not {visit.job.serial}", where=mac, cause="serial-mismatch")
    return record


def _by_serial(visit: Visit, serial: str) -> LedgerIdentity:
    record = visit.job.ledger.identity_by_serial(serial)
    if record is None:
        hint = visit.job.ledger.hint_for_unknown(serial)
        raise InputError(f"no unit {serial} in the ledger", hint=hint, cause="no-serial")
    visit.is_unit(record)
    if not record.standing.live:
        raise InputError(
            f"identity {serial} is not claimed by a board: it is {record.state}",
            hint="flash the board first: `rmfab flash` claims its identity",
            cause="not-claimed",
        )
    return record


def flashed_release(history: Iterable[StoredEvent]) -> Mapping[str, Any] | None:
    """Return what the ledger recorded of the release that a unit was flashed with last, None if it recorded none.

    It has the keys `digest` and `version`.
    """
    flashes = [one.event for one in history if one.event.step == Step.FLASH.value]
    return next((event.release for event in reversed(flashes) if event.release is not None), None)
