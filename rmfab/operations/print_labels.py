"""Labels of units: on a sheet, as pictures, or as codes for a terminal. Each is recorded in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import partial
from pathlib import Path
from typing import Any

from rmfab.errors import InputError, UsageError, one_line
from rmfab.label.content import NO_FACTS, Label, Placeholder, label_of
from rmfab.label.design import LabelDesign
from rmfab.label.make_sheet import FinishedSheet, make_sheet
from rmfab.label.picture import Picture, make_png, make_svg
from rmfab.label.sheets import Sheet, sheet, single_label_sheet
from rmfab.label.style import LabelStyle
from rmfab.label.typeface import Face, lacking, product_font
from rmfab.label.unit_facts import facts_of
from rmfab.label.warnings import LabelWarning
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.label_design import label_design
from rmfab.operations.named_unit import named_unit, named_units
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.product.product import Product
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

    *sheet*: its name, or None for the product's; *start_at*: the first free label of the sheet, counted from 1.
    *style*: a label style, "auto" for none, None for that of product.toml; *size* in mm, such as "40x30": without a
    sheet, a PDF has one label per page. Raise UsageError if *form* and *output* do not fit together, or if *start_at*
    is below 1.
    """

    units: tuple[str, ...]
    form: LabelForm
    output: Path | None = None
    sheet: str | None = None
    start_at: int = 1
    cut_marks: bool = False
    force: bool = False
    style: str | None = None
    size: str | None = None
    dpi: int | None = None

    def __post_init__(self) -> None:
        if self.sheet and self.size:
            raise UsageError("--sheet and --size exclude each other: a sheet has the size of its labels")
        if self.form is LabelForm.TERMINAL and (self.style or self.size):
            raise UsageError("a terminal shows the code only: pass -o FILE for a label in a style or size")
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
    plan = _plan(workspace, request)
    bound = units_to_label(workspace, request.units, terminal)
    _report(bound, terminal)
    labels = _labels(workspace, bound, plan.design)
    record = _record(workspace, request, plan, bound)
    if request.form is LabelForm.TERMINAL:
        _judge_few(labels)
        with record:
            pass
    else:
        if not isinstance(plan.design, LabelStyle):
            _judge_letters(workspace.product)
        _write(request, labels, plan, terminal, record)
    if request.output is not None:
        _report_file(request.output, request.form, labels, plan.design, terminal)
    return labels


def labels_of(
    workspace: Workspace, units: Sequence[str], design: LabelDesign, terminal: Terminal = UNATTENDED
) -> tuple[Label, ...]:
    """Return the contents of the labels of *units* in *design*. Raise InputError as `print_labels`."""
    return _labels(workspace, units_to_label(workspace, units, terminal), design)


def _labels(workspace: Workspace, bound: Sequence[LedgerIdentity], design: LabelDesign) -> tuple[Label, ...]:
    """Return the contents of the labels. The history of a unit is read only if its release is printed."""
    asked = design.placeholders if isinstance(design, LabelStyle) else frozenset()
    product = workspace.product
    labels = []
    for one in bound:
        history = workspace.ledger.history(one.name) if Placeholder.RELEASE in asked else ()
        facts = facts_of(one, history) if asked else NO_FACTS
        labels.append(label_of(workspace.open_identity(one), product, facts))
    return tuple(labels)


@dataclass(frozen=True)
class _Plan:
    """How labels are made: their *design*, at *dpi*, a PDF on *paper*."""

    design: LabelDesign
    paper: Sheet
    dpi: int


def _plan(workspace: Workspace, request: LabelRequest) -> _Plan:
    """Return how the labels of *request* are made. A style without a sheet gets a page for each label."""
    usual = _paper(workspace, request.sheet)
    design = label_design(workspace, request.style, request.size, usual.label)
    styled = isinstance(design, LabelStyle)
    if styled and request.sheet and request.form is not LabelForm.PDF:
        raise UsageError("--sheet is for PDF: a picture has the size of its style", hint="--size WxH changes the size")
    if isinstance(design, LabelStyle) and design.sheet and not request.sheet:
        paper = _paper(workspace, design.sheet)
    elif request.size or (styled and not request.sheet):
        paper = single_label_sheet(design.width, design.height)
    else:
        paper = usual
    return _Plan(design, paper, request.dpi or workspace.product.label.dpi)


