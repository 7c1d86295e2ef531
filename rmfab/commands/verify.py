"""`rmfab verify`: the checks of a flashed unit, nothing written."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands.judging import unknown_option
from rmfab.commands.on_slots import port_options, release_option, run_line, unit_option


@click.command("verify")
@port_options
@unit_option
@release_option
@unknown_option
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write a report for CI as well.")
@click.option(
    "--serial", help="Which unit it ought to be, where the MAC cannot be read (socket ports, download mode closed)."
)
def command(
    ports: tuple[str, ...],
    baud: int | None,
    units: tuple[str, ...],
    json_wanted: bool,
    release: Path | None,
    allow_unknown: bool,
    junit: Path | None,
    serial: str | None,
) -> None:
    """Prove that flashed units boot, are who they ought to be, and can be provisioned by the owner of the label only.

    \b
    rmfab verify --port /dev/ttyUSB0
    """
    from rmfab.commands.terminal import folder
    from rmfab.line.events import Step
    from rmfab.line.job import VERIFY_STEPS
    from rmfab.line.station import slots_for
    from rmfab.workspace import open_workspace

    workspace = open_workspace(folder())
    slots = slots_for(ports, workspace.station, baud, units)
    # a unit that has joined a network must not leave with it
    steps = (*VERIFY_STEPS, Step.RESET) if workspace.product.verify.join else VERIFY_STEPS
    run_line(
        workspace,
        slots,
        steps,
        json_wanted=json_wanted,
        release=release,
        serial=serial,
        allow_unknown=allow_unknown,
        junit=junit,
    )
