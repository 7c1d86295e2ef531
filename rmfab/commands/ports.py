"""`rmfab ports`: list the slots of this host, and the serial ports that are plugged in."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf

if TYPE_CHECKING:
    from rmfab.operations.list_ports import BoardPlace

_PRESENT = {True: "present", False: "absent", None: "on the network"}


@click.command("ports", cls=Leaf)
def command() -> None:
    """List the slots of station.toml, then other USB serial ports as slots for it.

    A slot is a comment with its port, whether the port is there now, and what is plugged in. Each other port is a slot
    to paste into station.toml, given by its place in the USB tree, which does not change, not by its ttyUSB number.
    """
    from rmfab.line.slot_table import described
    from rmfab.operations.list_ports import list_ports

    places = list_ports(terminal.folder(), terminal.TERMINAL)
    if terminal.json_wanted():
        terminal.document([place.to_json() for place in places])
        return
    slots = [place for place in places if place.slot is not None]
    for place in slots:
        about = f": {described(place.usb)}" if place.usb else ""
        out = f"; {place.out}" if place.out else ""
        terminal.verbatim(f"# slot {place.slot}  {place.port}  {_PRESENT[place.present]}{about}{out}")
    if slots and len(slots) < len(places):
        terminal.data("")
    _show_new(places)


def _show_new(places: tuple[BoardPlace, ...]) -> None:
    """Print the ports that are in no slot, with names that no slot has."""
    from rmfab.line.slot_table import described, slot_table

    taken = {place.slot for place in places}
    names = (name for number in count(1) if (name := str(number)) not in taken)
    for place in places:
        if place.slot is None:
            terminal.verbatim(slot_table(next(names), place.port, described(place.usb) if place.usb else ""))
