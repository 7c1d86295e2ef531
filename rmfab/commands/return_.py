"""`rmfab return`: return to the owner what became of the identities that were received."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, force_option


@click.command("return", cls=Leaf)
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The file to write.")
@click.option("--unused", is_flag=True, help="Give unused identities back; they cannot be used here any more.")
@click.option("--again", type=click.IntRange(1), metavar="N", help="Write return N again, if it was lost on the way.")
@force_option
def command(output: Path, unused: bool, again: int | None, force: bool) -> None:
    """Write what happened since the last return, for the owner of the identities.

    The file contains every event of this ledger, signed by this station: units, boards, results and labels, and no
    secret. The owner merges it with `rmfab merge`.

    \b
    rmfab return -o lamp-0042.return
    """
    from rmfab.operations.give_back import give_back

    made = give_back(terminal.workspace(), output, terminal.TERMINAL, unused=unused, again=again, force=force)
    events = sum(span.after.seq - span.before.seq for span in made.spans)
    states = {number: dict(counts) for number, counts in made.states.items()}
    terminal.show({"return": made.number, "events": events, "unused": made.unused, "handovers": states}, None)
