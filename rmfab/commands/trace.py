"""`rmfab trace`: show the history of a unit, or the units that got a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf

if TYPE_CHECKING:
    from rmfab.operations.trace import Recipients, UnitTrace


@click.command("trace", cls=Leaf)
@click.argument("unit", metavar="[SERIAL|NODE_ID|MAC]", required=False)
@click.option("--release", metavar="FILE|DIGEST", help="List the units that were flashed with this release.")
@click.option("--signer", metavar="KEY", help="List the units with a release signed by this key (name, id or .pub).")
def command(unit: str | None, release: str | None, signer: str | None) -> None:
    """Show a unit's history, or the units that got a release.

    The history contains the identity, the board, and every step with its reason and log. The list of units shows which
    ones still have the release, and which have a newer one since.

    \b
    rmfab trace LMP-000017
    rmfab trace --release lamp-1.4.0.rmfab
    rmfab trace --signer ci            units with a release signed by a leaked key
    """
    from rmfab.operations.trace import trace_release, trace_signer, trace_unit

    if sum(one is not None for one in (unit, release, signer)) != 1:
        raise click.UsageError("exactly one of a unit, --release and --signer is required")
    workspace = terminal.workspace()
    if unit is not None:
        _show_unit(trace_unit(workspace, unit, terminal.TERMINAL))
    elif release is not None:
        _show_recipients("digest", trace_release(workspace, release, terminal.TERMINAL))
    elif signer is not None:
        _show_recipients("signer", trace_signer(workspace, signer, terminal.TERMINAL))


def _show_unit(found: UnitTrace) -> None:
    from rmfab.report import trace

    if terminal.json_wanted():
        terminal.document(trace.as_json(found.identities, found.events))
        return
    for line in trace.as_lines(found.identities, found.events):
        terminal.data(line)


def _show_recipients(what: str, found: Recipients) -> None:
    from rmfab.operations.terminal import counted
    from rmfab.report import flashed_units

    if terminal.json_wanted():
        terminal.document({what: found.digest, "units": [flashed_units.as_json(one) for one in found.units]})
        return
    rows = [flashed_units.as_row(one) for one in found.units]
    if rows:
        terminal.table(flashed_units.HEAD, rows)
    terminal.say(f"{counted(len(rows), 'unit')} in this ledger")
