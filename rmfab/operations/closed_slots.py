"""The slots that are out of service, for commands that load nothing of the line: most hosts have none."""

from __future__ import annotations

from rmfab.errors import StationError
from rmfab.ledger.host import state_folder
from rmfab.workspace.workspace import Workspace

_BOOK = "slots.json"  # as in rmfab.line.slot_book
_MARK = b'"since"'  # of a slot that is locked or disabled


def closed_slots(workspace: Workspace) -> list[str]:
    """Return a sentence for each slot that the book of this host has out of service."""
    try:
        if _MARK not in (state_folder() / _BOOK).read_bytes():
            return []
    except (OSError, StationError):
        return []
    from rmfab.operations.slot_states import slots_out_of_service

    return [f"slot {slot} is {why}" for slot, why in slots_out_of_service(workspace.station)]
