"""`rmfab flash`: claim, write, read back."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands.judging import downgrade_option, unknown_option
from rmfab.commands.on_slots import batch_option, port_options, release_option, run_line


@click.command("flash")
@port_options
@release_option
@unknown_option
@downgrade_option
@batch_option
@click.option("--serial", help="Give the board this identity, or see that it has it.")
def command(
    ports: tuple[str, ...],
    baud: int | None,
    json_wanted: bool,
    release: Path | None,
    allow_unknown: bool,
    allow_downgrade: bool,
    batch: str | None,
    serial: str | None,
) -> None:
    """Give boards their identity, write firmware and factory partition, and read everything back.

    \b
    rmfab flash --port /dev/ttyUSB0 --release build
    """
    from rmfab.commands.terminal import folder
    from rmfab.line.job import FLASH_STEPS
    from rmfab.line.station import slots_for
    from rmfab.workspace import open_workspace

    workspace = open_workspace(folder())
    slots = slots_for(ports, workspace.station, baud)
    run_line(
        workspace,
        slots,
        FLASH_STEPS,
        json_wanted=json_wanted,
        release=release,
        batch=batch,
        serial=serial,
        allow_unknown=allow_unknown,
        allow_downgrade=allow_downgrade,
    )
