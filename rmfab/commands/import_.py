"""`rmfab import`: import a batch that was made elsewhere."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE


@click.command("import", cls=Leaf)
@click.argument("source", type=FILE)
@click.option("--batch", required=True, help="Name of the batch.")
@click.option("--flashed", is_flag=True, help="Boards have these identities: only a board that has one can get it.")
@click.option("--skip-refused", is_flag=True, help="Import the units that can be, without those that are refused.")
@click.option(
    "--ca",
    "authority",
    type=FILE,
    metavar="FILE",
    help="CA certificate that must have signed theirs (default: SOURCE's common/ca.crt, if any).",
)
@click.option(
    "--serial-column",
    metavar="NAME",
    help="Column of the serials (default: serial; without it, serials are counted as for new batches).",
)
def command(**options: Any) -> None:
    """Import the batch in the folder SOURCE, which was made elsewhere.

    SOURCE is an output folder of Espressif's rainmaker admin CLI, a pair of mass_mfg CSVs with their images, as
    `rmfab build` writes, or folders of esp-rainmaker-cli claim. Every unit is checked against its image before anything
    is written. Prints the name of the batch. Run the same command again to continue an interrupted import.

    \b
    rmfab import out/2026-01-31/Mfg-000001 --batch lamp-2026-01
    rmfab import out/2025-06-02/Mfg-000001 --batch lamp-2025-06 --flashed
    """
    from rmfab.operations.import_batch import ImportRequest, import_batch

    request = ImportRequest(**options)
    workspace = terminal.workspace()
    done = terminal.followed("units", import_batch(workspace, request, terminal.TERMINAL))
    refused = [error.to_json() for error in done.refused]
    document = {"batch": done.batch.name, "size": done.batch.size, "source": done.kind, "flashed": done.flashed}
    terminal.show(document | {"refused": refused}, done.batch.name)
