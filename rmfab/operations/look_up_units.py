"""`rmfab register --check`: which units their cloud has, and which have connected by themselves. Each is an event."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from rmfab.cloud.api.registrar import SeenNode
from rmfab.errors import UnitsFailed
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.states import State
from rmfab.operations.advance import Advance
from rmfab.operations.chosen_units import ChosenUnits, tell_left_out
from rmfab.operations.open_registrar import CloudAccess, OpenedCloud, opened_cloud
from rmfab.operations.registration_job import RegistrationUnit
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.signals import undisturbed
from rmfab.workspace.workspace import Workspace

_PAGE = 100
_SETTLED = timedelta(minutes=1)
"""The cloud notes the end of a connection a little after the station recorded it, and by a clock of its own."""


@dataclass(frozen=True)
class LookUpRequest:
    """Look up *units* (batches and serials) in the cloud of *access*; *states*: only those in these states."""

    units: tuple[str, ...]
    access: CloudAccess
    states: tuple[State, ...] = ()


@dataclass(frozen=True)
class UnitLookedUp:
    """A unit that the cloud has (PASS) or not (FAIL). *connected*: when the unit itself last connected or disconnected,
    None if it never did: connections of the station in its name do not count."""

    ts: str
    name: str
    serial: str
    outcome: Outcome
    connected: str | None = None
    cause: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LookUpSummary:
    """How many units *cloud* has, does not have, and how many of them have connected."""

    cloud: str
    registered: int
    missing: int
    connected: int


LookedUp = Advance | UnitLookedUp | LookUpSummary


def look_up_units(
    workspace: Workspace, request: LookUpRequest, terminal: Terminal = UNATTENDED
) -> Generator[LookedUp, None, None]:
    """Ask the cloud for the units; yield each, and last the summary.

    Raise StationError if the cloud cannot be reached, UnitsFailed at the end if it does not have a unit.
    """
    chosen = ChosenUnits(workspace, request.units, request.states, "looked up")
    registered, connected, missing = 0, 0, list[str]()
    with opened_cloud(workspace, request.access, terminal) as cloud:
        cloud.registrar.sign_in()
        for one in _found(workspace, cloud, (RegistrationUnit.of(unit) for unit in chosen.identities())):
            registered += one.outcome is Outcome.PASS
            connected += one.connected is not None
            missing += [one.serial] * (one.outcome is Outcome.FAIL)
            yield one
            yield Advance(registered + len(missing), chosen.total)
    tell_left_out(chosen.left_out, terminal)
    yield LookUpSummary(cloud.name, registered, len(missing), connected)
    if missing:
        what = f"the cloud does not have {len(missing)} of {counted(registered + len(missing), 'unit')}"
        raise UnitsFailed(f"{what}, such as {missing[0]}; `rmfab register` registers them")


def _found(workspace: Workspace, cloud: OpenedCloud, units: Iterator[RegistrationUnit]) -> Iterator[UnitLookedUp]:
    """Yield each unit after it is recorded."""
    while some := list(islice(units, _PAGE)):
        stations = workspace.ledger.last_connections(unit.name for unit in some)
        nodes = {node.node_id: node for node in cloud.registrar.nodes(unit.node_id for unit in some)}
        ts = timestamp(workspace.now())
        found = [_judged(ts, unit, nodes[unit.node_id], stations.get(unit.name)) for unit in some]
        with undisturbed():
            workspace.ledger.checked(workspace.station.name, [_event(cloud, one) for one in found])
        yield from found


def _judged(ts: str, unit: RegistrationUnit, node: SeenNode, station: str | None) -> UnitLookedUp:
    """Return what *node* says of *unit*, in whose name this station last connected at *station*."""
    if not node.known:
        return UnitLookedUp(
            ts, unit.name, unit.serial, Outcome.FAIL, None, "not-registered", "the cloud does not have the unit"
        )
    changed = node.changed
    if changed is not None and station is not None and changed <= datetime.fromisoformat(station) + _SETTLED:
        changed = None
    return UnitLookedUp(ts, unit.name, unit.serial, Outcome.PASS, None if changed is None else timestamp(changed))


def _event(cloud: OpenedCloud, one: UnitLookedUp) -> Event:
    return Event(
        one.ts,
        EventKind.LOOKUP,
        serial=one.name,
        outcome=one.outcome,
        cause=one.cause,
        reason=one.reason,
        details={"cloud": cloud.name, "connected": one.connected},
    )
