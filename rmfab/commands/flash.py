"""`rmfab flash`: claim an identity, write the flash, read it back."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands.leaf import Leaf
from rmfab.commands.options import (
    again_option,
    batch_option,
    downgrade_option,
    line_options,
    scan_option,
    serial_option,
)


@click.command("flash", cls=Leaf)
@line_options
@downgrade_option
@batch_option
@serial_option
@again_option
@scan_option
def command(**options: Any) -> None:
    """Give boards their identity and write their flash.

    Claims an identity for each board, writes firmware and factory partition, and reads everything back.

    \b
    rmfab flash --port /dev/ttyUSB0 --release build
    """
    from rmfab.commands.show_line import show_line
    from rmfab.operations.run_line import FLASH_STEPS, LineRequest

    show_line(LineRequest(FLASH_STEPS, **options))
