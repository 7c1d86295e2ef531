"""`rmfab ports`: what is plugged in."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf


@click.command("ports", cls=Leaf)
def command() -> None:
    """List the USB serial ports of this host as slots for station.toml, each by its place in the USB tree."""
    from rmfab.board.port import plugged_in

    found = plugged_in()
    if terminal.json_wanted():
        terminal.document(
            [
                {"port": p.address, "device": p.device, "location": p.location, "description": p.description}
                for p in found
            ]
        )
        return
    if not found:
        terminal.say("no USB serial port is plugged in")
    for number, port in enumerate(found, 1):
        about = ", ".join(part for part in (port.device, port.location, port.description) if part)
        terminal.data(f'[[slot]]                 # {about}\nname = "{number}"\nport = "{port.address}"')
        terminal.data('baud = 921600\nrestart = "auto"\n')
