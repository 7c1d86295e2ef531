"""`rmfab label`: print labels on sheets, as pictures, or on the terminal; list, copy and preview label styles."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.label_printing import PRINTER_OPTIONS, PrinterOptions, printer_options
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, force_option
from rmfab.errors import printable

if TYPE_CHECKING:
    from rmfab.label.content import Label

FORMS = ("pdf", "png", "svg", "terminal")


@click.command("label", cls=Leaf)
@click.argument("units", metavar="[BATCH|SERIAL]...", nargs=-1)
@click.option("-o", "--output", type=FILE, help="A .pdf sheet, a .png or .svg, or a folder of pictures.")
@click.option("--style", metavar="NAME", help='Label style, or "auto" (default: product.toml, else auto).')
@click.option("--size", metavar="WxH", help="Size of a label in mm, such as 40x30; a PDF has one per page.")
@click.option("--sheet", help="Label sheet, such as L7651; also the size of pictures (default: product.toml).")
@click.option("--start-at", type=int, default=1, show_default=True, help="First free label of the sheet.")
@click.option(
    "--format", "form", type=click.Choice(FORMS), help="Format (default: by the suffix of -o, else terminal)."
)
@click.option("--dpi", type=click.IntRange(150, 1200), help="Dots per inch (default: product.toml).")
@click.option("--cut-marks", is_flag=True, help="Print cut marks at the corners of every label.")
@click.option(
    "--preview", type=FILE, metavar="FILE", help="Write one label as a PNG, of a unit or a sample; records nothing."
)
@click.option("--styles", "listed", is_flag=True, help="List the label styles.")
@click.option("--copy-style", metavar="NAME", help="Copy a style that comes with rmfab, to change it.")
@force_option
@printer_options
def command(**options: Any) -> None:
    """Print labels as PDF sheets, pictures or on the terminal.

    A label is a QR code beside product, serial, service name and PoP, or what its style says (templates/labels). Every
    code on the finished page is read back and compared before anything is written. The ledger records each print; file
    and record come together or not at all.

    \b
    rmfab label lamp-0001 --sheet L7651 -o labels.pdf
    rmfab label LMP-000017 -o LMP-000017.png
    rmfab label LMP-000017                         on the terminal
    rmfab label LMP-000017 --print                 on the station's printer
    rmfab label LMP-000017 --print --reason torn   once more
    rmfab label --style plug-40x30 --preview label.png
    rmfab label lamp-0001 --style plug-40x30 -o labels.pdf
    """
    printing = PrinterOptions(*(options.pop(name) for name in PRINTER_OPTIONS))
    if printing.given:
        printing.run(**options)
    else:
        _on_files(**options)


def _on_files(preview: Path | None, listed: bool, copy_style: str | None, **options: Any) -> None:
    if listed:
        _list_styles()
    elif copy_style is not None:
        _copy_style(copy_style, force=options["force"])
    elif preview is not None:
        _preview(preview, **options)
    else:
        _print(**options)


def _print(output: Path | None, form: str | None, units: tuple[str, ...], **options: Any) -> None:
    from rmfab.operations.print_labels import LabelForm, LabelRequest, print_labels

    if not units:
        raise click.UsageError("Missing argument 'BATCH|SERIAL...'.")
    request = LabelRequest(units, LabelForm(form or _form_of(output)), output, **options)
    if terminal.json_wanted() and output is None:
        raise click.UsageError("JSON never has the code, which contains the PoP; pass -o FILE")
    labels = print_labels(terminal.workspace(), request, terminal.TERMINAL)
    if terminal.json_wanted():
        made = [{"serial": label.serial, "service_name": label.service_name} for label in labels]
        terminal.document({"output": str(output) if output else None, "form": request.form.value, "labels": made})
    elif output is None:
        _show_codes(labels)


def _preview(
    path: Path, units: tuple[str, ...], style: str | None, size: str | None, dpi: int | None, **others: Any
) -> None:
    from rmfab.operations.preview_label import PreviewRequest, preview_label

    if others["output"] or others["form"] or others["sheet"] or len(units) > 1:
        raise click.UsageError("--preview writes one label: no -o, --format or --sheet, and at most one serial")
    serial = units[0] if units else None
    request = PreviewRequest(path, serial, style, size, dpi, force=others["force"])
    seen = preview_label(terminal.workspace(), request, terminal.TERMINAL)
    if terminal.json_wanted():
        raster = seen.made.raster
        terminal.document(
            {
                "output": str(path),
                "serial": serial,
                "style": seen.design.name,
                "width": seen.design.width,
                "height": seen.design.height,
                "dpi": seen.dpi,
                "dots": [raster.width, raster.height],
                "module": seen.module,
                "module_dots": seen.module_dots,
                "warnings": [warning.what for warning in seen.made.warnings],
            }
        )


def _list_styles() -> None:
    from rmfab.operations.label_design import list_styles

    styles = list_styles(terminal.workspace(), terminal.TERMINAL)
    if terminal.json_wanted():
        named = [
            {
                "name": each.style.name,
                "title": each.style.title,
                "width": each.style.width,
                "height": each.style.height,
                "shape": each.style.shape.value,
                "sheet": each.style.sheet,
                "pop": each.style.shows_pop,
                "file": str(each.style.file),
                "own": each.own,
                "default": each.chosen,
            }
            for each in styles
        ]
        terminal.document({"styles": named})
        return
    rows: list[tuple[object, ...]] = [
        (
            f"{each.style.name}{' *' if each.chosen else ''}",
            f"{each.style.width:g} x {each.style.height:g}",
            "workspace" if each.own else "rmfab",
            each.style.title,
        )
        for each in styles
    ]
    terminal.table(("style", "mm", "from", "what"), rows)


def _copy_style(name: str, *, force: bool) -> None:
    from rmfab.operations.label_design import copy_style

    path = copy_style(terminal.workspace(), name, force=force)
    if terminal.json_wanted():
        terminal.document({"file": str(path)})
    else:
        click.echo(str(path))


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
