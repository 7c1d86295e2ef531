"""`rmfab reidentify`: give the board of a returned unit a different identity."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import (
    baud_option,
    files_options,
    operator_option,
    release_option,
    slot_names,
    unknown_option,
)


@click.command("reidentify", cls=Leaf)
@click.argument("unit", metavar="SERIAL|MAC")
@click.option("-p", "--port", required=True, metavar="PORT", shell_complete=slot_names,
              help="Port or slot name of the board.")  # fmt: skip
@click.option("--reason", required=True, help="Reason; recorded in the ledger.")
@click.option("--batch", help="Take the new identity from this batch.")
@click.option("--unit-url", "unit_urls", multiple=True, metavar="URL",
              help="Provisioning URL of the running unit (default: station.toml, or its radio).")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask. Required without a terminal.")
@baud_option
@release_option
@unknown_option
@files_options
@operator_option
def command(**options: Any) -> None:
    """Give the board of a returned unit a different identity.

    The identity that it has is void for good, and the board is claimed for a new one, in one transaction of the
    ledger. Then the line flashes, verifies and labels it as `rmfab run` does. The board on the port must be that of
    the unit: otherwise nothing is changed. After an interruption, the same command continues. `rmfab trace` shows both
    serials with either of them.

    \b
    rmfab reidentify LMP-000017 --port A1 --reason "sold, returned, PoP known"
    """
    from rmfab.commands.show_line import labels_unseen, show_run
    from rmfab.operations.reidentify import ReidentifyRequest, reidentify

    workspace = terminal.workspace()
    with labels_unseen(workspace):
        job = reidentify(workspace, ReidentifyRequest(**options), terminal.TERMINAL)
        try:
            show_run(job.run, single=True)
        finally:
            job.tell(terminal.TERMINAL)
