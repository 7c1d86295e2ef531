"""The slots of this host: which are out of service and why, and how a supervisor changes that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rmfab.errors import InputError
from rmfab.ledger.events import timestamp
from rmfab.ledger.host import state_folder
from rmfab.line.slot_book import FILE_NAME, OutOfService, SlotBook
from rmfab.line.station import Slot, Station, slot_named
from rmfab.report.yields import PASSED, Ratio
from rmfab.workspace.workspace import nearest_station, now


@dataclass(frozen=True)
class SlotStanding:
    """A *slot*, why it is out of service (None: it is not), and its last boards: how many, how many passed at first."""

    slot: Slot
    out: OutOfService | None
    boards: int
    passed: int

    def to_json(self) -> dict[str, Any]:
        """Return its JSON form."""
        out = self.out
        return {
            "slot": self.slot.name,
            "port": self.slot.link.address,
            "state": "in service" if out is None else out.word,
            "reason": None if out is None else out.reason,
            "since": None if out is None else out.since,
            "operator": None if out is None else out.operator,
            "boards": self.boards,
            "passed": self.passed,
        }


def slot_book(station: Station, clock: Callable[[], datetime] = now) -> SlotBook | None:
    """Return the book of the slots of *station*, None if it has none. Raise StationError without a folder."""
    if not station.slots:
        return None
    return SlotBook(state_folder() / FILE_NAME, station.slots, _worse, lambda: timestamp(clock()))


def _worse(slot: tuple[int, int], others: tuple[int, int]) -> bool:
    return Ratio(*slot).below(Ratio(*others))


def list_slots(folder: Path | None) -> tuple[SlotStanding, ...]:
    """Return the slots of station.toml, in its order. Raise InputError if there are none."""
    station, book = _opened(folder)
    return tuple(_standing(book, slot) for slot in station.slots)


def slots_out_of_service(station: Station) -> list[tuple[str, OutOfService]]:
    """Return the slots of *station* that start no board, each with the reason."""
    book = slot_book(station)
    found = [] if book is None else [(slot.name, book.out_of_service(slot)) for slot in station.slots]
    return [(name, why) for name, why in found if why is not None]


@dataclass(frozen=True)
class SlotChange:
    """A change of *slot* in the book: *what* was done at *ts*, why, and by whom, None for the line itself."""

    ts: str
    slot: str
    what: str
    reason: str
    operator: str | None

    def to_json(self) -> dict[str, Any]:
        """Return its JSON form."""
        return asdict(self)


def slot_changes(folder: Path | None, name: str | None = None) -> tuple[SlotChange, ...]:
    """Return the last changes of the slot *name*, or of all slots of this host, the oldest first. Raise InputError."""
    station, book = _opened(folder)
    slots = station.slots if name is None else (slot_named(name, station),)
    changes = ((slot.name, one) for slot in slots for one in book.changes(slot))
    found = (
        SlotChange(one.get("ts", ""), slot, one.get("what", ""), one.get("reason", ""), one.get("operator"))
        for slot, one in changes
    )
    return tuple(sorted(found, key=lambda one: one.ts))


def unlock_slot(folder: Path | None, name: str, reason: str, operator: str | None) -> bool:
    """Unlock the slot *name* because of *reason*; return whether it was locked. Raise InputError."""
    station, book = _opened(folder)
    return book.unlock(slot_named(name, station), reason, operator)


def disable_slot(folder: Path | None, name: str, reason: str, operator: str | None) -> None:
    """Take the slot *name* out of service. Raise InputError."""
    station, book = _opened(folder)
    book.disable(slot_named(name, station), reason, operator)


def enable_slot(folder: Path | None, name: str, operator: str | None) -> bool:
    """Put the slot *name* into service again; return whether it was disabled. Raise InputError if that cannot be."""
    station, book = _opened(folder)
    slot = slot_named(name, station)
    if not slot.enabled:
        raise InputError(
            f"slot {name} is disabled in station.toml", hint="remove enabled = false from it", cause="slot-closed"
        )
    was = book.enable(slot, operator)
    locked = book.state(slot).locked
    if locked is not None:
        raise InputError(f"slot {name} is {locked}", hint=locked.way_back(name), cause="slot-closed")
    return was


def _opened(folder: Path | None) -> tuple[Station, SlotBook]:
    station = nearest_station(folder)
    book = slot_book(station)
    if book is None:
        raise InputError(
            "this station has no slots", hint="`rmfab station discover` adds them to station.toml", cause="no-slot"
        )
    return station, book


def _standing(book: SlotBook, slot: Slot) -> SlotStanding:
    firsts = [one.first for one in book.state(slot).recent if one.first is not None]
    return SlotStanding(slot, book.out_of_service(slot), len(firsts), sum(first in PASSED for first in firsts))
