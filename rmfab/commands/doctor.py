"""`rmfab doctor`: find what is missing on this host."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf


@click.command("doctor", cls=Leaf)
def command() -> None:
    """Find what is missing on this host, and how to fix it.

    Checks ports and their permissions, Bluetooth or Wi-Fi, the workspace and its permissions, keys, the ledger and the
    trust file. Exits with code 4 if
    something is missing.
    """
    from rmfab.errors import StationError
    from rmfab.operations.examine_host import examine_host
    from rmfab.operations.terminal import counted

    found = list(examine_host(terminal.folder()))
    lines = []
    for diagnosis in found:
        lines.append(f"{'ok     ' if diagnosis.good else 'MISSING'}  {diagnosis.what}")
        if not diagnosis.good and diagnosis.hint:
            lines.append(f"         {diagnosis.hint}")
    document = [{"what": one.what, "good": one.good, "hint": "" if one.good else one.hint} for one in found]
    terminal.show(document, "\n".join(lines))
    missing = sum(not diagnosis.good for diagnosis in found)
    if missing:
        raise StationError(f"{counted(missing, 'problem')} on this host", cause="doctor")
