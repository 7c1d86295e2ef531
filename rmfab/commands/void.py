"""`rmfab void`: retire the identity of a dead board or a lost label."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf


@click.command("void", cls=Leaf)
@click.argument("unit", metavar="SERIAL|MAC")
@click.option("--reason", required=True, help="Reason; recorded in the ledger.")
@click.option("--force", is_flag=True, help="Do not ask; required without a terminal if it is verified or labelled.")
def command(unit: str, reason: str, force: bool) -> None:
    """Retire an identity for good.

    It is never used again, and its board may get a new one. Asks for confirmation if the unit is verified, or is
    labelled and did not fail.

    \b
    rmfab void LMP-000017 --reason "USB connector torn off"
    """
    from rmfab.operations.void import void

    identity = void(terminal.workspace(), unit, reason, terminal.TERMINAL, force=force)
    terminal.show({"serial": identity.serial, "state": identity.state.value}, None)
