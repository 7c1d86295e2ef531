"""Labels on the station's printer: one job per label, in order, and nothing is ever printed twice by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rmfab.errors import InputError, UsageError
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.printer import LabelPrinter, PrinterFault
from rmfab.label.raster import Raster
from rmfab.ledger.events import Event, timestamp
from rmfab.ledger.label_words import MOST_COPIES, LabelWord
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.label_event import LabelledUnit, label_event
from rmfab.line.label_queue import Note, in_doubt, print_once, ready_status
from rmfab.operations.draw_label import LabelArtist
from rmfab.operations.line_labels import no_printer
from rmfab.operations.named_unit import named_unit
from rmfab.operations.print_labels import units_to_label
from rmfab.operations.reason import refuse_reason
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace

_MOST_NAMED = 8


@dataclass(frozen=True)
class PrintRequest:
    """Labels of *units* (batches and serials), *copies* of each; *reason* is why units get one more label.

    *style* and *size* are those of the product and the printer if they are None, *copies* those of the style.

    Raise UsageError for copies that no printer should make, or an empty reason.
    """

    units: tuple[str, ...]
    copies: int | None = None
    reason: str | None = None
    style: str | None = None
    size: str | None = None

    def __post_init__(self) -> None:
        if self.copies is not None and not 1 <= self.copies <= MOST_COPIES:
            raise UsageError(f"--copies must be 1 to {MOST_COPIES}")
        if self.reason is not None:
            refuse_reason(self.reason)


@dataclass(frozen=True)
class PrintedLabel:
    """Labels of one unit that were printed: *word* is `sent` or `printed`."""

    serial: str
    word: LabelWord
    copies: int


def print_on_printer(
    workspace: Workspace, request: PrintRequest, terminal: Terminal = UNATTENDED
) -> Iterator[PrintedLabel]:
    """Print the labels one after the other, and yield each that is out.

    Units that have a label are skipped, unless there is a reason; a label in doubt is asked for first. Labels for
    cartons, whose style has no PoP, are not recorded, and may be printed as often as anyone likes.

    Raise PrinterFault at the first fault, with what is out, in doubt and not sent; InputError for a unit that cannot
    have a label, and (cause `reprint-reason`) if one more label needs a reason.
    """
    if workspace.station.printer is None:
        raise no_printer("--print needs a printer")
    artist = LabelArtist.of(workspace, request.style, request.size)
    due, reason = units_to_label(workspace, request.units, terminal), request.reason
    if artist.design.shows_pop:
        due, reason = _due(due, reason, terminal)
    job = _Job(workspace, open_printer(workspace.station.printer), artist, request.copies, reason, terminal)
    out: list[str] = []
    for number, unit in enumerate(due):
        try:
            label = job.print_label(unit)
        except PrinterFault as fault:
            raise _stopped(fault, unit, out, due[number + 1 :]) from fault
        if label is not None:
            out.append(label.serial)
            yield label


def settle_labels(
    workspace: Workspace, serials: Sequence[str], came_out: bool, terminal: Terminal = UNATTENDED
) -> tuple[LedgerIdentity, ...]:
    """Record of labels in doubt whether they *came_out*; return the units. One that is not in doubt stays as it is."""
    units = [named_unit(workspace, serial) for serial in serials]
    for unit in units:
        if unit.standing.doubt_ts is None:
            terminal.say(f"the label of {unit.serial} is not in doubt")
            continue
        _Teller(workspace, unit).tell(LabelWord.PRINTED if came_out else LabelWord.NOT_PRINTED, by_operator=True)
        terminal.say(f"{unit.serial} {'has its label' if came_out else 'has no label; print it with --print'}")
    return tuple(named_unit(workspace, unit.serial) for unit in units)


def _due(
    chosen: list[LedgerIdentity], reason: str | None, terminal: Terminal
) -> tuple[list[LedgerIdentity], str | None]:
    """Return the units to print, and the reason for those that have a label. Without a reason they are skipped."""
    fresh = [one for one in chosen if not one.standing.labelled_count or one.standing.doubt_ts]
    if reason is not None or len(fresh) == len(chosen):
        return chosen, reason
    if fresh:
        terminal.say(f"skipped {counted(len(chosen) - len(fresh), 'unit that has its', 'units that have their')} label")
        return fresh, None
    if not terminal.interactive:
        raise InputError(
            "the label was printed before" if len(chosen) == 1 else f"all {len(chosen)} labels were printed before",
            where=chosen[0].serial,
            hint="pass --reason TEXT to print one more, and destroy the first",
            cause="reprint-reason",
        )
    reason = terminal.ask("Why is the label printed again?").strip()
    if not reason:
        raise InputError("no reason given", where=chosen[0].serial, cause="reprint-reason")
    return chosen, reason


class _Teller:
    """Records what becomes known of the label of *unit*."""

    def __init__(
        self,
        workspace: Workspace,
        unit: LedgerIdentity,
        printer: str | None = None,
        copies: int = 1,
        reason: str | None = None,
    ) -> None:
        self._workspace = workspace
        self._unit = unit
        self._printer = printer
        self._copies = copies
        self._reason = reason

    def tell(self, word: LabelWord, fault: PrinterFault | None = None, *, by_operator: bool = False) -> None:
        """Record *word*; the intention only if no label was printed since the unit was read."""
        workspace, event = self._workspace, self._event(word, fault, by_operator=by_operator)
        if word is LabelWord.SENDING:
            workspace.ledger.sending(workspace.station.name, event, self._unit.standing)
        else:
            workspace.ledger.record(workspace.station.name, [event])

    def _event(self, word: LabelWord, fault: PrinterFault | None, *, by_operator: bool) -> Event:
        return label_event(
            timestamp(self._workspace.now()),
            LabelledUnit(self._unit.name, self._unit.mac),
            word,
            printer=self._printer,
            copies=self._copies,
            cause=None if fault is None else fault.cause,
            reason=self._reason if fault is None else fault.what,
            by_operator=by_operator,
        )


class _Job:
    """The printing of *copies* for each of several units on *printer*, with the *reason* for one more label."""

    def __init__(
        self,
        workspace: Workspace,
        printer: LabelPrinter,
        artist: LabelArtist,
        copies: int | None,
        reason: str | None,
        terminal: Terminal,
    ) -> None:
        self._workspace = workspace
        self._printer = printer
        self._artist = artist
        self._copies = copies or artist.design.copies
        self._reason = reason
        self._terminal = terminal
        self._warned = False

    def print_label(self, unit: LedgerIdentity) -> PrintedLabel | None:
        """Print the label of *unit*; return None if the one in doubt is there."""
        if not self._artist.design.shows_pop:
            return self._print(unit, _unrecorded)
        if unit.standing.doubt_ts is not None:
            if self._settle(unit):
                return None
            unit = named_unit(self._workspace, unit.serial)
        if before := unit.standing.labelled_count:
            self._terminal.warn(
                f"{unit.serial} has had {counted(before, 'label')} before: destroy the others",
                "two labels with one PoP are two keys to one device",
            )
        reason = self._reason if before else None
        return self._print(unit, _Teller(self._workspace, unit, self._printer.address, self._copies, reason).tell)

    def _print(self, unit: LedgerIdentity, note: Note) -> PrintedLabel:
        ready_status(self._printer)
        word = print_once(self._printer, self._raster(unit), note, self._copies)
        return PrintedLabel(unit.serial, word, self._copies)

    def _raster(self, unit: LedgerIdentity) -> Raster:
        """Return the bitmap of the label; warn once of what may not be readable."""
        workspace = self._workspace
        history = partial(workspace.ledger.history, unit.name)
        made = self._artist.draw(workspace.open_identity(unit), unit, history, self._printer.dpi)
        for warning in made.warnings if not self._warned else ():
            self._terminal.warn(warning.what, warning.hint)
        self._warned = True
        return made.raster

    def _settle(self, unit: LedgerIdentity) -> bool:
        """Return whether the label in doubt is there, as the operator says. Raise InputError if nobody can tell."""
        if not self._terminal.interactive:
            raise InputError(
                f"a printer got the label at {unit.standing.doubt_ts}, and it is in doubt whether it came out",
                where=unit.serial,
                hint=f"look: `rmfab label {unit.serial} --came-out yes`, or no, settles it",
                cause="label-doubt",
            )
        there = self._terminal.confirm(f"Is there a whole label for {unit.serial}?")
        _Teller(self._workspace, unit).tell(LabelWord.PRINTED if there else LabelWord.NOT_PRINTED, by_operator=True)
        return there


def _unrecorded(word: LabelWord, fault: PrinterFault | None = None, *, by_operator: bool = False) -> None:
    """Record nothing: the label is not that of a unit."""


def _stopped(
    fault: PrinterFault, unit: LedgerIdentity, out: Sequence[str], rest: Sequence[LedgerIdentity]
) -> PrinterFault:
    """Return *fault* with what became of all labels."""
    parts = [f"{_named(out)} out"] if out else []
    if not fault.in_doubt:
        rest = (unit, *rest)
    if rest:
        parts.append(f"{_named([one.serial for one in rest])} not sent")
    doubtful = in_doubt(fault, unit.serial) if fault.in_doubt else fault
    again = "; then repeat the command: it goes on with what is missing" if rest else ""
    return PrinterFault(
        "; ".join((doubtful.what, *parts)),
        where=fault.where,
        hint=f"{doubtful.hint or fault.hint or 'see `rmfab printer status`'}{again}",
        cause=fault.cause,
        in_doubt=fault.in_doubt,
    )


def _named(serials: Sequence[str]) -> str:
    shown = ", ".join(serials[:_MOST_NAMED])
    more = f" and {len(serials) - _MOST_NAMED} more" if len(serials) > _MOST_NAMED else ""
    return f"{shown}{more} {'is' if len(serials) == 1 else 'are'}"
