"""`rmfab merge`: take over what a factory returned."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE


@click.command("merge", cls=Leaf)
@click.argument("file", type=FILE)
@click.option(
    "--void", "dead", metavar="SERIAL", multiple=True, help="Void an identity that the factory has; repeatable."
)
@click.option("--reason", metavar="TEXT", default="", help="Reason for --void; recorded in the ledger.")
def command(file: Path, dead: tuple[str, ...], reason: str) -> None:
    """Merge the return FILE of a factory: its units, boards, results and labels.

    It must follow the return before it, and must not contradict this ledger; if it does, each contradiction is named,
    and nothing is changed. Merging a file twice changes nothing. If a board has an identity here and a different one
    there, and this one is on it, --void retires the one of the factory.

    \b
    rmfab merge lamp-0042.return
    """
    from rmfab.operations.merge_return import merge_return

    document, merged = merge_return(terminal.workspace(), file, terminal.TERMINAL, dead=dead, reason=reason)
    numbers = {"events": merged.events, "units": merged.units, "given_back": merged.given_back, "void": merged.voided}
    numbers |= {"quarantined": merged.quarantined}
    said = {"return": document.told.number, "ledger": document.told.ledger, "station": document.station}
    said |= {"made": document.made, "handovers": {number: dict(one) for number, one in document.states.items()}}
    terminal.show(said | numbers | {"again": merged.again, "kept": merged.kept}, None)
