"""`rmfab register`: register units in their cloud, or ask it which it has."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmfab.commands import terminal
from rmfab.commands.export import STATES
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE

if TYPE_CHECKING:
    from rmfab.operations.advance import Advance
    from rmfab.operations.look_up_units import LookedUp, LookUpSummary, UnitLookedUp
    from rmfab.operations.open_registrar import CloudAccess
    from rmfab.operations.register_units import Registered, RegisterSummary
    from rmfab.operations.registration_job import UnitRegistered

T = TypeVar("T")

_FOLLOWED = "register"


@click.command("register", cls=Leaf)
@click.argument("units", metavar="BATCH|SERIAL...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Ask the cloud which units it has, and which have connected.")
@click.option("--deployment", type=FILE, metavar="FILE", help="Deployment file (default: [cloud] in product.toml).")
@click.option("--user", metavar="NAME", help="Administrator of the deployment (default: user in [cloud]).")
@click.option("--password-file", type=FILE, metavar="FILE", help="File with the password (default: ask).")
@click.option("--ca", type=FILE, metavar="FILE", help="CA of the API's certificate (default: those of the system).")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only units in this state; repeatable."
)
@click.option("--again", is_flag=True, help="Give up jobs that did not end, and register their units again.")
@click.option(
    "--wait", type=click.IntRange(1, 10_000), metavar="MINUTES",
    help="How long a job may take (default: 15 minutes, and half a second per unit).",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, metavar="SECONDS",
    help="Time limit of each answer.",
)  # fmt: skip
def command(units: tuple[str, ...], check: bool, states: tuple[str, ...], again: bool, wait: int | None,
            **access: Any) -> None:  # fmt: skip
    """Register units in their cloud, or ask it which it has.

    The API of the deployment is that of [cloud] in product.toml: ESP RainMaker's or RainMaker Neo's. Units that the
    cloud has are skipped, void ones are left out. If a run is cut at any point, the same command continues it, and
    registers no unit twice. The ledger records each job and each unit. The password comes from the terminal, from
    --password-file, or from the file that RMFAB_CLOUD_PASSWORD_FILE names; tokens are kept for this user of this host.

    \b
    rmfab register lamp-0001
    rmfab register lamp-0001 --check
    """
    from rmfab.ledger.states import State

    if check and (again or wait is not None):
        raise click.UsageError("--check asks the cloud, and starts no job: --again and --wait do not apply")
    named = tuple(map(State, states))
    if check:
        _check(units, _access(**access), named)
    else:
        _register(units, _access(**access), named, again=again, wait=wait)


def _access(deployment: Path | None, user: str | None, password_file: Path | None, ca: Path | None,
            timeout: float) -> CloudAccess:  # fmt: skip
    from rmfab.operations.open_registrar import CloudAccess

    return CloudAccess(deployment, user, password_file, ca, timeout)


def _register(
    units: tuple[str, ...], access: CloudAccess, states: tuple[Any, ...], *, again: bool, wait: int | None
) -> None:
    from datetime import timedelta

    from rmfab.operations.register_units import RegisterRequest, register_units

    limit = None if wait is None else timedelta(minutes=wait)
    request = RegisterRequest(units, access, states, again, limit)
    events = register_units(terminal.workspace(), request, terminal.TERMINAL)
    terminal.followed(_FOLLOWED, _shown_jobs(events))


def _shown_jobs(
    events: Generator[Registered, None, None],
) -> Generator[Advance | RegisterSummary, None, None]:
    """Show the units that could not be registered, with --json all; yield the progress and the summary."""
    from rmfab.operations.register_units import RegisterSummary
    from rmfab.operations.registration_job import UnitRegistered

    for event in _told(events):
        if isinstance(event, UnitRegistered):
            _show_registered(event)
            continue
        if isinstance(event, RegisterSummary):
            _show_jobs_summary(event)
        yield event


def _told(events: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield *events*, and close them at the end. With --json an error after the first line is a line, too."""
    from rmfab.errors import RmfabError, UnitsFailed
    from rmfab.operations.advance import Advance

    with closing(events):
        told = False
        try:
            for event in events:
                told = told or not isinstance(event, Advance)
                yield event
        except RmfabError as error:
            if told and terminal.json_wanted() and not isinstance(error, UnitsFailed):
                terminal.json_line(error.event())
            raise


def _show_registered(one: UnitRegistered) -> None:
    if terminal.json_wanted():
        terminal.json_line(
            {"event": "unit", "ts": one.ts, "serial": one.serial, "outcome": one.outcome.value, "class": one.cause,
             "reason": one.reason}
        )  # fmt: skip
    elif one.cause is not None:
        terminal.data(f"{one.serial}  {one.outcome.value} ({one.cause}: {one.reason})")


def _show_jobs_summary(summary: RegisterSummary) -> None:
    if terminal.json_wanted():
        terminal.json_line(
            {"event": "summary", "cloud": summary.cloud, "registered": summary.registered, "before": summary.before,
             "failed": summary.failed, "left_out": summary.left_out}
        )  # fmt: skip
        return
    numbers = ((summary.registered, "registered"), (summary.before, "registered before"), (summary.failed, "failed"))
    told = ", ".join(f"{number} {name}" for number, name in numbers if number or name == "registered")
    terminal.say(f"{told} in {summary.cloud}")


def _check(units: tuple[str, ...], access: CloudAccess, states: tuple[Any, ...]) -> None:
    from rmfab.operations.look_up_units import LookUpRequest, look_up_units

    events = look_up_units(terminal.workspace(), LookUpRequest(units, access, states), terminal.TERMINAL)
    terminal.followed(_FOLLOWED, _shown_nodes(events))


def _shown_nodes(
    events: Generator[LookedUp, None, None],
) -> Generator[Advance | LookUpSummary, None, None]:
    from rmfab.operations.look_up_units import LookUpSummary, UnitLookedUp

    for event in _told(events):
        if isinstance(event, UnitLookedUp):
            _show_node(event)
            continue
        if isinstance(event, LookUpSummary):
            _show_nodes_summary(event)
        yield event


def _show_node(one: UnitLookedUp) -> None:
    if terminal.json_wanted():
        terminal.json_line(
            {"event": "unit", "ts": one.ts, "serial": one.serial, "outcome": one.outcome.value, "class": one.cause,
             "reason": one.reason, "connected": one.connected, "proof": one.proof}
        )  # fmt: skip
        return
    if one.cause is not None:
        terminal.data(f"{one.serial}  {one.outcome.value} ({one.cause}: {one.reason})")
        return
    ending = f"connected {one.connected}" if one.connected else "never connected"
    unproven = "" if one.proof else "  certificate not proven"
    terminal.data(f"{one.serial}  registered  {ending}{unproven}")


def _show_nodes_summary(summary: LookUpSummary) -> None:
    if terminal.json_wanted():
        terminal.json_line(
            {"event": "summary", "cloud": summary.cloud, "registered": summary.registered, "missing": summary.missing,
             "taken": summary.taken, "connected": summary.connected, "unproven": summary.unproven}
        )  # fmt: skip
        return
    taken = f", {summary.taken} taken" if summary.taken else ""
    terminal.say(
        f"{summary.registered} registered, {summary.missing} missing{taken}, {summary.connected} connected in "
        f"{summary.cloud}"
    )
