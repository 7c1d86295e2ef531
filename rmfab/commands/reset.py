"""`rmfab reset`: the factory reset."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands.leaf import Leaf
from rmfab.commands.options import line_options


@click.command("reset", cls=Leaf)
@line_options
@click.option("--via", type=click.Choice(["loader", "console"]), default="loader", show_default=True,
              help="Erase from the loader, or type the firmware's own reset-to-factory.")  # fmt: skip
@click.option("--serial", help="Which unit it ought to be, where the firmware has closed the download mode.")
def command(via: str, **options: Any) -> None:
    """Factory-reset units: erase nvs, and prove that their identity is untouched and that they are as new.

    Never touches the factory partition, nvs_key or esp_secure_cert; the unit keeps node id, key, PoP and label.
    Firmware that has closed the download mode, as secure boot does by default, resets itself over its console.

    \b
    rmfab reset --port /dev/ttyUSB0
    """
    from rmfab.commands.show_line import show_line
    from rmfab.operations.run_line import RESET_STEPS, LineRequest

    show_line(LineRequest(RESET_STEPS, console_reset=via == "console", **options))
