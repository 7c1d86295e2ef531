"""`rmfab verify`: check flashed units without writing to them."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands.leaf import Leaf
from rmfab.commands.options import files_options, line_options, unit_url_option


@click.command("verify", cls=Leaf)
@line_options
@unit_url_option
@files_options
@click.option("--serial", help="Expected unit, if its MAC cannot be read (socket port, or download mode disabled).")
def command(unit_urls: tuple[str, ...], former_unit_urls: tuple[str, ...], **options: Any) -> None:
    """Prove that flashed units boot and have the right identity.

    Also proves that a unit can be provisioned, and only with the PoP on its label. Writes nothing to the flash.

    \b
    rmfab verify --port /dev/ttyUSB0
    """
    from rmfab.commands.show_line import show_line
    from rmfab.operations.run_line import VERIFY_STEPS, LineRequest

    show_line(LineRequest(VERIFY_STEPS, unit_urls=unit_urls or former_unit_urls, **options))
