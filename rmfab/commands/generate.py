"""`rmfab generate`: a batch of identities."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE


@click.command("generate", cls=Leaf)
@click.option("--count", type=click.IntRange(1, 2_000_000), help="How many (default with --values: its rows).")
@click.option("--batch", help="The batch's name (default: the product's name and a number).")
@click.option("--values", type=FILE, help="A CSV with serial, node_id or extra columns.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes (default: one a core).")
def command(**options: Any) -> None:
    """Make identities, sealed into the ledger, and print the batch's name.

    A batch that was cut short is continued by the same command.

    \b
    rmfab generate --count 250
    rmfab generate --values csv/values.csv --batch lamp-0042
    """
    from rmfab.operations.generate import GenerateRequest, generate
    from rmfab.workspace.workspace import open_workspace

    workspace, request = open_workspace(terminal.folder()), GenerateRequest(**options)
    batch = terminal.followed("identities", generate(workspace, request, terminal.TERMINAL))
    terminal.show({"batch": batch.name, "size": batch.size, "product": batch.product}, batch.name)
