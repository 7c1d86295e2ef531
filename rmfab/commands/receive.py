"""`rmfab receive`: receive identities that their owner handed over to this station."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE


@click.command("receive", cls=Leaf)
@click.argument("file", type=FILE)
@click.option("--fingerprint", metavar="F", help="Fingerprint of the owner, received over a separate channel.")
@click.option("--force", is_flag=True, help="Replace files of the workspace that were changed here.")
def command(file: Path, fingerprint: str | None, force: bool) -> None:
    """Receive the handover FILE, and make or extend the workspace here.

    The folder must have the keys of the card that the handover is for. The first handover is accepted by the
    fingerprint of its owner, later ones only if the same owner signed them. A host receives a handover once. The line
    then runs without a network.

    \b
    rmfab receive lamp-0042.handover
    """
    from dataclasses import asdict

    from rmfab.operations.receive import receive

    done = receive(terminal.folder_to_receive(), file, terminal.TERMINAL, fingerprint=fingerprint, force=force)
    terminal.show(asdict(done), done.batch)
