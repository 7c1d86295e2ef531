"""Outcomes of units: steps and verdicts, voids, labels; each event with the standing that follows from it.

An event and the change that it makes are one transaction, so history and current state cannot diverge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select, update

from rmfab.errors import InputError
from rmfab.ledger.batches import keys_digest
from rmfab.ledger.chains import append
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.queries import (
    PAGE,
    batch_value,
    by_serial,
    find,
    hint_for_unknown,
    standing_value,
    write_standings,
)
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.soundness import refuse_damaged
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import Standing, project
from rmfab.ledger.states import State

_RECORDED = (EventKind.STEP, EventKind.UNIT)


def record(connection: Connection, ledger_id: str, station: str, events: Iterable[Event]) -> None:
    """Add steps and verdicts, and change the state of a unit if an event contains one.

    Raise InputError for an unknown serial or a state that is not allowed next, IntegrityError (cause `mac-mismatch`)
    for an event whose MAC is not the unit's, ValueError for events that have their own function.
    """
    said = list(events)
    if any(event.kind not in _RECORDED for event in said):
        raise ValueError("record() accepts only steps and verdicts; use claim(), void() or labelled()")
    if any(event.state not in (None, State.FLASHED, State.VERIFIED, State.FAILED) for event in said):
        raise ValueError("a step can only set the state flashed, verified or failed")
    _take(connection, ledger_id, station, said)


def void(connection: Connection, ledger_id: str, station: str, term: str, reason: str, ts: str) -> LedgerIdentity:
    """Void an identity permanently: the one with serial or node id *term*, or of the live unit with MAC *term*.

    Return an identity that is already void unchanged. Raise InputError if *term* matches none, or more than one.
    """
    named = find(connection, term)
    live = [identity for identity in named if identity.state is not State.VOID]
    if not named:
        hint = hint_for_unknown(connection, term) or "give a serial, a node id or a MAC"
        raise InputError(f'no identity in the ledger matches "{term}"', hint=hint)
    if not live:
        return named[-1]
    if len(live) > 1:
        raise InputError(
            f'"{term}" matches {" and ".join(identity.serial for identity in live)}',
            hint="give a serial or node id that matches only one of them, or the MAC",
        )
    identity = live[0]
    if identity.state is State.HANDED_OVER:
        raise InputError(
            f"{identity.serial} is handed over: whoever has it may have used it",
            hint="declare the whole handover lost with `rmfab handover --lost N`, or void it where it is",
            cause="handed-over",
        )
    event = Event(
        ts,
        EventKind.VOID,
        batch=identity.batch,
        serial=identity.serial,
        mac=identity.mac,
        state=State.VOID,
        cause="void",
        reason=reason,
    )
    _take(connection, ledger_id, station, [event])
    return by_serial(connection, identity.serial) or identity


def labelled(
    connection: Connection, ledger_id: str, station: str, serials: Iterable[str], ts: str, details: Mapping[str, Any]
) -> None:
    """Record that labels were printed, or printed again. Raise InputError for an unknown serial."""
    remaining = iter(serials)
    while some := list(islice(remaining, PAGE)):
        events = [Event(ts, EventKind.LABEL, serial=serial, details=details) for serial in some]
        _take(connection, ledger_id, station, events)


def rewrap(
    connection: Connection,
    ledger_id: str,
    station: str,
    wrapped: Mapping[int, bytes],
    ts: str,
    recipients: Iterable[str],
) -> None:
    """Replace wrapped data keys by chunk id, with one event per batch. Raise KeyError for an unknown chunk."""
    table = schema.chunk
    touched = set()
    for chunk_id, key in wrapped.items():
        batch_id = connection.execute(select(table.c.batch_id).where(table.c.id == chunk_id)).scalar_one_or_none()
        if batch_id is None:
            raise KeyError(chunk_id)
        connection.execute(update(table).where(table.c.id == chunk_id).values(wrapped_key=key))
        touched.add(batch_id)
    names = list(recipients)
    events = []
    for batch_id in sorted(touched):
        batch = batch_value(connection.execute(select(schema.batch).where(schema.batch.c.id == batch_id)).one())
        details = {"recipients": names, "keys": keys_digest(connection, batch)}
        events.append(Event(ts, EventKind.ADMIT, batch=batch.name, details=details))
    append(connection, ledger_id, station, events)


def _take(connection: Connection, ledger_id: str, station: str, events: list[Event]) -> None:
    """Append *events*, completed with the batch and MAC of their unit, and write the standings that follow."""
    known = dict(_standings(connection, {event.serial for event in events if event.serial is not None}))
    for name, (_, standing) in known.items():
        refuse_damaged(connection, name, standing)
    changed: dict[str, Standing] = {}
    said = []
    for event in events:
        serial = event.serial
        if serial is not None:
            if serial not in known:
                raise InputError(f"there is no identity {serial} in the ledger", cause="no-serial")
            batch, standing = known[serial]
            event = _filled(event, batch, standing)
            after = project(standing, event)
            known[serial] = batch, after
            if after != standing:
                changed[serial] = after
        said.append(event)
    append(connection, ledger_id, station, said)
    write_standings(connection, changed)


def _filled(event: Event, batch: str, standing: Standing) -> Event:
    return replace(event, batch=event.batch or batch, mac=event.mac or standing.mac)


def _standings(connection: Connection, serials: set[str]) -> Iterator[tuple[str, tuple[str, Standing]]]:
    table = schema.identity
    query = select(table, schema.batch.c.name.label("batch_name")).join(schema.batch)
    remaining = iter(sorted(serials))
    while some := list(islice(remaining, PAGE)):
        for row in connection.execute(query.where(table.c.serial.in_(some)).with_for_update(of=table)):
            yield row.serial, (row.batch_name, standing_value(row))
