"""`rmfab ports`: list the serial ports that are plugged in."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf


@click.command("ports", cls=Leaf)
def command() -> None:
    """List the USB serial ports as slots for station.toml.

    A port is given by its place in the USB tree, which does not change, not by its ttyUSB number.
    """
    from rmfab.board.port import plugged_in
    from rmfab.errors import StationError

    found = plugged_in()
    if not found:
        raise StationError("no USB serial port found", hint="plug in a board, or check its cable: some only charge")
    if terminal.json_wanted():
        terminal.document(
            [
                {"port": p.address, "device": p.device, "location": p.location, "description": p.description}
                for p in found
            ]
        )
        return
    for number, port in enumerate(found, 1):
        about = ", ".join(part for part in (port.device, port.location, port.description) if part)
        terminal.data(f'[[slot]]                 # {about}\nname = "{number}"\nport = "{port.address}"')
        terminal.data('baud = 921600\nrestart = "auto"\n')
