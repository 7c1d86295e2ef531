"""`rmfab status`: count the units of each batch by state."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf


@click.command("status", cls=Leaf)
@click.argument("batch", required=False)
def command(batch: str | None) -> None:
    """Count the units of BATCH, or of each batch, by state; name the stations that have leases."""
    from rmfab.ledger.events import timestamp
    from rmfab.operations.closed_slots import closed_slots
    from rmfab.operations.read_ledger import count_units, leases
    from rmfab.report.status import as_json, as_table

    workspace = terminal.workspace()
    for note in closed_slots(workspace):
        terminal.say(note)
    counts = count_units(workspace, batch, terminal.TERMINAL)
    out = [one for one in leases(workspace) if batch in (None, one.batch)]
    if terminal.json_wanted():
        terminal.document([as_json(count, out) for count in counts])
    elif counts:
        terminal.table(*as_table(counts, timestamp(workspace.now())))
        for one in out:
            terminal.say(str(one))
    else:
        terminal.say("no batches yet; `rmfab generate --count N` makes one")
