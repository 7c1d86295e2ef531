"""`rmfab printer`: list printers, ask one, print labels that try it, and serve a virtual one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE, ParsedType
from rmfab.commands.serving import until_stopped
from rmfab.label.printers.media import Media
from rmfab.signals import stopping
from rmfab.virtual.printers.faults import PrinterTrouble, PrinterTroubleCall
from rmfab.virtual.printers.spec import PrinterKind

if TYPE_CHECKING:
    from rmfab.operations.use_printer import PrinterReport, TrialLabel
    from rmfab.virtual.printers.serving import PrinterHandle

_SILENT = "no: its labels count as sent, or it speaks a different language"
_FAULTS = "\n".join(f"  {trouble.value:<16}{trouble.summary}" for trouble in PrinterTrouble)


_MEDIA = ParsedType("size", Media.parse)
_address_option = click.option(
    "--printer", "address", metavar="ADDRESS", help="Address of the printer (default: [printer] in station.toml)."
)
_size_option = click.option(
    "--size", type=_MEDIA, metavar="WxH",
    help="Size of the labels in mm (default: as the printer or station.toml says).",
)  # fmt: skip


@click.group("printer", cls=Branch)
def command() -> None:
    """List, ask and try label printers, or serve a virtual one.

    \b
    rmfab printer list
    rmfab printer status
    rmfab printer test --printer zpl+tcp://10.0.0.9:9100
    """


@command.command("list")
def list_() -> None:
    """List the printer of station.toml, then those that this host can see.

    The others are USB printers and the queues of CUPS, each with the address for station.toml. Where LANGUAGE stands,
    the printer does not say which it speaks: zpl, ql or tspl. Nothing is sent to a printer.
    """
    from rmfab.operations.use_printer import list_printers

    config, found = list_printers(terminal.folder(), terminal.TERMINAL)
    if terminal.json_wanted():
        rows = [{"address": one.address, "model": one.model, "accessible": one.accessible} for one in found]
        terminal.document({"configured": None if config is None else config.address.text, "found": rows})
        return
    if config is not None:
        terminal.data(f"{config.address}  (station.toml)")
    for one in found:
        if config is None or one.address != config.address.text:
            notes = [one.model or "", "no permission: see the group lp" if one.accessible is False else ""]
            terminal.data("  ".join(filter(None, (one.address, *notes))))
    if config is None and not found:
        terminal.say("no printer in station.toml, at USB or in CUPS; one on the network needs its address in [printer]")


@command.command("status")
@_address_option
def status(address: str | None) -> None:
    """Ask a printer what it is and whether it can print.

    Exits with code 4 if it cannot be reached, or cannot print. Each fault is shown with what to do.
    """
    from rmfab.label.printers.faults import fault_of
    from rmfab.operations.use_printer import ask_printer, configured_printer

    report = ask_printer(configured_printer(terminal.folder(), address))
    terminal.show(report.to_json(), _told(report))
    if report.status.faults:
        raise fault_of(report.status.faults[0], report.config.address.text)


def _told(report: PrinterReport) -> str:
    status, config = report.status, report.config
    source = "" if status.dpi else " (station.toml)" if config.dpi else " (not reported: the usual one)"
    labels = str(status.media) if status.media else f"{config.media} (station.toml)" if config.media else "not reported"
    rows = [
        ("printer", config.address.text),
        ("model", status.model or "not reported"),
        ("resolution", f"{report.dpi} dpi{source}"),
        ("labels", labels),
        ("answers", "yes" if status.answers else _SILENT),
        ("state", "not ready" if status.faults else "ready" if status.answers else "unknown"),
    ]
    for cause in status.faults:
        rows += [("fault", cause.meaning), ("", cause.remedy)]
    for cause in status.stale:
        rows += [("last job", cause.meaning), ("", "Whether that is over shows at the next job.")]
    return "\n".join(f"{name:<12}{text}".rstrip() for name, text in rows)


@command.command("test")
@_address_option
@_size_option
def test(address: str | None, size: Media | None) -> None:
    """Print a label that shows size, offset, resolution and darkness.

    The frame must be whole on all sides, a ruler must agree with the ticks (mm), and a phone should read the codes: the
    number below each is the dots per module. The label shows nothing of any unit.
    """
    from rmfab.operations.use_printer import TrialLabel

    _print(TrialLabel.RULER, address, size)


@command.command("test-code")
@_address_option
@_size_option
def test_code(address: str | None, size: Media | None) -> None:
    """Print the test code for scanners.

    It contains every character that the code of a label may have. Scan it at the start of a shift: a scanner with the
    wrong keyboard layout, case or prefix shows here, not on a unit.
    """
    from rmfab.operations.use_printer import TrialLabel

    _print(TrialLabel.TEST_CODE, address, size)


def _print(trial: TrialLabel, address: str | None, size: Media | None) -> None:
    from rmfab.operations.use_printer import configured_printer, print_trial

    done = print_trial(configured_printer(terminal.folder(), address), trial, size, terminal.TERMINAL)
    document = {
        "address": done.address,
        "delivery": done.delivery.value,
        "dots": [done.width, done.height],
        "dpi": done.dpi,
    }
    terminal.show(document, f"{done.delivery.value}: {done.width} x {done.height} dots, {done.dpi} dpi, {done.address}")


@command.command("serve", epilog=f"\b\nFaults; NAME=N comes after N more labels:\n{_FAULTS}")
@click.option("--language", type=click.Choice([kind.value for kind in PrinterKind]), default="zpl", show_default=True,
              help="What the printer speaks.")  # fmt: skip
@click.option("--dpi", type=click.Choice(["203", "300", "600"]), help="Resolution (default: 203, for QL 300).")
@click.option("--media", type=_MEDIA, metavar="WxH", help="Labels in mm (default: 40x30, for QL 62x29).")
@click.option("--dir", "folder", type=FILE, default="printer", show_default=True, metavar="DIR",
              help="Folder in which each label comes out as a PNG.")  # fmt: skip
@click.option("--tcp-port", type=click.IntRange(0, 65535), default=9100, show_default=True, metavar="PORT",
              help="TCP port; 0 selects a free one.")  # fmt: skip
@click.option("--bind", "bound", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to bind; 0.0.0.0 for the network.")  # fmt: skip
@click.option("--device", type=FILE, metavar="FILE", help="Serve a device file instead of a TCP port (Linux).")
@click.option("--pace", type=click.FloatRange(0, 100), default=1.0, show_default=True, metavar="FACTOR",
              help="Time per label: 1 as a real printer, 0 at once.")  # fmt: skip
@click.option("--fault", "faults", type=ParsedType("name", PrinterTroubleCall.parse), multiple=True, metavar="NAME",
              help="Simulate a fault; repeatable.")  # fmt: skip
def serve(language: str, dpi: str | None, bound: str, **options: Any) -> None:
    """Serve a virtual label printer.

    It speaks ZPL, Brother's raster (ql) or TSPL, has labels, a head and a ribbon, answers what a real one answers, and
    refuses what a real one refuses. Each label comes out as a PNG. Prints its address and its control address, then
    each label; runs until interrupted.

    \b
    rmfab printer serve --dpi 300 --media 25x25
    rmfab printer serve --language ql --fault paper-out=3
    """
    from rmfab.operations.serve_printer import VirtualPrinterRequest, serve_virtual_printer

    request = VirtualPrinterRequest(PrinterKind(language), address=bound, dpi=int(dpi) if dpi else None, **options)
    with (
        until_stopped("printer") as stopped,
        serve_virtual_printer(request, terminal.TERMINAL) as served,
        stopping(stopped.set),
    ):
        _announce(served)
        stopped.wait()


def _announce(served: PrinterHandle) -> None:
    """Print where the printer is, and from then on each label; that comes from a thread without Click's context."""
    as_json = terminal.json_wanted()
    if as_json:
        place = {"address": served.address, "control": served.control_address, "folder": str(served.folder)}
        terminal.json_line({"event": "printer", **place})
    else:
        terminal.data(f"{served.address}  control {served.control_address}")

    def came_out(label: Path) -> None:
        if as_json:
            terminal.json_line({"event": "label", "file": str(label)})
        else:
            terminal.data(f"label {label}")

    served.tell(came_out)
