"""The ledger's events about labels that a printer prints: what is known, and why there is one more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.label_words import LabelWord

SENDING, NOT_PRINTED, SCANNED = LabelWord.SENDING, LabelWord.NOT_PRINTED, LabelWord.SCANNED


@dataclass(frozen=True)
class LabelledUnit:
    """The unit of a label, for its events: *serial* and *mac*, and the *slot* on which it is, if it is on one."""

    serial: str
    mac: str | None = None
    slot: str | None = None


def label_event(
    ts: str,
    unit: LabelledUnit,
    word: LabelWord,
    *,
    printer: str | None = None,
    copies: int = 1,
    cause: str | None = None,
    reason: str | None = None,
    by_operator: bool = False,
) -> Event:
    """Return the event that *word* became known of the label of *unit*.

    *printer* is its address, without credentials. *reason* says why a label is printed again, or with *cause* why it
    was not. *by_operator*: a person said so, not the printer.
    """
    details: dict[str, Any] = {"word": word.value}
    if printer is not None:
        details["printer"] = printer
    if copies != 1:
        details["copies"] = copies
    if by_operator:
        details["by"] = "operator"
    return Event(
        ts,
        EventKind.LABEL,
        serial=unit.serial,
        mac=unit.mac,
        slot=unit.slot,
        cause=cause,
        reason=reason,
        details=details,
    )
