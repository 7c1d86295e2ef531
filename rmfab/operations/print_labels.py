"""Labels of units: on a sheet, as pictures, or as codes for a terminal. Each is recorded in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import partial
from pathlib import Path
from typing import Any

from rmfab.errors import InputError, UsageError, one_line
from rmfab.label.content import Label, label_of
from rmfab.label.make_sheet import make_sheet
from rmfab.label.picture import make_png, make_svg
from rmfab.label.sheets import Sheet, sheet
from rmfab.label.typeface import Face, lacking, product_font
from rmfab.label.warnings import LabelWarning
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.named_unit import named_unit, named_units
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.staging import folder_of_files, staged_files
from rmfab.workspace.workspace import Workspace

_MOST_ON_TERMINAL = 8


@unique
class LabelForm(StrEnum):
    """The format of labels."""

    PDF = "pdf"
    PNG = "png"
    SVG = "svg"
    TERMINAL = "terminal"


@dataclass(frozen=True)
class LabelRequest:
    """Labels of *units* (batches and serials) in *form*, as the file or folder *output*; None for the terminal.

    *sheet*: its name, or None for the product's; *start_at*: the first free label of the sheet, counted from 1. Raise
    UsageError if *form* and *output* do not fit together, or if *start_at* is below 1.
    """

    units: tuple[str, ...]
    form: LabelForm
    output: Path | None = None
    sheet: str | None = None
    start_at: int = 1
    cut_marks: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if (self.output is None) != (self.form is LabelForm.TERMINAL):
            raise UsageError("either -o FILE or --format terminal is required, not both")
        if self.start_at < 1:
            raise UsageError("--start-at counts the labels of a sheet from 1")

    @property
    def file(self) -> Path:
        """The file or folder. Raise UsageError if the form is the terminal's, which has none."""
        if self.output is None:
            raise UsageError("labels on the terminal are not written to a file")
        return self.output


def print_labels(workspace: Workspace, request: LabelRequest, terminal: Terminal = UNATTENDED) -> tuple[Label, ...]:
    """Make the labels and record them in the ledger; return them in order.

    Every code is read back and compared before the file is written. File and record come together: if one fails, the
    other does not happen (see `rmfab.staging`). Raise IntegrityError if a code does not read back,
    InputError for a unit that cannot have a label.
    """
    paper = _paper(workspace, request)
    bound = units_to_label(workspace, request.units, terminal)
    _report(bound, terminal)
    labels = tuple(label_of(workspace.open_identity(one), workspace.product) for one in bound)
    details: dict[str, Any] = {"form": request.form.value}
    if request.form is LabelForm.PDF:
        details["sheet"] = paper.name
    record = workspace.ledger.labelling(
        [one.name for one in bound], station=workspace.station.name, ts=timestamp(workspace.now()), details=details
    )
    if request.form is LabelForm.TERMINAL:
        _judge_few(labels)
        with record:
            pass
    else:
        with product_font(workspace.product.label.font):
            _judge_letters(workspace.product.name)
            _write(workspace, request, labels, paper, terminal, record)
    if request.output is not None:
        _warn_of_git(request.output, request.form, labels, terminal)
        terminal.say(f"{counted(len(labels), 'label')} in {request.output}, all codes read back; they contain the PoP")
    return labels


def _paper(workspace: Workspace, request: LabelRequest) -> Sheet:
    try:
        return sheet(request.sheet or workspace.product.label.sheet)
    except InputError as error:
        place = "--sheet" if request.sheet else "product.toml: [label] sheet"
        raise InputError(error.what, where=place, hint=error.hint, cause=error.cause) from None


def units_to_label(workspace: Workspace, units: Sequence[str], terminal: Terminal) -> list[LedgerIdentity]:
    """Return the identities that *units* name, without void ones, each once, in order. Raise InputError."""
    of_batch, of_serial = partial(_of_batch, workspace, terminal), partial(_of_serial, workspace)
    chosen = named_units(workspace, units, of_batch, of_serial)
    if not chosen:
        raise InputError("no unit here can have a label", where=" ".join(units))
    return chosen


def _of_batch(workspace: Workspace, terminal: Terminal, batch: str) -> list[LedgerIdentity]:
    """Return the units of *batch* that get a label; report how many failed."""
    found = [one for one in workspace.ledger.identities(batch) if one.state.ours and one.state is not State.FAILED]
    named = [one for one in found if not one.unnamed]
    if found and not named:
        raise InputError(
            f"no identity of {batch} has a serial yet: each gets it with its board",
            hint="print its label after `rmfab run`",
            cause="no-serial",
        )
    if len(named) < len(found):
        unnamed = counted(len(found) - len(named), "identity that has", "identities that have")
        terminal.warn(f"skipped {unnamed} no serial yet", "each gets it with its board")
    (counts,) = workspace.ledger.counts(batch)
    if failed := counts.states.get(State.FAILED, 0):
        terminal.warn(f"skipped {counted(failed, 'unit')} of {batch} that failed")
    return named


