"""`rmfab register --check`: which units their cloud has, and which have connected by themselves. Each is an event."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from itertools import islice

from rmfab.cloud.api.judge_row import judge_known
from rmfab.cloud.api.registrar import SeenNode
from rmfab.errors import UnitsFailed
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.registrations import CloudHistory
from rmfab.ledger.states import State
from rmfab.operations.advance import Advance
from rmfab.operations.chosen_units import ChosenUnits, node_of, tell_left_out
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


@unique
class RegistrationProof(StrEnum):
    """How it is known that the cloud has the certificate of a unit, not only its node id: by a JOB of this ledger, or
    by a CHECK at the cloud's broker. Neither API tells certificates."""

    JOB = "job"
    CHECK = "check"


@dataclass(frozen=True)
class UnitLookedUp:
    """A unit that the cloud has (PASS) or not (FAIL). *connected*: when the unit itself last connected or disconnected,
    None if it never did: connections of the station in its name do not count. *proof*: None if a different tool
    registered it, and its certificate is not proven."""

    ts: str
    name: str
    serial: str
    outcome: Outcome
    connected: str | None = None
    cause: str | None = None
    reason: str | None = None
    proof: RegistrationProof | None = None


@dataclass(frozen=True)
class LookUpSummary:
    """How many units *cloud* has, and how many of these have connected and have no proof of their certificate; how many
    are *missing*, and of how many the node id is *taken*."""

    cloud: str
    registered: int = 0
    missing: int = 0
    taken: int = 0
    connected: int = 0
    unproven: int = 0

    def plus(self, one: UnitLookedUp) -> LookUpSummary:
        """Return the numbers with *one* more."""
        there, taken = one.outcome is Outcome.PASS, one.cause == "node-taken"
        return LookUpSummary(
            self.cloud,
            self.registered + there,
            self.missing + (not there and not taken),
            self.taken + taken,
            self.connected + (one.connected is not None),
            self.unproven + (there and one.proof is None),
        )


LookedUp = Advance | UnitLookedUp | LookUpSummary


def look_up_units(
    workspace: Workspace, request: LookUpRequest, terminal: Terminal = UNATTENDED
) -> Generator[LookedUp, None, None]:
    """Ask the cloud for the units; yield each, and last the summary.

    Raise StationError if the cloud cannot be reached, UnitsFailed at the end if it does not have a unit, or if the node
    id is taken.
    """
    chosen = ChosenUnits(workspace, request.units, request.states, "looked up")
    failed: UnitLookedUp | None = None
    with opened_cloud(workspace, request.access, terminal) as cloud:
        summary = LookUpSummary(cloud.name)
        cloud.registrar.sign_in()
        for done, one in enumerate(_found(workspace, cloud, chosen.identities()), 1):
            summary = summary.plus(one)
            failed = failed or (one if one.outcome is Outcome.FAIL else None)
            yield one
            yield Advance(done, chosen.total)
    tell_left_out(chosen.left_out, terminal)
    if summary.unproven:
        terminal.warn(
            f"a different tool registered {counted(summary.unproven, 'unit')}, and the cloud does not tell with which "
            "certificates",
            "`rmfab cloud check` proves that they are the right ones",
        )
    yield summary
    if failed is not None:
        raise _unregistered(summary, failed)


def _unregistered(summary: LookUpSummary, first: UnitLookedUp) -> UnitsFailed:
    total = counted(summary.registered + summary.missing + summary.taken, "unit")
    what = [f"does not have {summary.missing}"] * bool(summary.missing)
    what += [f"has the node ids of {summary.taken} from others"] * bool(summary.taken)
    hint = (
        "`rmfab register` registers what it does not have" if summary.missing else f"see `rmfab trace {first.serial}`"
    )
    return UnitsFailed(f"the cloud {', and '.join(what)} of {total}, such as {first.serial}; {hint}")


def _found(workspace: Workspace, cloud: OpenedCloud, identities: Iterator[LedgerIdentity]) -> Iterator[UnitLookedUp]:
    """Yield each unit after it is recorded."""
    host = workspace.product.identity.mqtt_host
    while some := list(islice(identities, _PAGE)):
        units = [RegistrationUnit.of(one) for one in some]
        certified = [node_of(one).parsed.not_valid_before_utc for one in some]
        histories = workspace.ledger.cloud_histories(cloud.name, host, (unit.name for unit in units))
        nodes = cloud.registrar.nodes(unit.node_id for unit in units)
        seen = list(zip(units, certified, nodes, strict=True))
        ts = timestamp(workspace.now())
        found = [_judged(ts, unit, since, node, histories.get(unit.name, CloudHistory())) for unit, since, node in seen]
        with undisturbed():
            workspace.ledger.checked(workspace.station.name, [_event(cloud, one) for one in found])
        yield from found


def _judged(
    ts: str, unit: RegistrationUnit, certified: datetime, node: SeenNode, history: CloudHistory
) -> UnitLookedUp:
    """Return what *node* says of *unit* with its *history*; its certificate is valid from *certified* on."""
    proof = _proof(history, unit)
    fault = judge_known(node, certified, taken=history.taken, proven=proof is not None)
    if fault is not None:
        return UnitLookedUp(ts, unit.name, unit.serial, Outcome.FAIL, None, fault.cause, fault.what)
    changed, station = node.changed, history.station
    if changed is not None and station is not None and changed <= datetime.fromisoformat(station) + _SETTLED:
        changed = None
    connected = None if changed is None else timestamp(changed)
    return UnitLookedUp(ts, unit.name, unit.serial, Outcome.PASS, connected, proof=proof)


def _proof(history: CloudHistory, unit: RegistrationUnit) -> RegistrationProof | None:
    if history.ours:
        return RegistrationProof.JOB
    return RegistrationProof.CHECK if history.proven == unit.certificate else None


def _event(cloud: OpenedCloud, one: UnitLookedUp) -> Event:
    return Event(
        one.ts,
        EventKind.LOOKUP,
        serial=one.name,
        outcome=one.outcome,
        cause=one.cause,
        reason=one.reason,
        details={"cloud": cloud.name, "connected": one.connected, "proof": one.proof},
    )
