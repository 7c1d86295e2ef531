"""`rmfab station`: show this station, find its slots, make its keys and card, admit one, give its lease back."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE, force_option, output_option


@click.group("station", cls=Branch)
def command() -> None:
    """Show this station, find its slots, make its keys and its card, admit a different one, or give its lease back."""


@command.command()
def show() -> None:
    """Show this station's name, recipient and slots."""
    from rmfab.line.station import AUTO_BAUD

    workspace = terminal.workspace()
    station, recipient = workspace.station, workspace.station_key.recipient
    slots = [
        {"name": slot.name, "port": slot.link.address, "baud": slot.link.baud or AUTO_BAUD} for slot in station.slots
    ]
    lines = [f"name       {station.name}", f"recipient  {recipient}"]
    lines += [f"slot {slot['name']}  {slot['port']}  baud {slot['baud']}" for slot in slots]
    terminal.show({"name": station.name, "recipient": recipient, "slots": slots}, "\n".join(lines))


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--count", "number", type=click.IntRange(1, 256), metavar="N", help="End after N slots (default: Enter).")
@click.option("--virtual", type=FILE, metavar="DIR", help="Watch virtual boards (`rmfab board --state DIR`), not USB.")
def discover(names: tuple[str, ...], number: int | None, virtual: Path | None) -> None:
    """Find the ports of slots by plugging in slot after slot.

    Each port that appears becomes a slot of station.toml, given by its place in the USB tree. The slots are called
    NAME …, or A1, A2 … Slots that are there already stay as they are, and so does every comment. Nothing is written
    before the end; ^C gives up.

    \b
    rmfab station discover                   until Enter
    rmfab station discover --count 4
    rmfab station discover left right        these names, in this order
    """
    from rmfab.board.port_watch import PortWatch, UsbWatch
    from rmfab.commands.typed_lines import TypedLines
    from rmfab.operations.discover_slots import DiscoverRequest, discover_slots
    from rmfab.operations.virtual_watch import VirtualWatch

    request = DiscoverRequest(terminal.folder(), names, number)
    watch: PortWatch = UsbWatch() if virtual is None else VirtualWatch(virtual)
    typed = TypedLines(interactive=terminal.TERMINAL.interactive)
    done = discover_slots(request, watch, typed, terminal.TERMINAL)
    terminal.show({"file": str(done.file), "slots": [one.to_json() for one in done.slots]}, None)


@command.command()
def key() -> None:
    """Print the recipient of this host's station key.

    Creates the keys if there are none: one that opens identities, and one that signs what this station returns. Pass
    the recipient, or the card of `rmfab station card`, to `rmfab station admit` on an admitted station.
    """
    from rmfab.operations.admit import make_station_key

    card = make_station_key(terminal.workspace(), terminal.TERMINAL)
    terminal.show({"recipient": card.recipient, "signing_key": card.signing.id}, card.recipient)


@command.command("card")
@output_option
@force_option
def card_(output: Path, force: bool) -> None:
    """Write this station's card, and print its fingerprint.

    The card contains the public halves of this station's keys. Send the fingerprint over a separate channel,
    such as the phone: it proves that the card was not replaced on the way. The keys are made if there are none; a
    folder without product.toml becomes a workspace with the first `rmfab receive`.

    \b
    rmfab station card -o bench-2.card
    """
    from rmfab.operations.admit import write_card

    card = write_card(terminal.folder_to_receive(), output, terminal.TERMINAL, force=force)
    terminal.say(
        f"{output}: the card of {card.name}; send this fingerprint over a separate channel, such as the phone:"
    )
    keys = {"recipient": card.recipient, "signing_key": card.signing.id}
    terminal.show({"card": str(output), "name": card.name, "fingerprint": card.fingerprint} | keys, card.fingerprint)


@command.command()
def release() -> None:
    """Give back what no board has of this station's lease.

    A lease (lease in station.toml) contains identities of a shared ledger for when its server is away. It never returns
    by itself. What was done without the server is brought to it first.
    """
    from rmfab.operations.leasing import release_lease

    given = release_lease(terminal.workspace(), terminal.TERMINAL)
    terminal.show({"given_back": given}, None)


@command.command("admit")
@click.argument("station", metavar="CARD|RECIPIENT")
@click.option("--name", help="Name in product.toml (default: that on the card, or the end of the recipient).")
def admit_(station: str, name: str | None) -> None:
    """Admit the station with this card, or with this recipient (age1…).

    It can open all existing and future identities.
    """
    from rmfab.operations.admit import admit
    from rmfab.operations.terminal import counted

    done = admit(terminal.workspace(), station, name)
    keys = counted(done.wrapped, "data key")
    terminal.say(f"admitted; rewrapped {keys} for {counted(done.recipients, 'recipient')}")
    terminal.show({"recipient": done.recipient, "data_keys": done.wrapped, "recipients": done.recipients}, None)
