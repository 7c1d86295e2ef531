"""`rmfab scan`: tell whose label was scanned."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE


@click.command("scan", cls=Leaf)
@click.argument("image", type=FILE, metavar="[PICTURE]", required=False)
@click.option("--serial", help="The unit that the label must belong to; the ledger records the scan.")
@click.option("--test", is_flag=True, help="Scan the test code instead, which proves the scanner.")
def command(image: Path | None, serial: str | None, test: bool) -> None:
    """Tell which unit a scanned label belongs to; `rmfab label check` is the same.

    Reads the QR code of the label from a scanner at the terminal, which is not shown, from a line on stdin, or from a
    picture. The code contains the PoP, so it is never an argument.

    \b
    rmfab scan
    rmfab scan --serial LMP-000017       the label must be this unit's
    rmfab scan photo.jpg
    rmfab scan --test                    once per shift, and after changes
    """
    from rmfab.operations.scan_label import ScanRequest, scan_label

    if test and (image is not None or serial is not None):
        raise click.UsageError("--test reads the test code only")
    if test:
        _test()
        return
    label = scan_label(terminal.workspace(), ScanRequest(serial, image), terminal.TERMINAL)
    one, standing = label.identity, label.identity.standing
    document = {
        "serial": one.serial,
        "name": one.name,
        "state": one.state.value,
        "batch": one.batch,
        "product": one.product,
        "mac": one.mac,
        "labels": standing.labelled_count,
        "recorded": label.recorded,
    }
    parts = (one.serial, one.state.value, f"batch {one.batch}", one.mac, "scanned" if label.recorded else None)
    terminal.show(document, "  ".join(part for part in parts if part))


def _test() -> None:
    from rmfab.operations.line_labels import prove_scanner
    from rmfab.operations.terminal import scanned_lines

    added = prove_scanner(terminal.workspace(), scanned_lines(terminal.TERMINAL), terminal.TERMINAL, again=True)
    terminal.show({"scanner": "ok", "adds": added or None}, None)
