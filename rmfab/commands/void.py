"""`rmfab void`: retire the identities of dead boards or lost labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, operator_option

if TYPE_CHECKING:
    from rmfab.operations.void import UnitList


@click.command("void", cls=Leaf)
@click.argument("units", metavar="[SERIAL|MAC]...", nargs=-1)
@click.option("--file", type=FILE, metavar="FILE", help="File with one serial or MAC per line; - reads stdin.")
@click.option("--reason", required=True, help="Reason; recorded in the ledger.")
@operator_option
@click.option("--yes", is_flag=True, help="Do not ask. Required without a terminal if a unit is more than generated.")
def command(units: tuple[str, ...], file: Path | None, reason: str, yes: bool) -> None:
    """Retire identities for good.

    They are never used again, and their boards may get new ones. Shows state, board and label of each unit, and asks
    for confirmation. Either all units are voided or none. `rmfab generate --replace-void` makes new identities for a
    batch.

    \b
    rmfab void LMP-000017 --reason "USB connector torn off"
    rmfab void --file scrapped.txt --reason "water in the store" --yes
    """
    from rmfab.operations.void import VoidRequest, void

    request = VoidRequest(units, reason, None if file is None else _listed(file), yes)
    voided = void(terminal.workspace(), request, terminal.TERMINAL)
    document = [
        {
            "serial": one.identity.serial,
            "state": one.identity.state.value,
            "before": one.before.state.value,
            "mac": one.before.mac,
            "labels": one.before.standing.labelled_count,
        }
        for one in voided
    ]
    terminal.show(document, None)


def _listed(file: Path) -> UnitList:
    """Return the list in *file*, or of stdin."""
    from rmfab.files import read_input
    from rmfab.operations.void import UnitList

    if str(file) == "-":
        return UnitList("stdin", sys.stdin.buffer.read())
    return UnitList(str(file), read_input(file, "list of units"))
