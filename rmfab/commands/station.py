"""`rmfab station`: this host's key and slots, and admitting another host."""

from __future__ import annotations

import click


@click.group("station")
def command() -> None:
    """Show this station, make its key, or admit another station to the identities made so far."""


@command.command()
def show() -> None:
    """Show this station's name, its recipient and its slots."""
    from rmfab.commands import terminal
    from rmfab.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    terminal.data(f"name       {workspace.station.name}")
    terminal.data(f"recipient  {workspace.station_key.recipient}")
    for slot in workspace.station.slots:
        terminal.data(f"slot {slot.name}  {slot.link.address}  {slot.link.baud} baud")


@command.command()
def key() -> None:
    """Make this host's station key where it has none, and print its recipient for `station admit` elsewhere."""
    from rmfab.commands import terminal
    from rmfab.files import make_folder
    from rmfab.identity.sealing import create_station_key
    from rmfab.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    path = workspace.keys_folder / "station.key"
    if not path.exists():
        make_folder(workspace.keys_folder, secret=True)
        create_station_key(path)
    terminal.data(workspace.station_key.recipient)


@command.command("admit")
@click.argument("recipient", metavar="RECIPIENT")
@click.option("--name", help="Its name in product.toml (default: the end of the recipient).")
def admit_(recipient: str, name: str | None) -> None:
    """Let the station with RECIPIENT (age1…) open all identities made so far, and all that are made from now on."""
    from rmfab.commands import terminal
    from rmfab.identity.sealing import check_recipient, unwrap, wrap
    from rmfab.ledger.events import timestamp
    from rmfab.workspace import admit, now, open_workspace

    workspace = open_workspace(terminal.folder())
    check_recipient(recipient)
    recipients = sorted({*workspace.product.recipients.values(), recipient})
    chunks = workspace.ledger.chunks() if workspace.has_ledger else iter(())
    wrapped = {chunk.id: wrap(unwrap(chunk.wrapped_key, workspace.station_key), recipients) for chunk in chunks}
    if recipient not in workspace.product.recipients.values():
        admit(workspace.root / "product.toml", name or f"station-{recipient[-6:]}", recipient)
    if wrapped:
        workspace.ledger.rewrap(wrapped, recipients=recipients, station=workspace.station.name, ts=timestamp(now()))
    keys = terminal.counted(len(wrapped), "data key")
    terminal.say(f"admitted; {keys} wrapped anew for {terminal.counted(len(recipients), 'recipient')}")
