"""`rmfab doctor`: find what is missing on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf

if TYPE_CHECKING:
    from rmfab.line.diagnosis import Diagnosis


@click.command("doctor", cls=Leaf)
def command() -> None:
    """Find what is missing on this host, and how to fix it.

    Checks ports and their permissions, programs that grab ports, USB hubs, Bluetooth or Wi-Fi, the clock, disks and
    their fsync, fonts, the printer, the workspace and its permissions, keys, the ledger and the trust file; without a
    workspace, only the host. Each check reports what it finds, whatever the others find. Exits with code 5 if the
    ledger or the trust file is damaged, with code 4 if anything else is wrong.
    """
    from rmfab.errors import IntegrityError, StationError
    from rmfab.operations.examine_host import examine_host
    from rmfab.operations.terminal import counted

    found = list(examine_host(terminal.folder()))
    document = [
        {
            "what": one.what,
            "good": one.good,
            "hint": "" if one.good else one.hint,
            "command": "" if one.good else one.command,
            "class": one.error.cause if one.error is not None else None,
        }
        for one in found
    ]
    if terminal.json_wanted():
        terminal.document(document)
    else:
        _show(found)
    missing = sum(not diagnosis.good for diagnosis in found)
    damaged = [one.error for one in found if isinstance(one.error, IntegrityError)]
    if damaged:
        raise IntegrityError(f"{counted(missing, 'problem')} on this host; {damaged[0]}", cause=damaged[0].cause)
    if missing:
        raise StationError(f"{counted(missing, 'problem')} on this host", cause="doctor")


def _show(found: list[Diagnosis]) -> None:
    """Print each diagnosis with its hint; a command stays whole on a narrow terminal."""
    for one in found:
        terminal.data(f"{'ok     ' if one.good else 'MISSING'}  {one.what}")
        if not one.good and one.hint:
            terminal.data(f"         {one.hint}")
        if not one.good and one.command:
            terminal.verbatim(f"         {one.command}")
