"""`rmfab generate`: make a batch of identities."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, allow_files_option


@click.command("generate", cls=Leaf)
@click.option("--count", type=int, help="Number of identities, 1 to 2000000 (default: number of rows of --values).")
@click.option("--batch", help="Name of the batch (default: the product name and a number).")
@click.option("--replace-void", is_flag=True, help="Make as many as are void in --batch and not replaced yet.")
@click.option("--values", type=FILE, help="CSV file with columns serial, node_id or your own keys.")
@click.option(
    "--first-serial",
    type=int,
    metavar="N",
    help="Number of the first serial, surely unused (default: counts on from the last batch).",
)
@allow_files_option
@click.option("--jobs", type=int, help="Number of processes, 1 to 256 (default: one per core).")
def command(**options: Any) -> None:
    """Make a batch of identities, sealed into the ledger.

    Prints the name of the batch. Run the same command again to continue an interrupted batch.
    `rmfab run --batch B` also takes from the batches that --replace-void made for B.

    \b
    rmfab generate --count 250
    rmfab generate --values csv/values.csv --batch lamp-0042
    rmfab generate --batch lamp-0042 --replace-void
    """
    from rmfab.operations.generate import GenerateRequest, generate

    request = GenerateRequest(**options)
    workspace = terminal.workspace()
    batch = terminal.followed("identities", generate(workspace, request, terminal.TERMINAL))
    document = {"batch": batch.name, "size": batch.size, "product": batch.product, "replaces": batch.replaces}
    terminal.show(document, batch.name)
