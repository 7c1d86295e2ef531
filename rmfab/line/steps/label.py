"""The step `label`: print the unit's label, and have it scanned on the board.

One label per unit: it is printed if the unit has none, and once more only by `rmfab label --print --reason`. A printer
that is at fault is never the fault of the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rmfab.errors import InputError
from rmfab.identity.qr import Payload
from rmfab.label.content import label_of
from rmfab.label.printers.printer import PrinterFault
from rmfab.label.raster import Raster
from rmfab.ledger.events import timestamp
from rmfab.ledger.label_words import LabelWord
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.ending import NoLabel, Passed, Skipped
from rmfab.line.events import LabelState
from rmfab.line.label_event import LabelledUnit, label_event
from rmfab.line.label_queue import LabelOrder, LabelQueue, in_doubt, settle
from rmfab.line.label_work import LabelWork, yes_or_no
from rmfab.line.scan_back import ScanBack, ScanOrder, owner_among
from rmfab.line.stages import AsNew, Bound, Identified
from rmfab.line.visit import Visit
from rmfab.secret import Secret


def label(visit: Visit, stage: Identified | AsNew) -> Passed[Identified | AsNew]:
    """Print the unit's label and have it scanned, as far as the product says."""
    work, policy = visit.job.labels, visit.job.product.label
    if work is None or not (policy.prints or policy.scan_back):
        raise Skipped("product.toml prints no labels on the line ([label] print)")
    if policy.prints and work.queue is None and not policy.scan_back:
        raise Skipped("station.toml has no [printer]; use `rmfab label` for sheets and pictures")
    task = _Task(visit, stage.bound, work)
    try:
        skipped = task.print_label(work.queue) if policy.prints and work.queue is not None else None
    except PrinterFault as fault:
        raise NoLabel(fault.what, where=fault.where, hint=fault.hint, cause=fault.cause) from fault
    if policy.scan_back and work.scans is not None:
        task.scan(work.scans)
        skipped = None
    return Passed(stage, visit.measured, skipped=skipped)


@dataclass(frozen=True)
class _Task:
    """The label of one unit on its slot."""

    visit: Visit
    bound: Bound
    work: LabelWork

    def print_label(self, queue: LabelQueue) -> str | None:
        """Print the label, unless the unit has one; return why nothing was printed. Raise PrinterFault."""
        standing = self._now().standing
        self._is(LabelState.of(standing))
        order = self._order(queue)
        if standing.doubt_ts is not None:
            settled = settle(order)
            if settled is None:
                since = PrinterFault(f"a printer got it at {standing.doubt_ts}", cause="label-doubt")
                raise in_doubt(since, self._serial)
            if settled.out:
                return "the operator has found the label"
        elif standing.labelled_count:
            return f"the unit has its label since {standing.labelled_ts}"
        queue.print_label(order)
        return None

    def scan(self, scans: ScanBack) -> None:
        """Have the label on the board scanned. Raise WrongLabel or WrongScan, InputError if nobody scans."""
        visit = self.visit
        if not self._now().standing.labelled_count:
            self._is(LabelState.MISSING)
            raise NoLabel("the unit has no label to scan", hint=f"print it with `rmfab label {self._serial}`")
        printed = self._printed(self.bound.record)
        scans.check(
            ScanOrder(visit.slot.name, self._serial, printed, self._owner, visit.say, visit.warn, visit.keep_going)
        )
        self._note(LabelWord.SCANNED)

    @property
    def _serial(self) -> str:
        return self.bound.record.serial

    def _now(self) -> LedgerIdentity:
        """Return the record of the unit as it is now; that of its claim if the ledger's server is away."""
        mac = self.bound.record.mac or self.visit.board.mac
        return (self.visit.job.ledger.identity_by_mac(mac) if mac else None) or self.bound.record

    def _order(self, queue: LabelQueue) -> LabelOrder:
        visit = self.visit

        def note(word: LabelWord, fault: PrinterFault | None = None, *, by_operator: bool = False) -> None:
            self._note(word, queue.address, fault, by_operator=by_operator)

        say, warn = visit.say, visit.warn
        return LabelOrder(self._serial, self._draw, note, say, warn, self._ask, visit.keep_going, self.work.copies)

    def _draw(self, dpi: int) -> Raster:
        visit, record = self.visit, self._now()
        history = partial(visit.job.ledger.history, record.name)
        return self.work.draw(visit.open_identity(record), record, history, dpi, visit.slot.name).raster

    def _note(
        self,
        word: LabelWord,
        printer: str | None = None,
        fault: PrinterFault | None = None,
        *,
        by_operator: bool = False,
    ) -> None:
        """Record what became known of the label, then show it."""
        visit = self.visit
        unit = LabelledUnit(self._serial, self.bound.record.mac or visit.board.mac, visit.slot.name)
        cause, reason = (None, None) if fault is None else (fault.cause, visit.redacted(fault.what))
        visit.recorder.label(
            label_event(
                timestamp(visit.job.now()),
                unit,
                word,
                printer=printer,
                copies=self.work.copies if printer else 1,
                cause=cause,
                reason=reason,
                by_operator=by_operator,
            )
        )
        self._is(LabelState.after(word))

    def _is(self, state: LabelState) -> None:
        self.visit.label = state
        self.visit.measured["label"] = state.value

    def _ask(self, question: str) -> bool | None:
        """Ask the operator yes or no; a scan of the label is a yes. Return None if nobody answers."""
        desk, visit = self.work.desk, self.visit
        if desk is None:
            return None
        printed = self._printed(self.bound.record)
        while True:
            try:
                text = desk.code(visit.slot.name, f"{question} y/n, or scan it", visit.say, visit.keep_going)
            except InputError:
                return None
            if (answer := yes_or_no(text, printed)) is not None:
                return answer

    def _printed(self, record: LedgerIdentity) -> Secret[str]:
        """Return the contents of the code on the label of *record*."""
        return label_of(self.visit.open_identity(record), self.visit.job.product).payload

    def _owner(self, scanned: Payload) -> LedgerIdentity | None:
        found = self.visit.job.ledger.identities_named(scanned.name)
        return owner_among(scanned, found, self._printed)
