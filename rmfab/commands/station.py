"""`rmfab station`: show this station, make its key, admit a different station."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch


@click.group("station", cls=Branch)
def command() -> None:
    """Show this station, make its key, or admit a different one."""


@command.command()
def show() -> None:
    """Show this station's name, recipient and slots."""

    workspace = terminal.workspace()
    station, recipient = workspace.station, workspace.station_key.recipient
    slots = [{"name": slot.name, "port": slot.link.address, "baud": slot.link.baud} for slot in station.slots]
    lines = [f"name       {station.name}", f"recipient  {recipient}"]
    lines += [f"slot {slot['name']}  {slot['port']}  {slot['baud']} baud" for slot in slots]
    terminal.show({"name": station.name, "recipient": recipient, "slots": slots}, "\n".join(lines))


@command.command()
def key() -> None:
    """Print the recipient of this host's station key.

    Creates the key if there is none. Pass the recipient to `rmfab station admit` on an admitted station.
    """
    from rmfab.operations.admit import make_station_key

    recipient = make_station_key(terminal.workspace(), terminal.TERMINAL)
    terminal.show({"recipient": recipient}, recipient)


@command.command("admit")
@click.argument("recipient", metavar="RECIPIENT")
@click.option("--name", help="Name in product.toml (default: the end of the recipient).")
def admit_(recipient: str, name: str | None) -> None:
    """Admit the station with RECIPIENT (age1…).

    It can open all existing and future identities.
    """
    from rmfab.operations.admit import admit
    from rmfab.operations.terminal import counted

    done = admit(terminal.workspace(), recipient, name)
    keys = counted(done.wrapped, "data key")
    terminal.say(f"admitted; rewrapped {keys} for {counted(done.recipients, 'recipient')}")
    terminal.show({"recipient": recipient, "data_keys": done.wrapped, "recipients": done.recipients}, None)