def _report(chosen: Sequence[LedgerIdentity], terminal: Terminal) -> None:
    """Report how many units are not verified yet, and how many had a label before."""
    early = sum(one.state is not State.VERIFIED for one in chosen)
    if early:
        are_for = "is for a unit that is" if early == 1 else "are for units that are"
        terminal.say(f"{early} of {counted(len(chosen), 'label')} {are_for} not verified yet")
    again = sum(one.standing.labelled_count > 0 for one in chosen)
    if again:
        terminal.say(f"{again} of these {'was' if again == 1 else 'were'} printed before")


def _of_serial(workspace: Workspace, serial: str) -> LedgerIdentity:
    identity = named_unit(workspace, serial)
    if identity.state is State.VOID:
        raise InputError("the identity is void", where=serial, hint="label the board's new identity instead")
    if identity.state is State.HANDED_OVER:
        raise InputError(
            "the identity is handed over: the station that has it prints its label",
            where=identity.serial,
            hint="merge its return to see what became of it",
            cause="handed-over",
        )
    if identity.state is State.QUARANTINED:
        raise InputError(
            "the identity is in quarantine: a board that this ledger does not know may have it, with its label",
            where=serial,
            hint="label it after `rmfab run` has found its board",
            cause="quarantined",
        )
    if identity.state is State.FAILED:
        raise InputError(
            "the unit failed", where=serial, hint="`rmfab run` it again until it passes, or void it", cause="failed"
        )
    return identity


def _judge_letters(product: str) -> None:
    """Raise InputError if the label's font lacks letters of the product's name."""
    missing = lacking(product, Face.PRODUCT)
    if missing:
        raise InputError(
            f"the label's font lacks letters of the product's name: {one_line(missing)}",
            where="product.toml: [label] font",
            hint='set a TrueType font that has them: font = "NotoSansSC.ttf"',
            cause="label-font",
        )


def _judge_few(labels: Sequence[Label]) -> None:
    if len(labels) > _MOST_ON_TERMINAL:
        raise InputError(f"{len(labels)} codes are too many for a terminal", hint="pass -o labels.pdf")


def _write(
    workspace: Workspace,
    request: LabelRequest,
    labels: Sequence[Label],
    paper: Sheet,
    terminal: Terminal,
    record: AbstractContextManager[None],
) -> None:
    """Write the file or the folder of pictures, and *record* it: both or neither."""
    if request.form is LabelForm.PDF:
        with staged_files(request.file, force=request.force) as staged:
            staged.add(request.file, _sheet(workspace, request, labels, paper, terminal))
            staged.publish(record)
        return
    one_file = request.file.suffix.lower() == f".{request.form}"
    if one_file and len(labels) > 1:
        what = f"{len(labels)} labels do not fit in one .{request.form}"
        raise InputError(what, hint=f"pass -o FOLDER --format {request.form}")
    with ExitStack() as stack:
        folder = request.file.parent if one_file else stack.enter_context(folder_of_files(request.file, secret=True))
        names = [request.file.name] if one_file else [f"{label.serial}.{request.form}" for label in labels]
        staged = stack.enter_context(staged_files(folder / names[0], force=request.force))
        for label, name in zip(labels, names, strict=True):
            staged.add(folder / name, _picture(workspace, request, label, paper, terminal))
        staged.publish(record)


def _sheet(
    workspace: Workspace, request: LabelRequest, labels: Sequence[Label], paper: Sheet, terminal: Terminal
) -> bytes:
    dpi = workspace.product.label.dpi
    finished = make_sheet(labels, paper, dpi, request.start_at, cut_marks=request.cut_marks)
    _warn_of(finished.warnings, terminal)
    return finished.pdf


def _picture(workspace: Workspace, request: LabelRequest, label: Label, paper: Sheet, terminal: Terminal) -> bytes:
    dpi = workspace.product.label.dpi
    png = request.form is LabelForm.PNG
    picture = make_png(label, *paper.label, dpi) if png else make_svg(label, *paper.label)
    _warn_of(picture.warnings, terminal)
    return picture.data


def _warn_of_git(output: Path, form: LabelForm, labels: Sequence[Label], terminal: Terminal) -> None:
    if output.is_dir():
        warn_of_git(terminal, "the PoP", output / f"{labels[0].serial}.{form}", shown=output)
    else:
        warn_of_git(terminal, "the PoP", output)


def _warn_of(warnings: Sequence[LabelWarning], terminal: Terminal) -> None:
    for warning in warnings:
        terminal.warn(warning.what, warning.hint)
