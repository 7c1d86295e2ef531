"""`rmfab flash`: claim an identity, write the flash, read it back."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands.leaf import Leaf
from rmfab.commands.options import claim_options, files_options, line_options


@click.command("flash", cls=Leaf)
@line_options
@claim_options
@files_options
def command(**options: Any) -> None:
    """Give boards their identity and write their flash.

    Claims an identity for each board, writes firmware and factory partition, and reads everything back.

    \b
    rmfab flash --port /dev/ttyUSB0 --release build
    """
    from rmfab.commands.show_line import show_line
    from rmfab.operations.run_line import FLASH_STEPS, LineRequest

    show_line(LineRequest(FLASH_STEPS, **options))
