"""`rmfab init`: create a workspace, ready for `rmfab ca create`."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, chip_option
from rmfab.product.vocabulary import Chip, Credentials


@click.command("init", cls=Leaf)
@click.argument("folder", metavar="DIR", type=FILE)
@chip_option("Chip of the product")
@click.option("--name", help="Product name (default: the folder's name).")
@click.option("--serial", help="Serial pattern (default: from the product name, such as LMP-{n:06d}).")
@click.option("--mqtt-host", help="MQTT host of your deployment; `rmfab generate` requires it.")
@click.option(
    "--cloud-claim",
    is_flag=True,
    help="Public RainMaker: devices get node id, key and certificate by self or assisted claiming.",
)
@click.option("--claim", "former_claim", is_flag=True, hidden=True)
@click.option("--force", is_flag=True, help="Replace an existing product.toml.")
def command(
    folder: Path,
    chip: str,
    name: str | None,
    serial: str | None,
    mqtt_host: str | None,
    cloud_claim: bool,
    former_claim: bool,
    force: bool,
) -> None:
    """Create a workspace in DIR.

    It contains a commented product.toml, keys/, sample CSVs in csv/, and a .gitignore that keeps secrets out of git. If
    DIR has a .gitignore, the missing lines are appended to it.

    \b
    rmfab init lamp --chip esp32c3 --mqtt-host mqtt.example.com
    """
    from rmfab.workspace.create import create_workspace
    from rmfab.workspace.gitignore import FILE_NAME, unprotected

    cloud_claim = cloud_claim or former_claim
    appended = unprotected(folder)
    workspace = create_workspace(
        folder,
        chip=Chip(chip),
        name=name,
        serial=serial,
        mqtt_host=mqtt_host,
        credentials=Credentials.CLOUD_CLAIM if cloud_claim else Credentials.CERTIFICATE,
        force=force,
    )
    terminal.say(f"created the workspace of {workspace.product.name} ({chip}) in {folder}")
    if appended:
        terminal.say(f"{folder / FILE_NAME}: added {' '.join(appended)}, so that git does not take secrets")
    terminal.say("keep an offline copy of keys/station.key: it opens the identities that are sealed for this host;")
    terminal.say("without a key that opens them, the units of a batch can be neither flashed nor labelled again")
    if not cloud_claim and not mqtt_host:
        terminal.say("set mqtt_host in product.toml before you run `rmfab generate`")
    terminal.show({"workspace": str(folder), "product": workspace.product.name, "chip": chip}, None)
