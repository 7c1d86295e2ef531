"""`rmfab export`: write the files with which a cloud registers units."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, force_option

FORMS = ("rainmaker", "neo", "aws-bulk", "jsonl", "csv")
STATES = ("generated", "claimed", "flashed", "verified", "failed")


@click.command("export", cls=Leaf)
@click.argument("form", metavar="FORM", type=click.Choice(FORMS))
@click.argument("units", metavar="BATCH|SERIAL...", nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The file, for aws-bulk the folder.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only units in this state; repeatable."
)
@click.option("--with-qrcode", is_flag=True, help="rainmaker: also write the QR codes. This uploads every PoP.")
@click.option("--ca", type=FILE, metavar="FILE", help="aws-bulk: certificate of the CA (default: the workspace's).")
@force_option
def command(form: str, units: tuple[str, ...], output: Path, states: tuple[str, ...], with_qrcode: bool,
            ca: Path | None, force: bool) -> None:  # fmt: skip
    """Write the files with which a cloud registers units.

    FORM is one of:

    \b
    rainmaker   node_certs.csv of ESP RainMaker; at most 50,000 rows in a file
    neo         CSV of RainMaker Neo
    aws-bulk    folder for AWS IoT's bulk registration: template, nodes, policy
    jsonl       for programs: one JSON object per unit, with its certificate
    csv         for people: serial, node id, batch, state, MAC, certificate id

    A unit must be registered before its cloud lets it in, so all units are written, verified or not; not void ones,
    those in quarantine, and those that were handed over. The files contain no secret, unless --with-qrcode is given.
    The ledger records each export.

    \b
    rmfab export rainmaker lamp-0001 -o node_certs.csv
    rmfab export csv lamp-0001 --state verified -o units.csv
    """
    from dataclasses import asdict

    from rmfab.cloud.registration_files import ExportForm
    from rmfab.ledger.states import State
    from rmfab.operations.export_units import ExportUnitsRequest, export_units

    request = ExportUnitsRequest(units, ExportForm(form), output, tuple(map(State, states)), with_qrcode, ca, force)
    done = terminal.followed("export", export_units(terminal.workspace(), request, terminal.TERMINAL))
    terminal.show(asdict(done), None)
