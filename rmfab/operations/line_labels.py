"""What the line needs for labels: the station's printer, the scans of labels, and a scanner that was tested today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import InputError
from rmfab.files import is_there, read_input, write_file
from rmfab.label.printers.area import judge_label
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.printer import PrinterFault
from rmfab.label.scan import WrongScan, judge_test
from rmfab.ledger.events import timestamp
from rmfab.line.code_desk import CodeDesk
from rmfab.line.label_queue import LabelQueue
from rmfab.line.label_work import LabelWork
from rmfab.line.scan_back import ScanBack
from rmfab.operations.draw_label import LabelArtist
from rmfab.operations.terminal import Terminal, counted
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from rmfab.label.printers.configuration import PrinterConfig
    from rmfab.label.printers.printer import LabelPrinter

TEST_HOURS = 12
"""How long a test of the scanner counts: one shift, and the overtime."""
_RECORD = ".scanner-tested"
_MOST_TRIES = 5
_MOST_NAMED = 8


def line_labels(workspace: Workspace, desk: CodeDesk | None, doubtful: Sequence[str], terminal: Terminal) -> LabelWork:
    """Return what the step `label` works with. Warn of *doubtful* labels, those of an earlier run, and of what a label
    on this printer lacks.

    Raise InputError if the product requires printed labels and the station has no printer, or if the style does not
    fit, IntegrityError if its code cannot be read.
    """
    policy = workspace.product.label
    if doubtful:
        one = doubtful[0]
        terminal.warn(
            f"{counted(len(doubtful), 'label is', 'labels are')} in doubt: {', '.join(doubtful[:_MOST_NAMED])}",
            f"look whether there is one: `rmfab label {one} --came-out yes`, or no, settles it",
        )
    artist = LabelArtist.of(workspace)
    queue = _queue(workspace, artist, terminal) if policy.prints else None
    scans = ScanBack(desk) if policy.scan_back and desk is not None else None
    answers = desk if terminal.interactive or policy.scan_back else None
    return LabelWork(artist.draw, artist.design.copies, queue, scans, answers)


def _queue(workspace: Workspace, artist: LabelArtist, terminal: Terminal) -> LabelQueue | None:
    """Return the queue before the station's printer, None without one."""
    artist.judge_for_line()
    config = workspace.station.printer
    if config is None:
        if workspace.product.label.required:
            raise no_printer("product.toml requires a printed label")
        terminal.warn(
            "this station has no printer: the units will have no label",
            'set [printer] address = "…" in station.toml; `rmfab printer list` helps',
        )
        return None
    printer = open_printer(config)
    _try_sample(artist, printer, config, terminal)
    return LabelQueue(printer, workspace.product.label.wait)


def label_queue(workspace: Workspace) -> LabelQueue:
    """Return a queue before the printer of this station. Raise InputError if it has none."""
    if workspace.station.printer is None:
        raise no_printer("a label cannot be printed")
    return LabelQueue(open_printer(workspace.station.printer), workspace.product.label.wait)


def _try_sample(artist: LabelArtist, printer: LabelPrinter, config: PrinterConfig, terminal: Terminal) -> None:
    """Warn once of what is wrong with all labels, or that they are too large, or that the printer is away."""
    try:
        dpi = printer.dpi
        sample = artist.draw_sample(dpi)
        for warning in sample.warnings:
            terminal.warn(f"labels ({artist.design}, {dpi} dpi): {warning.what}", warning.hint)
        judge_label(config, sample.raster, dpi)
    except PrinterFault as fault:
        terminal.warn(f"printer {fault}", fault.hint)


def no_printer(why: str) -> InputError:
    """Return the error of a station without a printer that needs one: *why*."""
    return InputError(
        f"{why}, and this station has no printer",
        where="station.toml",
        hint='set [printer] address = "…"; `rmfab printer list` helps',
        cause="no-printer",
    )


def prove_scanner(workspace: Workspace, lines: Iterator[str], terminal: Terminal, *, again: bool = False) -> str | None:
    """Have the test code scanned, unless that was done within a shift; remember that it was right.

    Return what the scanner adds to a code, None if no test was due. *again*: test it in any case. Raise WrongScan, or
    InputError (cause `no-terminal`) if nobody scans.
    """
    record, now = workspace.root / _RECORD, workspace.now()
    if not again and _is_recent(record, now):
        return None
    terminal.say("scan the test code; `rmfab printer test-code` prints it")
    for attempt in range(1, _MOST_TRIES + 1):
        line = next(lines, None)
        if line is None:
            raise InputError(
                "the scanner was not tested: the terminal has ended",
                hint="run rmfab on a terminal, or pipe the scanner's lines into it",
                cause="no-terminal",
            )
        try:
            added = judge_test(line)
        except WrongScan as error:
            if attempt == _MOST_TRIES:
                raise
            terminal.warn(error.what, error.hint)
        else:
            write_file(record, f"{timestamp(now)}\n".encode(), force=True)
            terminal.say(f"the scanner types every character{f'; it adds {added}' if added else ''}")
            return added
    raise AssertionError("the loop returns or raises")


def _is_recent(record: Path, now: datetime) -> bool:
    """Return whether the time in *record* is within a shift before *now*."""
    if not is_there(record):
        return False
    try:
        tested = datetime.fromisoformat(read_input(record).decode("ascii").strip())
        return timedelta(0) <= now - tested <= timedelta(hours=TEST_HOURS)
    except (ValueError, TypeError):
        return False
