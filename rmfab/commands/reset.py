"""`rmfab reset`: the factory reset."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands.judging import unknown_option
from rmfab.commands.on_slots import port_options, release_option, run_line


@click.command("reset")
@port_options
@release_option
@unknown_option
@click.option("--via", type=click.Choice(["loader", "console"]), default="loader", show_default=True,
              help="Erase from the loader, or type the firmware's own reset-to-factory.")  # fmt: skip
@click.option("--serial", help="Which unit it ought to be, where the firmware has closed the download mode.")
def command(
    ports: tuple[str, ...],
    baud: int | None,
    json_wanted: bool,
    release: Path | None,
    allow_unknown: bool,
    via: str,
    serial: str | None,
) -> None:
    """Factory-reset units: erase nvs, and prove that their identity is untouched and that they are as new.

    Never touches the factory partition, nvs_key or esp_secure_cert; the unit keeps node id, key, PoP and label.
    Firmware that has closed the download mode, as secure boot does by default, resets itself over its console.

    \b
    rmfab reset --port /dev/ttyUSB0
    """
    from rmfab.commands.terminal import folder
    from rmfab.line.job import RESET_STEPS
    from rmfab.line.station import slots_for
    from rmfab.workspace import open_workspace

    workspace = open_workspace(folder())
    slots = slots_for(ports, workspace.station, baud)
    run_line(
        workspace,
        slots,
        RESET_STEPS,
        json_wanted=json_wanted,
        release=release,
        console_reset=via == "console",
        serial=serial,
        allow_unknown=allow_unknown,
    )
