"""What `flash`, `verify`, `run` and `demo` share: their options, and running the line with a view."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmfab.errors import InputError, IntegrityError, RmfabError, StationError, UnitsFailed

if TYPE_CHECKING:
    from rmfab.commands.line_view import View
    from rmfab.line.events import Step, Summary, UnitEnded
    from rmfab.line.floor import Floor
    from rmfab.line.radio.air import Air
    from rmfab.line.station import Slot
    from rmfab.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "json_wanted", is_flag=True, help="Print JSON events, one a line.")


def port_options(function: F) -> F:
    """--port, --baud and --json."""
    for option in (
        json_option,
        click.option(
            "--baud", type=click.IntRange(9600, 4_000_000), help="Baud in the stub (default: the slot's, 921600)."
        ),
        click.option(
            "-p",
            "--port",
            "ports",
            multiple=True,
            metavar="PORT",
            help="A port or slot name; again for more (default: all slots).",
        ),
    ):
        function = option(function)
    return function


release_option = click.option(
    "--release", type=click.Path(path_type=Path), help="A bundle or ESP-IDF build folder (default: product.toml)."
)
batch_option = click.option("--batch", help="Claim from this batch only.")
unit_option = click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="URL",
    help="Where the running unit answers provisioning (default: station.toml, or its radio); one for each --port.",
)


def run_line(
    workspace: Workspace,
    slots: tuple[Slot, ...],
    steps: tuple[Step, ...],
    *,
    json_wanted: bool,
    release: Path | None = None,
    batch: str | None = None,
    serial: str | None = None,
    loop: bool = False,
    console_reset: bool = False,
    allow_unknown: bool = False,
    allow_downgrade: bool = False,
    junit: Path | None = None,
) -> Summary:
    """Runs *steps* on *slots* and shows it. Raises what the exit code is made of: UnitsFailed, StationError …

    No board is touched before the release is accepted. *junit* is a report to write beside what is shown.
    """
    from rmfab.commands.judging import accept, judge_again, judged_in
    from rmfab.commands.line_view import make_view
    from rmfab.line.events import Step
    from rmfab.line.floor import Floor
    from rmfab.line.job import Job, PreparedRelease
    from rmfab.release.opening import open_unparsed
    from rmfab.release.preflight import preflight
    from rmfab.workspace import now

    if serial is not None and len(slots) != 1:
        raise InputError("--serial names one unit, so that it goes with one port", where=serial)
    firmware = None
    if {Step.FLASH, Step.RESET} & set(steps) or release is not None or workspace.product.release.path is not None:
        verdict = judged_in(workspace, open_unparsed(workspace.release_path(release)), allow_unknown=allow_unknown)
        preflight(verdict.release, workspace.product)
        firmware = PreparedRelease.prepare(verdict)
    _check_batches(workspace, batch, claims=Step.CLAIM in steps)
    air = _air(workspace, joins=workspace.product.verify.join and Step.PROVISION in steps)
    if firmware is not None and Step.FLASH in steps:
        accept(workspace, firmware.accepted, allow_downgrade=allow_downgrade)

    def vouched() -> None:
        if firmware is not None:
            judge_again(workspace, firmware.accepted, allow_unknown=allow_unknown)

    job = Job(
        product=workspace.product,
        firmware=firmware,
        ledger=workspace.ledger,
        open_identity=workspace.open_identity,
        station=workspace.station.name,
        steps=steps,
        logs=workspace.logs_folder,
        now=now,
        challenge=lambda: secrets.token_hex(16),
        vouched=vouched,
        air=air,
        batch=batch,
        serial=serial,
        console_reset=console_reset,
    )
    view = make_view(json_wanted, tuple(slot.name for slot in slots))
    return _watched(Floor(job, slots, loop=loop), view, junit)


def _watched(floor: Floor, view: View, junit: Path | None) -> Summary:
    """Shows all that happens on *floor* until its end, then raises the worst of it."""
    from rmfab.commands.junit import LineReport
    from rmfab.line.events import Summary, UnitEnded

    summary = Summary()
    ended: list[UnitEnded] = []
    report = LineReport()
    bug: Exception | None = None
    try:
        with _stoppable(floor):
            for happening in floor.happenings():
                view.show(happening)
                report.take(happening)
                if isinstance(happening, UnitEnded):
                    summary.count(happening)
                    ended.append(happening)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - weighed against what the units say, and raised there
        bug = error
    finally:
        view.close(summary)
        if junit is not None:
            report.write(junit)
    _raise_worst(floor, summary, ended, bug)
    return summary


def _air(workspace: Workspace, *, joins: bool) -> Air:
    """The station's radio, back in the network that an earlier run may have left; knows the network that units join.

    Raises InputError where that is asked for and not to be had.
    """
    from rmfab.commands.factory_network import ask
    from rmfab.commands.terminal import warn
    from rmfab.line.radio.air import Air

    radio = workspace.station.radio
    network = ask(radio.network) if joins and workspace.product.verify.provision else None
    air = Air(radio, workspace.root / ".wifi-to-go-back-to", network)
    if (wrong := air.come_back()) is not None:
        warn(f"this host is not back in its Wi-Fi network: {wrong}")
    return air


def _check_batches(workspace: Workspace, batch: str | None, *, claims: bool) -> None:
    """Raises where an identity that could be claimed cannot be used here: InputError for another product.toml, and
    StationError for a station that was not admitted to it."""
    ledger = workspace.ledger
    if batch is not None:
        names = [batch]
    elif claims:
        closed = [one.name for one in ledger.batches() if one.closed and one.product == workspace.product.name]
        names = [name for name in closed if ledger.free(workspace.product.name, name)]
    else:
        names = []
    for name in names:
        workspace.check_policy(name)
        workspace.check_key(name)


@contextmanager
def _stoppable(floor: Floor) -> Iterator[None]:
    """The first ^C (or SIGTERM) stops the floor in order; the second is the usual one."""

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, previous[signal.Signals(number)])
        floor.stop()

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise_worst(floor: Floor, summary: Summary, ended: list[UnitEnded], bug: Exception | None) -> None:
    """Raises the error that the exit code is made of: integrity, a bug, ^C, a failed unit, the station, input."""
    from rmfab.ledger.events import Outcome

    errors = [error for error in (floor.stopped_by, *(unit.error for unit in ended)) if error is not None]
    integrity = _first(errors, IntegrityError)
    if integrity is not None:
        raise integrity
    if bug is not None:
        raise bug
    if floor.stopped:
        raise KeyboardInterrupt
    units = summary.passed + summary.failed + summary.errors + summary.aborted
    if summary.failed:
        named = next((unit.serial or unit.mac for unit in ended if unit.outcome is Outcome.FAIL), None)
        tail = f"; see `rmfab trace {named}`" if named else ""
        raise UnitsFailed(f"{summary.failed} of {units} units failed{tail}")
    for kind in (StationError, InputError):
        chosen = _first(errors, kind)
        if chosen is not None:
            raise chosen
    if summary.errors + summary.aborted:
        raise StationError(f"{summary.errors + summary.aborted} of {units} units did not get to a verdict")


def _first(errors: list[RmfabError], kind: type[RmfabError]) -> RmfabError | None:
    return next((error for error in errors if isinstance(error, kind)), None)
