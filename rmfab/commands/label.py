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
def command(output: Path | None, form: str | None, **options: Any) -> None:
    """Print labels as PDF sheets, pictures or on the terminal.

    A label is a QR code beside product, serial, service name and PoP. Every code on the finished page is read back and
    compared before anything is written. The ledger records each print; file and record come together or not at all.

    \b
    rmfab label lamp-0001 --sheet L7651 -o labels.pdf
    rmfab label LMP-000017 -o LMP-000017.png
    rmfab label LMP-000017                         on the terminal
    """
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
