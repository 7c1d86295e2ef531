"""`rmfab init`: a workspace, ready for `rmfab ca create`."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE
from rmfab.product.vocabulary import Chip, Credentials


@click.command("init", cls=Leaf)
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--chip", type=click.Choice([chip.value for chip in Chip]), default="esp32c3", show_default=True)
@click.option("--name", help="The product's name (default: the folder's).")
@click.option("--serial", help="The serial pattern (default: from the name, such as LMP-{n:06d}).")
@click.option("--mqtt-host", help="The MQTT host of your deployment; `generate` needs it.")
@click.option("--claim", is_flag=True, help="Public RainMaker: claiming makes node id, key and certificate.")
@click.option("--force", is_flag=True, help="Replace a product.toml of other content.")
def command(
    folder: Path, chip: str, name: str | None, serial: str | None, mqtt_host: str | None, claim: bool, force: bool
) -> None:
    """Make a workspace in DIR: a commented product.toml, keys/, sample csv/ and a .gitignore for what is secret.

    \b
    rmfab init lamp --chip esp32c3 --mqtt-host mqtt.example.com
    """
    from rmfab.workspace.create import create_workspace

    if claim and mqtt_host:
        raise click.UsageError("--claim and --mqtt-host exclude each other: claiming tells the unit its host")
    workspace = create_workspace(
        folder,
        chip=Chip(chip),
        name=name,
        serial=serial,
        mqtt_host=mqtt_host,
        credentials=Credentials.CLAIM if claim else Credentials.CERTIFICATE,
        force=force,
    )
    terminal.say(f"workspace {folder}: product.toml for {workspace.product.name} ({chip})")
    terminal.say("keys/station.key opens the identities sealed for this host; keep a copy offline: whoever loses the")
    terminal.say("last key that a batch is sealed for can neither flash nor label its units again")
    if not claim and not mqtt_host:
        terminal.say("set mqtt_host in product.toml before `rmfab generate`")
    terminal.show({"workspace": str(folder), "product": workspace.product.name, "chip": chip}, None)
