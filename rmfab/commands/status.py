"""`rmfab status`: how batches stand."""

from __future__ import annotations

import click


@click.command("status")
@click.argument("batch", required=False)
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON document.")
def command(batch: str | None, json_wanted: bool) -> None:
    """Count the units of BATCH, or of every batch, by state."""
    from rmfab.commands import terminal
    from rmfab.report.status import HEAD, as_json, as_row
    from rmfab.workspace import open_workspace

    counts = open_workspace(terminal.folder()).ledger.counts(batch)
    if json_wanted:
        terminal.document([as_json(count) for count in counts])
    elif counts:
        terminal.table(HEAD, [as_row(count) for count in counts])
    else:
        terminal.say("no batch yet; `rmfab generate --count N` makes one")
