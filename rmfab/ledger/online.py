"""Which units may be on a network, and so connected to their cloud: those that joined one and were not reset since.

Read from the events: the step `provision` may give a unit the factory network, the step `cloud` needs one, and the step
`reset` takes it away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select

from rmfab.ledger.events import EventKind, Outcome
from rmfab.ledger.queries import PAGE
from rmfab.ledger.sql import schema
from rmfab.ledger.stored_events import Columns

_STEPS = ("provision", "cloud", "reset")
_AFTER_SENDING = frozenset({"join-failed", "join-timeout", "join-unproven", "no-mqtt"})
"""Causes of a step `provision` that had already sent the network to the unit."""
_UNSURE = (Outcome.ERROR.value, Outcome.ABORTED.value)


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
        select(event.serial, event.step, event.outcome, event.cause, event.details)
        .where(event.serial.in_(names), event.kind == EventKind.STEP.value, event.step.in_(_STEPS))
        .order_by(event.id)
    )
    found: set[str] = set()
    for row in connection.execute(query):
        columns = row._mapping
        if columns["step"] == "reset" and columns["outcome"] == Outcome.PASS.value:
            found.discard(columns["serial"])
        elif columns["step"] == "cloud" or (columns["step"] == "provision" and _sent_network(columns)):
            found.add(columns["serial"])
    return found


def _sent_network(columns: Columns) -> bool:
    """Return whether a step `provision` may have sent a network to the unit."""
    checks: Any = json.loads(columns["details"]).get("checks", {})
    if checks.get("join") == Outcome.PASS.value or columns["cause"] in _AFTER_SENDING:
        return True
    return columns["outcome"] in _UNSURE and "session" in checks
