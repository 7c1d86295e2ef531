"""Scan-back: the label on each board is scanned, and must be that of the unit on the slot.

A scan that is the label of a different unit means that two labels are swapped, or that one board has the wrong one. It
stops the slots of both units. A scan is compared in constant time, and nothing of it is printed or kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rmfab.errors import StationError
from rmfab.identity.qr import Payload, parse_payload
from rmfab.label.scan import WrongScan, is_label_of, parse_scan, same_label
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.secret import Secret

_MOST_UNREADABLE = 5


class WrongLabel(StationError):
    """The label on a board is not that of its unit."""

    cause = "label-swapped"


class Scanner(Protocol):
    """The desk to which scans come, see `CodeDesk.code`."""

    def code(self, slot: str, prompt: str, say: Callable[[str], None], keep_going: Callable[[], None]) -> str:
        """Prompt for a code when it is the turn of *slot*, and return it."""


@dataclass(frozen=True)
class ScanOrder:
    """The label to scan: that of *serial* on *slot*, with the code *printed*.

    *owner* returns the unit that a scanned label belongs to, None if this ledger has none.
    """

    slot: str
    serial: str
    printed: Secret[str] = field(repr=False)
    owner: Callable[[Payload], LedgerIdentity | None]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    keep_going: Callable[[], None]


class ScanBack:
    """The scans of one run, on all slots. Usable from every thread."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._lock = threading.Lock()
        self._slots: dict[str, str] = {}  # the slot of each unit that is waiting or was scanned
        self._swapped: dict[str, WrongLabel] = {}  # why a unit must not pass, because of the scan on a different slot
        self._last: str | None = None  # the unit whose label was scanned last

    def check(self, order: ScanOrder) -> None:
        """Have the label on the board scanned. Raise WrongLabel if it is not that of the unit, WrongScan if it cannot
        be read, and what `CodeDesk.code` raises if nobody scans."""
        with self._lock:
            self._slots[order.serial] = order.slot
        repeated = False
        for attempt in range(_MOST_UNREADABLE):
            try:
                scanned = parse_scan(self._scan(order))
            except WrongScan as error:
                if attempt == _MOST_UNREADABLE - 1:
                    raise
                order.warn(f"{error.what}; {error.hint}")
                continue
            owner = None if is_label_of(scanned, order.printed) else order.owner(scanned)
            if owner is None or owner.serial != self._last or repeated:
                self._judge(order, scanned, owner)
                return
            repeated = True  # a scanner reads twice if its trigger is held
            order.warn(f"this is the label of {owner.serial} again; scan the label on the board of this slot")
        raise WrongScan("the label cannot be scanned", hint="print it again, or clean the scanner")

    def _scan(self, order: ScanOrder) -> str:
        def keep_going() -> None:
            order.keep_going()
            with self._lock:
                if (error := self._swapped.get(order.serial)) is not None:
                    raise error

        return self._scanner.code(order.slot, f"scan the label on the board of {order.serial}", order.say, keep_going)

    def _judge(self, order: ScanOrder, scanned: Payload, owner: LedgerIdentity | None) -> None:
        """Raise WrongLabel unless *scanned* is the label of the unit; stop the unit that it belongs to instead."""
        try:
            judge_label(order.serial, order.printed, scanned, owner, order.slot, self._slots)
        except WrongLabel as error:
            if owner is not None and error.cause == WrongLabel.cause:
                with self._lock:
                    self._swapped[owner.serial] = error
            raise
        with self._lock:
            self._last = order.serial


_SWAP = "take the labels of {} and {} off, put each on its own board, then scan both: `rmfab scan --serial SERIAL`"


def judge_label(
    serial: str,
    printed: Secret[str],
    scanned: Payload,
    owner: LedgerIdentity | None,
    slot: str | None = None,
    slots: Mapping[str, str] | None = None,
) -> None:
    """Raise WrongLabel unless *scanned* is the label of *serial*, with the code *printed*.

    *owner* is the unit that it belongs to, None if this ledger has none. *slot*: that of the unit; *slots*: those of
    others.
    """
    if is_label_of(scanned, printed):
        if same_label(scanned, printed):
            return
        raise WrongLabel(
            "the label has the right PoP, but was made for different settings",
            where=serial,
            hint=f"destroy it, and print it again: `rmfab label {serial} --print --reason outdated`",
            cause="label-outdated",
        )
    if owner is None:
        raise foreign_label(serial, printed, scanned)
    if owner.state is State.VOID:
        raise void_label(owner.serial, serial)
    other = _placed(owner.serial, (slots or {}).get(owner.serial))
    raise WrongLabel(
        f"the board of {_placed(serial, slot)} has the label of {other}",
        hint=_SWAP.format(serial, owner.serial),
    )


def _placed(serial: str, slot: str | None) -> str:
    return serial if slot is None else f"{serial} (slot {slot})"


def foreign_label(serial: str, printed: Secret[str], scanned: Payload) -> WrongLabel:
    """Return the error for a label that is no unit's here."""
    if parse_payload(printed.reveal()).name == scanned.name:
        what = "the label has the name of this unit, and a different PoP: it is an old one, or of a different ledger"
    else:
        what = "the label on this board belongs to no unit of this ledger"
    return WrongLabel(what, where=serial, hint="destroy it, and put the unit's own label on", cause="label-foreign")


def void_label(void: str, serial: str | None = None) -> WrongLabel:
    """Return the error for the label of an identity that is void."""
    what = f"this is the label of {void}, which is void"
    return WrongLabel(what, where=serial, hint="destroy the label", cause="label-void")


def owner_among(
    scanned: Payload, found: Sequence[LedgerIdentity], printed_of: Callable[[LedgerIdentity], Secret[str]]
) -> LedgerIdentity | None:
    """Return the one of *found* whose label *scanned* is, None if it is nobody's; *printed_of* returns its code."""
    return next((one for one in found if is_label_of(scanned, printed_of(one))), None)
