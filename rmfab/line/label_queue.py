"""The queue before a station's printer: labels of all slots, one after the other, in the order in which units finish.

It never runs ahead: a label is given to the printer when the one before it is proven. A fault of the printer holds the
queue, the operator is told once, and the waiting labels follow in order as soon as the printer is ready again. A label
that may have come out is never printed again unless the operator says that it did not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.printer import LabelPrinter, PrinterFault, PrinterStatus
from rmfab.label.raster import Raster
from rmfab.ledger.label_words import LabelWord
from rmfab.line.abortable_printer import AbortablePrinter
from rmfab.signals import SLICE_SECONDS

_LOOK_SECONDS = 1.0
"""How often a printer that is not ready is asked again."""


class Note(Protocol):
    """Records what became known of a label, durably, before anything else is done."""

    def __call__(self, word: LabelWord, fault: PrinterFault | None = None, *, by_operator: bool = False) -> None:
        """Record *word*; *fault* is why it was not printed."""


@dataclass(frozen=True)
class LabelOrder:
    """One job to print: *copies* of the label of *serial*; *draw* draws it for a printer's dots per inch.

    *ask* asks the operator a yes-or-no question and returns the answer, None if nobody can answer. *keep_going* raises
    to give up.
    """

    serial: str
    draw: Callable[[int], Raster]
    note: Note
    say: Callable[[str], None]
    warn: Callable[[str], None]
    ask: Callable[[str], bool | None]
    keep_going: Callable[[], None]
    copies: int = 1


def ready_status(printer: LabelPrinter) -> PrinterStatus:
    """Return the status of *printer* if it can print now, as far as it says. Raise PrinterFault if it cannot."""
    status = printer.status()
    if status.faults:
        raise fault_of(status.faults[0], printer.address)
    return status


def print_once(printer: LabelPrinter, raster: Raster, note: Note, copies: int = 1) -> LabelWord:
    """Print one job, and record it before its first byte and after its last. Return `sent` or `printed`.

    Raise PrinterFault. If it is in doubt, or if this is cut short, the ledger only has the intention.
    """
    note(LabelWord.SENDING)
    try:
        word = LabelWord(printer.print_label(raster, copies).value)
    except PrinterFault as fault:
        if not fault.in_doubt:
            note(LabelWord.NOT_PRINTED, fault)
        raise
    note(word)
    return word


def settle(order: LabelOrder) -> LabelWord | None:
    """Ask the operator about a label in doubt, and record the answer: `printed`, or `not-printed`. None: no answer."""
    there = order.ask(f"is there a whole label for {order.serial}?")
    if there is None:
        return None
    word = LabelWord.PRINTED if there else LabelWord.NOT_PRINTED
    order.note(word, by_operator=True)
    return word


class LabelQueue:
    """The queue before *printer*. Units wait up to *patience* seconds for one that is not ready, counted once for all.

    Usable from every thread. *look*: how often a printer that is not ready is asked, in seconds.
    """

    def __init__(self, printer: LabelPrinter, patience: float, look: float = _LOOK_SECONDS) -> None:
        self._printer = printer
        self._patience = patience
        self._look = look
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._told: str | None = None
        self._faulty_since: float | None = None

    @property
    def address(self) -> str:
        """The address of the printer."""
        return self._printer.address

    @property
    def ready(self) -> bool:
        """Whether the printer had no fault when it was asked last."""
        return self._told is None

    def print_label(self, order: LabelOrder) -> LabelWord:
        """Print the label when it is its turn; return `sent` or `printed`.

        Raise PrinterFault if the printer is not ready in time, or if it is in doubt whether the label came out.
        """
        with self._turn(order.keep_going):
            while True:
                self._await_ready(order)
                if (word := self._try(order)) is not None:
                    return word

    def _try(self, order: LabelOrder) -> LabelWord | None:
        """Print the label once; return None if it certainly did not come out, and may be tried again."""
        try:
            printer = AbortablePrinter(self._printer, order.keep_going)
            word = print_once(printer, order.draw(printer.dpi), order.note, order.copies)
        except PrinterFault as fault:
            self._tell(order, fault)
            if fault.in_doubt:
                return self._settled(order, fault)
            if self._is_late():
                raise
            self._pause(order)
            return None
        self._faulty_since = self._told = None
        return word

    def _settled(self, order: LabelOrder, fault: PrinterFault) -> LabelWord | None:
        """Return `printed` if the operator sees the label, None if there is none. Else raise *fault*.

        The question comes when the printer is ready again: many print a label that was cut short once more by
        themselves.
        """
        try:
            status = self._await_ready(order)
        except PrinterFault as still:
            raise in_doubt(still, order.serial) from fault
        self._is_back(order, status)
        word = settle(order)
        if word is None:
            raise in_doubt(fault, order.serial) from fault
        return word if word.out else None

    def _await_ready(self, order: LabelOrder) -> PrinterStatus:
        """Wait until the printer has no fault, and return its status; raise the fault when patience has ended."""
        printer = AbortablePrinter(self._printer, order.keep_going)
        was_away = False
        while True:
            try:
                status = ready_status(printer)
            except PrinterFault as fault:
                was_away = True
                self._tell(order, fault)
                if self._is_late():
                    raise
                self._pause(order)
            else:
                if was_away:
                    self._is_back(order, status)
                return status

    def _is_back(self, order: LabelOrder, status: PrinterStatus) -> None:
        """Forget the fault, and say so unless a fault of the last job may still be there."""
        if self._told is not None and not status.stale:
            order.say("the printer is ready again")
        self._faulty_since = self._told = None

    def _tell(self, order: LabelOrder, fault: PrinterFault) -> None:
        """Tell the operator what to do, once until the printer is ready again, unless the fault changes."""
        if self._faulty_since is None:
            self._faulty_since = time.monotonic()
        if self._told == fault.cause:
            return
        self._told = fault.cause
        hint = f"; {fault.hint}" if fault.hint else ""
        order.warn(f"printer {self.address}: {fault.what}{hint}")

    def _is_late(self) -> bool:
        return self._faulty_since is not None and time.monotonic() - self._faulty_since >= self._patience

    def _pause(self, order: LabelOrder) -> None:
        """Wait before the printer is asked again, or until its patience has ended."""
        until = time.monotonic() + self._look
        while (left := until - time.monotonic()) > 0 and not self._is_late():
            order.keep_going()
            time.sleep(min(left, SLICE_SECONDS))

    @contextmanager
    def _turn(self, keep_going: Callable[[], None]) -> Iterator[None]:
        """Wait for the turn of this label; *keep_going* raises to give up."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
        try:
            with self._changed:
                while self._waiting[0] is not ticket:
                    keep_going()
                    self._changed.wait(SLICE_SECONDS)
            yield
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()


def in_doubt(fault: PrinterFault, serial: str) -> PrinterFault:
    """Return *fault* with what the operator has to find out."""
    return PrinterFault(
        f"{fault.what}; it is in doubt whether the label of {serial} came out",
        where=fault.where,
        hint=f"look: `rmfab label {serial} --came-out yes`, or no, settles it",
        cause=fault.cause,
        in_doubt=True,
    )
