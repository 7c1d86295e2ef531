"""`rmfab units`: list units with their verdicts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf

if TYPE_CHECKING:
    from rmfab.report.units import ListedUnit

_STATES = ("generated", "claimed", "flashed", "verified", "failed", "void", "quarantined", "handed-over")


@click.command("units", cls=Leaf)
@click.argument("batch", required=False)
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), metavar="STATE",
              help="Only units in this state, such as failed or claimed; repeatable.")  # fmt: skip
@click.option("--since", metavar="TIME", help="Only units to which something happened since, such as today, 8h, 14:00.")
@click.option("--slot", help="Only units that were last on this slot.")
@click.option("--cause", help="Only units with this cause, such as panic.")
@click.option("--release", metavar="VERSION|DIGEST", help="Only units that were last flashed with this release.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def command(batch: str | None, states: tuple[str, ...], since: str | None, as_csv: bool, **chosen: str | None) -> None:
    """List the units of BATCH, or of each batch.

    For each unit: its state, the verdict and cause of its last run, the slot, how many runs ended with PASS or FAIL,
    and when something last happened to it, in local time. Units are identities that are or were bound to a board;
    --state generated lists the free ones. --json and --csv have more columns, and times in UTC.

    \b
    rmfab units lamp-0001 --state failed
    rmfab units --since today --cause panic
    rmfab units lamp-0001 --csv
    """
    from rmfab.operations.list_units import UnitQuery, list_units
    from rmfab.report.period import period
    from rmfab.report.units import UnitFilter

    if as_csv and terminal.json_wanted():
        raise click.UsageError("--csv and --json exclude each other")
    workspace = terminal.workspace()
    shifts = workspace.station.shifts
    wanted = period(since, None, None, workspace.now(), shifts)
    query = UnitQuery(batch, states, wanted, UnitFilter(**chosen))
    units = list_units(workspace, query, terminal.TERMINAL)
    if as_csv:
        _print_csv(units)
    elif terminal.json_wanted():
        from rmfab.report.units import as_json

        terminal.documents(map(as_json, units))
    else:
        from rmfab.commands.unit_table import print_units

        _tell(print_units(units, shifts.local), batch)


def _print_csv(units: Iterator[ListedUnit]) -> None:
    from rmfab.report.spreadsheet_text import write_rows
    from rmfab.report.units import COLUMNS, row_of

    first = list(islice(units, 1))  # an error comes before the head
    write_rows(sys.stdout, COLUMNS, map(row_of, chain(first, units)))
    sys.stdout.flush()


def _tell(count: int, batch: str | None) -> None:
    from rmfab.operations.terminal import counted

    where = f" in {batch}" if batch else ""
    terminal.say(f"{counted(count, 'unit')}{where}" if count else f"no units{where}")
