"""`rmfab void`: a dead board or lost label."""

from __future__ import annotations

import click


@click.command("void")
@click.argument("unit", metavar="SERIAL|MAC")
@click.option("--reason", required=True, help="Why; it stays in the ledger.")
def command(unit: str, reason: str) -> None:
    """Retire an identity for ever: it is never given again, and its board may get a new one.

    \b
    rmfab void LMP-000017 --reason "USB connector torn off"
    """
    from rmfab.commands import terminal
    from rmfab.ledger.events import timestamp
    from rmfab.workspace import now, open_workspace

    workspace = open_workspace(terminal.folder())
    if not reason.strip():
        raise click.UsageError("--reason needs a text")
    void = workspace.ledger.void(unit, reason=reason, station=workspace.station.name, ts=timestamp(now()))
    terminal.say(f"{void.serial} is void")
