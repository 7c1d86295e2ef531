"""`rmfab trace`: a unit's story."""

from __future__ import annotations

import click

from rmfab.errors import InputError


@click.command("trace")
@click.argument("unit", metavar="SERIAL|NODE_ID|MAC")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON document.")
def command(unit: str, json_wanted: bool) -> None:
    """Tell everything that happened to a unit: its identity, its board, every step with its reason and log."""
    from rmfab.commands import speech
    from rmfab.report import trace
    from rmfab.workspace import open_workspace

    ledger = open_workspace(speech.folder()).ledger
    identities, events = ledger.find(unit), ledger.history(unit)
    if not identities and not events:
        raise InputError(f'nothing in the ledger is called "{unit}"', hint="give a serial, a node id or a MAC")
    if json_wanted:
        speech.document(trace.as_json(identities, events))
        return
    for line in trace.as_lines(identities, events):
        speech.data(line)