def _record(
    workspace: Workspace, request: LabelRequest, plan: _Plan, bound: Sequence[LedgerIdentity]
) -> AbstractContextManager[None]:
    """Return the context that records the labels. One without the PoP, as for a carton, is not the unit's label."""
    if not plan.design.shows_pop:
        return nullcontext()
    details: dict[str, Any] = {"form": request.form.value}
    if request.form is LabelForm.PDF:
        details["sheet"] = plan.paper.name
    if isinstance(plan.design, LabelStyle):
        details["style"] = plan.design.name
    return workspace.ledger.labelling(
        [one.name for one in bound], station=workspace.station.name, ts=timestamp(workspace.now()), details=details
    )


def _report_file(
    output: Path, form: LabelForm, labels: Sequence[Label], design: LabelDesign, terminal: Terminal
) -> None:
    made = f"{counted(len(labels), 'label')} in {output}, all codes read back"
    if design.shows_pop:
        _warn_of_git(output, form, labels, terminal)
        terminal.say(f"{made}; they contain the PoP")
    else:
        terminal.say(f"{made}; they have no PoP, and do not count as labels of the units")


def _paper(workspace: Workspace, named: str | None) -> Sheet:
    try:
        return sheet(named or workspace.product.label.sheet)
    except InputError as error:
        place = "--sheet" if named else "product.toml: [label] sheet"
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
    refuse_label(identity)
    return identity


def refuse_label(identity: LedgerIdentity) -> None:
    """Raise InputError if *identity* cannot have a label."""
    serial = identity.serial
    if identity.state is State.VOID:
        raise InputError("the identity is void", where=serial, hint="label the board's new identity instead")
    if identity.state is State.HANDED_OVER:
        raise InputError(
            "the identity is handed over: the station that has it prints its label",
            where=serial,
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


def _judge_letters(product: Product) -> None:
    """Raise InputError if the label's font lacks letters of the product's name."""
    with product_font(product.label.font):
        missing = lacking(product.name, Face.PRODUCT)
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
    request: LabelRequest,
    labels: Sequence[Label],
    plan: _Plan,
    terminal: Terminal,
    record: AbstractContextManager[None],
) -> None:
    """Write the file or the folder of pictures, and *record* it: both or neither."""
    if request.form is LabelForm.PDF:
        with staged_files(request.file, force=request.force) as staged:
            finished = _sheet(request, labels, plan)
            _warn_of(finished.warnings, terminal)
            staged.add(request.file, finished.pdf)
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
            picture = _picture(request.form, label, plan)
            _warn_of(picture.warnings, terminal)
            staged.add(folder / name, picture.data)
        staged.publish(record)


def _sheet(request: LabelRequest, labels: Sequence[Label], plan: _Plan) -> FinishedSheet:
    start, marks = request.start_at, request.cut_marks
    return make_sheet(labels, plan.paper, plan.dpi, start, design=plan.design, cut_marks=marks)


def _picture(form: LabelForm, label: Label, plan: _Plan) -> Picture:
    return make_png(label, plan.design, plan.dpi) if form is LabelForm.PNG else make_svg(label, plan.design)


def _warn_of_git(output: Path, form: LabelForm, labels: Sequence[Label], terminal: Terminal) -> None:
    if output.is_dir():
        warn_of_git(terminal, "the PoP", output / f"{labels[0].serial}.{form}", shown=output)
    else:
        warn_of_git(terminal, "the PoP", output)


def _warn_of(warnings: Sequence[LabelWarning], terminal: Terminal) -> None:
    for warning in warnings:
        terminal.warn(warning.what, warning.hint)
