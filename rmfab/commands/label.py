"""`rmfab label`: labels on sheets, as pictures, on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.errors import InputError

if TYPE_CHECKING:
    from rmfab.label.content import Label
    from rmfab.label.sheets import Sheet
    from rmfab.label.warnings import LabelWarning
    from rmfab.ledger.records import LedgerIdentity
    from rmfab.workspace import Workspace

FORMATS = ("pdf", "png", "svg", "terminal")
_MOST_ON_TERMINAL = 8


@click.command("label")
@click.argument("units", metavar="BATCH|SERIAL...", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A .pdf sheet, a .png or .svg, or a folder.")
@click.option("--sheet", "sheet_name", help="The sheet, or the size of a picture (default: product.toml).")
@click.option("--start-at", type=click.IntRange(1), default=1, show_default=True, help="First free label of the sheet.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by the suffix of -o, else terminal.")
@click.option("--cut-marks", is_flag=True, help="Mark the corners of every label.")
@click.option("--force", is_flag=True, help="Replace a file of other content.")
def command(
    units: tuple[str, ...],
    output: Path | None,
    sheet_name: str | None,
    start_at: int,
    form: str | None,
    cut_marks: bool,
    force: bool,
) -> None:
    """Print labels: a QR code beside product, serial, service name and PoP.

    Every code on the finished page is read back and compared before anything is written. Printing is an event in the
    ledger, printing again another one.

    \b
    rmfab label lamp-0001 --sheet L7651 -o labels.pdf
    rmfab label LMP-000017 -o LMP-000017.png
    rmfab label LMP-000017                         on the terminal
    """
    from rmfab.commands import terminal
    from rmfab.label.sheets import sheet
    from rmfab.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    try:
        paper = sheet(sheet_name or workspace.product.label.sheet)
    except InputError as error:
        place = "--sheet" if sheet_name else "product.toml: [label] sheet"
        raise InputError(error.what, where=place, hint=error.hint, cause=error.cause) from None
    form = form or _form_of(output)
    if (output is None) != (form == "terminal"):
        raise click.UsageError("where to? -o FILE, or --format terminal without -o")
    print_labels(workspace, _named(workspace, units), form, paper, output, start_at, cut_marks=cut_marks, force=force)


def _form_of(output: Path | None) -> str:
    if output is None:
        return "terminal"
    suffix = output.suffix.lower().removeprefix(".")
    if suffix in FORMATS[:3]:
        return suffix
    raise click.UsageError(f'"{output}" is no .pdf, .png or .svg; for a folder of pictures say --format png or svg')


def _named(workspace: Workspace, units: Sequence[str]) -> list[LedgerIdentity]:
    """The live identities that *units* name, each once, in their order. Raises InputError."""
    from rmfab.ledger.states import State

    names = {batch.name for batch in workspace.ledger.batches()}
    chosen: dict[str, LedgerIdentity] = {}
    for unit in units:
        if unit in names:
            found = [one for one in workspace.ledger.identities(unit) if one.state not in (State.VOID, State.FAILED)]
            _tell_states(workspace, unit, found)
        else:
            identity = workspace.ledger.identity_by_serial(unit)
            if identity is None:
                raise InputError(f'"{unit}" is neither a batch nor a serial', hint="`rmfab status` lists the batches")
            if identity.state is State.VOID:
                raise InputError("this identity is void", where=unit, hint="a void unit gets no label")
            if identity.state is State.FAILED:
                raise InputError(
                    "this unit failed",
                    where=unit,
                    hint="`rmfab run` it again until it passes, or void it",
                    cause="failed",
                )
            found = [identity]
        chosen.update((one.serial, one) for one in found)
    if not chosen:
        raise InputError("no live identity is named", where=" ".join(units))
    return list(chosen.values())


def _tell_states(workspace: Workspace, batch: str, found: list[LedgerIdentity]) -> None:
    """Says which units of *batch* get no label, and how many get one before they were proven."""
    from rmfab.commands import terminal
    from rmfab.ledger.states import State

    (counts,) = workspace.ledger.counts(batch)
    if failed := counts.states.get(State.FAILED, 0):
        terminal.warn(f"{terminal.counted(failed, 'unit')} of {batch} failed and get no label")
    early = sum(one.state is not State.VERIFIED for one in found)
    if early:
        terminal.say(f"{early} of these {len(found)} labels are for units that are not verified yet")


def print_labels(
    workspace: Workspace,
    bound: list[LedgerIdentity],
    form: str,
    paper: Sheet,
    output: Path | None,
    start_at: int = 1,
    *,
    cut_marks: bool = False,
    force: bool = False,
) -> None:
    """Makes the labels of *bound* and notes them in the ledger. Raises IntegrityError where one does not read back."""
    from rmfab.commands import terminal
    from rmfab.label.content import label_of
    from rmfab.ledger.events import timestamp
    from rmfab.workspace import now

    labels = [label_of(workspace.open_identity(one), workspace.product) for one in bound]
    if output is None:
        _on_terminal(labels)
    elif form == "pdf":
        _as_sheet(labels, paper, workspace.product.label.dpi, start_at, output, cut_marks=cut_marks, force=force)
    else:
        _as_pictures(labels, paper, workspace.product.label.dpi, form, output, force=force)
    details: dict[str, Any] = {"form": form} | ({"sheet": paper.name} if form == "pdf" else {})
    serials = [one.serial for one in bound]
    workspace.ledger.labelled(serials, station=workspace.station.name, ts=timestamp(now()), details=details)
    if output is not None:
        terminal.say(f"{terminal.counted(len(labels), 'label')} in {output}, every code read back; they show the PoP")


def _as_sheet(
    labels: list[Label], paper: Sheet, dpi: int, start_at: int, output: Path, *, cut_marks: bool, force: bool
) -> None:
    from rmfab.files import write_file
    from rmfab.label.make_sheet import make_sheet

    finished = make_sheet(labels, paper, dpi, start_at, cut_marks=cut_marks)
    _warn_of(finished.warnings)
    write_file(output, finished.pdf, secret=True, force=force)


def _as_pictures(labels: list[Label], paper: Sheet, dpi: int, form: str, output: Path, *, force: bool) -> None:
    from rmfab.files import make_folder, write_file
    from rmfab.label.picture import make_png, make_svg

    one_file = output.suffix.lower() == f".{form}"
    if one_file and len(labels) > 1:
        raise InputError(f"{len(labels)} labels do not go into one .{form}", hint=f"-o FOLDER --format {form}")
    if not one_file:
        make_folder(output, secret=True)
    for label in labels:
        picture = make_png(label, *paper.label, dpi) if form == "png" else make_svg(label, *paper.label)
        _warn_of(picture.warnings)
        target = output if one_file else output / f"{label.serial}.{form}"
        write_file(target, picture.data, secret=True, force=force)


def _on_terminal(labels: list[Label]) -> None:
    from rmfab.label.symbol import encode
    from rmfab.label.terminal_code import terminal_code

    if len(labels) > _MOST_ON_TERMINAL:
        raise InputError(f"{len(labels)} codes are too many for a terminal", hint="-o labels.pdf")
    for label in labels:
        pop = f"   PoP {label.pop.reveal()}" if label.pop.reveal() else ""
        click.echo(f"{label.serial}   {label.service_name}{pop}")
        click.echo(terminal_code(encode(label.payload), colour=sys.stdout.isatty()))


def _warn_of(notices: Sequence[LabelWarning]) -> None:
    from rmfab.commands import terminal

    for notice in notices:
        terminal.warn(notice.what)
        if notice.hint:
            click.echo(f"rmfab: hint: {notice.hint}", err=True)
