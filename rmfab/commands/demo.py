"""`rmfab demo`: run the whole line on virtual boards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, ParsedType, board_fault, chip_option, language_option
from rmfab.errors import RmfabError
from rmfab.product.vocabulary import Chip

if TYPE_CHECKING:
    from rmfab.ledger.records import LedgerIdentity
    from rmfab.operations.demo import Demo
    from rmfab.virtual.faults import FaultCall


@click.command("demo", cls=Leaf)
@click.option("--units", type=click.IntRange(1, 64), default=4, show_default=True, help="Number of boards.")
@chip_option("Chip of the boards")
@click.option(
    "--fault",
    type=ParsedType("name", board_fault),
    metavar="NAME",
    help="Break the first board (NAME@2: the third); see `rmfab board --help`.",
)
@click.option("--cloud", is_flag=True, help="Also register the units, let them reach a broker, and update one.")
@click.option("--screen", is_flag=True, help="Show the operator's screen; boards stay until F10.")
@language_option
@click.option("--dir", "folder", type=FILE, default=Path("rmfab-demo"), show_default=True, help="Folder to run in.")
def command(units: int, chip: str, fault: FaultCall | None, cloud: bool, screen: bool, folder: Path) -> None:
    """Run the whole line on virtual boards, from nothing.

    The demo makes a workspace, a CA, identities, firmware, boards and labels. No hardware is needed. Everything stays
    in the folder for you to explore; an earlier demo there is replaced.

    \b
    rmfab demo
    rmfab demo --fault brownout           see how a bad board looks
    rmfab demo --cloud                    with a cloud on this host
    rmfab demo --screen --units 8         with the operator's screen
    """
    from rmfab.commands.show_line import refuse_without_screen
    from rmfab.operations.demo import DemoRequest, prepared_demo

    refuse_without_screen(screen, {})
    request = DemoRequest(folder, units, Chip(chip), fault, cloud, spare=10 * units if screen else 0)
    with prepared_demo(request, terminal.TERMINAL) as demo:
        failure = _run(demo, screen=screen)
        made = demo.finish(terminal.TERMINAL)
    if not terminal.json_wanted():
        _show(tuple(one for one in made if one.mac or not screen), folder)
    if failure is not None:
        failure.what = failure.what.replace("`rmfab trace", f"`rmfab -C {folder} trace")
        raise failure
    terminal.say(f"explore it with `rmfab -C {folder} …`, for example `rmfab -C {folder} trace LMP-000001`")


def _run(demo: Demo, *, screen: bool) -> RmfabError | None:
    """Run and show the line, then the update; return the error that it ended with, to be raised after the labels."""
    from rmfab.commands.show_line import show_on_screen, show_run

    try:
        if screen:
            show_on_screen(demo.workspace, demo.request(loop=True))
            return None
        line = demo.line(terminal.TERMINAL)
        show_run(line, single=False)
        with demo.update(line, terminal.TERMINAL) as update:
            if update is not None:
                show_run(update, single=True)
    except RmfabError as error:
        return error
    return None


def _show(units: tuple[LedgerIdentity, ...], folder: Path) -> None:
    from rmfab.operations.demo import MADE

    rows: list[tuple[object, ...]] = [
        (one.serial, one.state.value, one.mac or "", one.node_id or "", one.record.service_name) for one in units
    ]
    terminal.data("")
    terminal.table(("serial", "state", "board", "node id", "service name"), rows)
    terminal.data("")
    for what, where in MADE:
        if (folder / where).exists():
            terminal.data(f"{what:<15} {folder / where}")
