"""`rmfab label`: print labels on sheets, as pictures, or on the terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, force_option
from rmfab.errors import printable

if TYPE_CHECKING:
    from rmfab.label.content import Label

FORMS = ("pdf", "png", "svg", "terminal")


@click.command("label", cls=Leaf)
@click.argument("units", metavar="BATCH|SERIAL...", nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, help="A .pdf sheet, a .png or .svg, or a folder of pictures.")
@click.option("--sheet", help="Label sheet, such as L7651; also the size of pictures (default: product.toml).")
@click.option("--start-at", type=int, default=1, show_default=True, help="First free label of the sheet.")
@click.option(
    "--format", "form", type=click.Choice(FORMS), help="Format (default: by the suffix of -o, else terminal)."
)
@click.option("--cut-marks", is_flag=True, help="Print cut marks at the corners of every label.")
@force_option
@click.option("--print", "prints", is_flag=True, help="Print on the station's printer, one label after the other.")
@click.option("--reason", help="With --print: why units get one more label; recorded in the ledger.")
@click.option("--copies", type=int, default=1, show_default=True, help="With --print: labels per unit.")
@click.option("--came-out", type=click.Choice(("yes", "no")), help="Settle a label in doubt: is there a whole one?")
def command(output: Path | None, form: str | None, **options: Any) -> None:
    """Print labels as PDF sheets, pictures or on the terminal.

    A label is a QR code beside product, serial, service name and PoP. Every code on the finished page is read back and
    compared before anything is written. The ledger records each print; file and record come together or not at all.

    \b
    rmfab label lamp-0001 --sheet L7651 -o labels.pdf
    rmfab label LMP-000017 -o LMP-000017.png
    rmfab label LMP-000017                         on the terminal
    rmfab label LMP-000017 --print                 on the station's printer
    rmfab label LMP-000017 --print --reason torn   once more
    """
    prints, came_out = options.pop("prints"), options.pop("came_out")
    reason, copies = options.pop("reason"), options.pop("copies")
    if prints or came_out or reason is not None or copies != 1:
        _alone("--print and --came-out", prints != (came_out is not None), output, form, **options)
        _on_printer(options["units"], came_out, reason, copies)
        return
    from rmfab.operations.print_labels import LabelForm, LabelRequest, print_labels

    request = LabelRequest(form=LabelForm(form or _form_of(output)), output=output, **options)
    if terminal.json_wanted() and output is None:
        raise click.UsageError("JSON never has the code, which contains the PoP; pass -o FILE")
    labels = print_labels(terminal.workspace(), request, terminal.TERMINAL)
    if terminal.json_wanted():
        units = [{"serial": label.serial, "service_name": label.service_name} for label in labels]
        terminal.document({"output": str(output) if output else None, "form": request.form.value, "labels": units})
    elif output is None:
        _show_codes(labels)


def _alone(names: str, one: bool, output: Path | None, form: str | None, **options: Any) -> None:
    """Raise UsageError unless *one* of the options *names* was given, without those of files."""
    files = (output, form, options["sheet"], options["cut_marks"] or None, options["force"] or None)
    if not one or any(value is not None for value in files) or options["start_at"] != 1:
        raise click.UsageError(f"{names} exclude each other and the options of files, which --reason is not for")


def _on_printer(units: tuple[str, ...], came_out: str | None, reason: str | None, copies: int) -> None:
    """Print on the station's printer, or settle labels in doubt."""
    from rmfab.operations.print_on_printer import PrintRequest, print_on_printer, settle_labels

    workspace = terminal.workspace()
    if came_out is not None:
        if reason is not None or copies != 1:
            raise click.UsageError("--reason and --copies need --print")
        settled = settle_labels(workspace, units, came_out == "yes", terminal.TERMINAL)
        labels = [{"serial": one.serial, "labels": one.standing.labelled_count} for one in settled]
        terminal.show({"printer": None, "labels": labels}, None)
        return
    printed = []
    for label in print_on_printer(workspace, PrintRequest(units, copies, reason), terminal.TERMINAL):
        printed.append({"serial": label.serial, "label": label.word.value, "copies": label.copies})
        if not terminal.json_wanted():
            terminal.data(f"{label.serial}  {label.word.value}")
    if terminal.json_wanted():
        config = workspace.station.printer
        terminal.document({"printer": config.address.text if config else None, "labels": printed})


def _form_of(output: Path | None) -> str:
    if output is None:
        return "terminal"
    suffix = output.suffix.lower().removeprefix(".")
    if suffix in FORMS[:3]:
        return suffix
    raise click.UsageError(f'"{output}" is not a .pdf, .png or .svg; for a folder, pass --format png or --format svg')


def _show_codes(labels: tuple[Label, ...]) -> None:
    from rmfab.label.symbol import encode
    from rmfab.label.terminal_code import titled_code

    columns = shutil.get_terminal_size().columns
    for label in labels:
        pop = (f"PoP {label.pop.reveal()}",) if label.pop.reveal() else ()
        title = [printable(text) for text in (label.serial, label.service_name, *pop)]
        click.echo(titled_code(encode(label.payload), title, columns, colour=sys.stdout.isatty()), nl=False)
