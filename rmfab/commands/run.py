"""`rmfab run`: the line."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands.judging import downgrade_option, unknown_option
from rmfab.commands.on_slots import batch_option, port_options, release_option, run_line, unit_option


@click.command("run")
@port_options
@unit_option
@release_option
@unknown_option
@downgrade_option
@batch_option
@click.option("--serial", help="Give the board this identity, or see that it has it.")
@click.option("--loop", is_flag=True, help="Wait for the next board on every slot, until ^C or the batch is used up.")
def command(
    ports: tuple[str, ...],
    baud: int | None,
    units: tuple[str, ...],
    json_wanted: bool,
    release: Path | None,
    allow_unknown: bool,
    allow_downgrade: bool,
    batch: str | None,
    serial: str | None,
    loop: bool,
) -> None:
    """Run the line: detect, claim, flash, read back, boot, identify, provision, reset and label, on all slots.

    \b
    rmfab run --batch lamp-0001 --port /dev/ttyUSB0 --port /dev/ttyUSB1
    rmfab run --loop                      all slots of station.toml, board after board
    """
    from rmfab.commands.terminal import folder
    from rmfab.line.job import RUN_STEPS
    from rmfab.line.station import slots_for
    from rmfab.workspace import open_workspace

    workspace = open_workspace(folder())
    slots = slots_for(ports, workspace.station, baud, units)
    run_line(
        workspace,
        slots,
        RUN_STEPS,
        json_wanted=json_wanted,
        release=release,
        batch=batch,
        serial=serial,
        loop=loop,
        allow_unknown=allow_unknown,
        allow_downgrade=allow_downgrade,
    )
