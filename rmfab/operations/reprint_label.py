"""One more label for the unit on a slot, by the operator's order while the line runs.

It takes its turn in the line's queue before the printer, and is recorded as `rmfab label --print --reason` records it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rmfab.errors import InputError, RmfabError
from rmfab.label.printers.printer import PrinterFault
from rmfab.label.raster import Raster
from rmfab.ledger.events import timestamp
from rmfab.ledger.label_words import LabelWord
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.ending import Aborted
from rmfab.line.job import Job
from rmfab.line.label_event import LabelledUnit, label_event
from rmfab.line.label_queue import LabelOrder, LabelQueue, settle
from rmfab.line.label_work import LabelWork
from rmfab.operations.draw_label import LabelArtist
from rmfab.operations.line_labels import label_queue
from rmfab.operations.print_labels import refuse_label
from rmfab.operations.terminal import Terminal
from rmfab.secret import redact
from rmfab.workspace.workspace import Workspace

REASON = "reprint at the screen"


class LabelReprinter:
    """Prints labels again for the line of *job*; usable from every thread. *keep_going* raises Aborted to give up."""

    def __init__(self, workspace: Workspace, job: Job, terminal: Terminal, keep_going: Callable[[], None]) -> None:
        self._workspace = workspace
        self._job = job
        self._terminal = terminal
        self._keep_going = keep_going
        labels = job.labels
        self._work = (labels, labels.queue) if labels is not None and labels.queue is not None else None
        self._making = threading.Lock()

    @property
    def has_printer(self) -> bool:
        """Whether this station has a printer."""
        return self._workspace.station.printer is not None

    def reprint(self, serial: str, slot: str) -> None:
        """Print the label of the unit *serial* on *slot*, and tell the operator what became of it."""
        terminal = self._terminal
        try:
            done = self._printed(serial, slot)
        except Aborted:
            return
        except RmfabError as error:
            terminal.warn(f"{serial}: no label printed: {error.what}", error.hint)
            return
        terminal.say(f"{serial}: {done}")

    def _printed(self, serial: str, slot: str) -> str:
        """Print the label of the unit, and return what was done. Raise RmfabError."""
        unit = self._unit(serial)
        work, queue = self._at_work()
        before = unit.standing.labelled_count
        task = _Task(self._job, work, queue, unit, slot, REASON if before else None)
        order = task.order(self._terminal, self._keep_going)
        if unit.standing.doubt_ts is not None:
            settled = settle(order)
            if settled is None:
                raise InputError("it is in doubt whether its last label came out", cause="label-doubt")
            if settled.out:
                return "its label is there, so none was printed"
        queue.print_label(order)
        return "printed again; destroy the other label" if before else "label printed"

    def _unit(self, serial: str) -> LedgerIdentity:
        """Return the unit as it is now. Raise InputError if it cannot have a label."""
        unit = self._job.ledger.identity_by_serial(serial)
        if unit is None:
            raise InputError("the ledger has no such unit", where=serial)
        refuse_label(unit)
        return unit

    def _at_work(self) -> tuple[LabelWork, LabelQueue]:
        """Return what labels are printed with: that of the line, or, if its units get none, one of our own."""
        with self._making:  # a printer has one queue
            if self._work is None:
                artist = LabelArtist.of(self._workspace)
                artist.judge_for_line()
                queue = label_queue(self._workspace)
                self._work = LabelWork(artist.draw, artist.design.copies, queue), queue
            return self._work


@dataclass(frozen=True)
class _Task:
    """The label of *unit*, which is on *slot*; *reason* is why it gets one more."""

    job: Job
    work: LabelWork
    queue: LabelQueue
    unit: LedgerIdentity
    slot: str
    reason: str | None

    def order(self, terminal: Terminal, keep_going: Callable[[], None]) -> LabelOrder:
        """Return the order to the queue."""

        def ask(question: str) -> bool | None:
            try:
                return terminal.confirm(question)
            except InputError:
                return None

        return LabelOrder(
            self.unit.serial, self._draw, self._note, terminal.say, terminal.warn, ask, keep_going, self.work.copies
        )

    def _draw(self, dpi: int) -> Raster:
        history = partial(self.job.ledger.history, self.unit.name)
        return self.work.draw(self.job.open_identity(self.unit), self.unit, history, dpi, self.slot).raster

    def _note(self, word: LabelWord, fault: PrinterFault | None = None, *, by_operator: bool = False) -> None:
        """Record what became known of the label."""
        pop = self.job.open_identity(self.unit).pop
        event = label_event(
            timestamp(self.job.now()),
            LabelledUnit(self.unit.name, self.unit.mac, self.slot),
            word,
            printer=self.queue.address,
            copies=self.work.copies,
            cause=None if fault is None else fault.cause,
            reason=self.reason if fault is None else redact(fault.what, pop),
            by_operator=by_operator,
        )
        self.job.ledger.record(self.job.station, [event])
