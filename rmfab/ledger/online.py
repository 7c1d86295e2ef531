"""Which units may be on a network, and so connected to their cloud: those that joined one and were not reset since.

Read from the events: the step `provision` may give a unit the factory network, the step `cloud` needs one, and the step
`reset` takes it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from sqlalchemy import Connection, select

from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.queries import PAGE
from rmfab.ledger.sql import schema
from rmfab.ledger.stored_events import FIELDS, event_in

_STEPS = ("provision", "cloud", "reset")
_AFTER_SENDING = frozenset({"join-failed", "join-timeout", "join-unproven", "no-mqtt"})
"""Causes of a step `provision` that had already sent the network to the unit."""
_UNSURE = (Outcome.ERROR, Outcome.ABORTED)


def maybe_online(connection: Connection, names: Iterable[str]) -> set[str]:
    """Return those of the identities *names* whose units may be on a network, in doubt too."""
    found: set[str] = set()
    remaining = iter(names)
    while some := list(islice(remaining, PAGE)):
        found |= _online_among(connection, some)
    return found


def _online_among(connection: Connection, names: list[str]) -> set[str]:
    event = schema.event.c
    query = (
        select(*(event[name] for name in FIELDS))
        .where(event.serial.in_(names), event.kind == EventKind.STEP.value, event.step.in_(_STEPS))
        .order_by(event.id)
    )
    found: set[str] = set()
    for row in connection.execute(query):
        step = event_in(row._mapping)
        if step.step == "reset" and step.outcome is Outcome.PASS:
            found.discard(str(step.serial))
        elif _may_be_on_network(step):
            found.add(str(step.serial))
    return found


def _may_be_on_network(step: Event) -> bool:
    """Return whether the unit may have a network after *step*."""
    match step.step:
        case "cloud":
            return step.outcome is not Outcome.SKIP
        case "provision":
            return _sent_network(step)
    return False


def _sent_network(step: Event) -> bool:
    """Return whether a step `provision` may have sent a network to the unit."""
    checks = step.details.get("checks", {})
    if not isinstance(checks, Mapping):  # no rmfab wrote it: in doubt the unit is online
        return True
    if checks.get("join") == Outcome.PASS.value or step.cause in _AFTER_SENDING:
        return True
    return step.outcome in _UNSURE and "session" in checks
