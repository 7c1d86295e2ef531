"""Outcomes of units: steps and verdicts, voids, labels; each event with the standing that follows from it.

An event and the change that it makes are one transaction, so history and current state cannot diverge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from rmfab.errors import InputError, RmfabError
from rmfab.ledger import chains
from rmfab.ledger.batches import keys_digest
from rmfab.ledger.chains import append
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.label_words import LabelWord, word_in
from rmfab.ledger.queries import (
    PAGE,
    batch_value,
    by_name,
    named,
    names_of,
    standing_changes,
    standing_rows,
    standing_value,
)
from rmfab.ledger.records import LedgerIdentity, refuse_handed_over
from rmfab.ledger.soundness import events_of, refuse_damaged
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.statement import Asked, Statement, foresee
from rmfab.ledger.standing import Standing, project
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import columns_of

_STANDS = Statement(
    select(*standing_rows(), schema.batch.c.name.label("batch_name"))
    .join_from(schema.identity, schema.batch)
    .where(schema.identity.c.serial == bindparam("of_serial"))
    .with_for_update(of=schema.identity)
)
_RECORDED = (EventKind.STEP, EventKind.UNIT, EventKind.UPDATE)


def record(connection: Connection, ledger_id: str, station: str, events: Iterable[Event]) -> None:
    """Add steps, verdicts, updates that units are told, and what is known of labels that printers print; change the
    state of a unit if an event contains one.

    Raise InputError for an unknown serial or a state that is not allowed next, BoardConflict (cause `mac-mismatch`)
    for an event whose MAC is not the unit's, ValueError for events that have their own function.
    """
    said = list(events)
    if any(event.kind not in _RECORDED and not _of_printer(event) for event in said):
        raise ValueError("record() accepts only steps, verdicts, updates and words of labels; use claim() or void()")
    if any(event.state not in (None, State.FLASHED, State.VERIFIED, State.FAILED) for event in said):
        raise ValueError("a step can only set the state flashed, verified or failed")
    _take(connection, ledger_id, station, said)


def void(
    connection: Connection,
    ledger_id: str,
    station: str,
    terms: Iterable[str],
    reason: str,
    ts: str,
    seen: Mapping[str, Standing],
) -> tuple[LedgerIdentity, ...]:
    """Void the identities that *terms* name (see `queries.named`) permanently, with one event each; return them.

    One that is already void is returned unchanged. *seen* is what the operator was shown, by name. Raise InputError
    if a term matches none, or more than one, or if a unit is handed over, or is not as it was *seen*; then nothing is
    voided.
    """
    chosen = {identity.name: identity for identity in (named(connection, term, lock=True) for term in terms)}
    live = [identity for identity in chosen.values() if identity.state is not State.VOID]
    for identity in live:
        refuse_handed_over(identity)
        if seen.get(identity.name, identity.standing) != identity.standing:
            raise InputError(
                f"the unit has changed meanwhile: it is {identity.state} now",
                where=identity.serial,
                hint="run the command again to see what it is now",
                cause="state",
            )
    _take(connection, ledger_id, station, [identity.voided(ts, reason) for identity in live])
    return tuple(by_name(connection, name) or identity for name, identity in chosen.items())


def labelled(
    connection: Connection, ledger_id: str, station: str, serials: Iterable[str], ts: str, details: Mapping[str, Any]
) -> None:
    """Record that labels were printed, or printed again. Raise InputError for an unknown serial."""
    remaining = iter(serials)
    while some := list(islice(remaining, PAGE)):
        events = [Event(ts, EventKind.LABEL, serial=serial, details=details) for serial in some]
        _take(connection, ledger_id, station, events)


def sending(connection: Connection, ledger_id: str, station: str, event: Event, seen: Standing) -> None:
    """Record that a printer is about to get a label of the unit whose standing was *seen*.

    Raise InputError for an unknown serial, and (cause `changed-meanwhile`) if the unit's labels are different now.
    """
    if event.details.get("word") != LabelWord.SENDING:
        raise ValueError("sending() accepts only the intention to print")
    now = dict(_standings(connection, {event.serial or ""}))
    if any(standing.label_facts != seen.label_facts for _, standing in now.values()):
        raise InputError(
            "a label of this unit was printed meanwhile",
            where=event.serial,
            hint="see `rmfab trace`, and run the command again if it should have one more",
            cause="changed-meanwhile",
        )
    _take(connection, ledger_id, station, [event])


def checked(connection: Connection, ledger_id: str, station: str, events: Iterable[Event]) -> None:
    """Record what happened to units in their cloud: events of the kinds `check`, `register` and `lookup`.

    Raise InputError for an unknown serial.
    """
    said = list(events)
    if any(not event.kind.of_cloud or event.state is not None for event in said):
        raise ValueError("checked() accepts only what happens in the cloud, which changes no state")
    _take(connection, ledger_id, station, said)


def reconciled(
    connection: Connection,
    ledger_id: str,
    station: str,
    events: Iterable[Event],
    seen: Mapping[str, Standing],
) -> None:
    """Record what was found about boards: events of kind `reconcile`, and a void for each claim that is given up.

    *seen*: the standings that this was decided by, by name. Raise InputError (cause `changed-meanwhile`) if one of
    them is different now.
    """
    said = list(events)
    if any(event.kind not in (EventKind.RECONCILE, EventKind.VOID) for event in said):
        raise ValueError("reconciled() accepts only findings, and the voids that follow from them")
    now = dict(_standings(connection, set(seen)))
    if now.keys() != seen.keys():
        raise ValueError("seen has a unit that is not in the ledger by this name")
    for name, (_, standing) in now.items():
        if standing != seen[name]:
            raise InputError(
                "the unit has changed since its board was read",
                where=name,
                hint="end the line that works on it, then reconcile again",
                cause="changed-meanwhile",
            )
    _take(connection, ledger_id, station, said)


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


def replay(
    connection: Connection, ledger_id: str, station: str, events: Iterable[Event], after: Mapping[str, int]
) -> tuple[str, ...]:
    """Add those steps and verdicts of *events* that *station* has not added yet, as `record` does.

    *after*: the number of an event before all of them, by chain. What happened is recorded in any case: an event that
    does not fit its unit any more, because others worked on it meanwhile, changes nothing. Return why, for each.
    """
    table = schema.event
    place = (table.c.ts, table.c.kind, table.c.slot, table.c.step, table.c.outcome, table.c.seconds)
    there = chains.since(connection, ledger_id, station, after, *place)
    said = [event for event in events if tuple(columns_of(event)[one.name] for one in place) not in there]
    misfits: list[str] = []
    _take(connection, ledger_id, station, said, misfits)
    return tuple(misfits)


def _take(
    connection: Connection, ledger_id: str, station: str, events: list[Event], misfits: list[str] | None = None
) -> None:
    """Append *events*, completed with the batch and MAC of their unit, and write the standings that follow.

    *misfits* gets the reason of each event that does not fit its unit; None: it is an error.
    """
    serials = {event.serial for event in events if event.serial is not None}
    known = dict(_standings(connection, serials))
    if given := serials - known.keys():
        names = names_of(connection, given)
        events = [replace(event, serial=names.get(event.serial or "", event.serial)) for event in events]
        known |= _standings(connection, set(names.values()))
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
            event, after = _projected(standing, event, misfits)
            known[serial] = batch, after
            if after != standing:
                changed[serial] = after
        said.append(event)
    append(connection, ledger_id, station, said, standing_changes(changed))


def _of_printer(event: Event) -> bool:
    return event.kind is EventKind.LABEL and word_in(event.details) is not None


def _projected(standing: Standing, event: Event, misfits: list[str] | None) -> tuple[Event, Standing]:
    """Return *event*, without its state if it does not fit and *misfits* gets the reason; and the standing after it."""
    try:
        return event, project(standing, event)
    except RmfabError as error:
        if misfits is None:
            raise
        misfits.append(f"{event.serial}: {error.what}")
        event = replace(event, state=None, details=dict(event.details) | {"misfit": error.what})
        return event, standing


def _filled(event: Event, batch: str, standing: Standing) -> Event:
    return replace(event, batch=event.batch or batch, mac=event.mac or standing.mac)


def foreseen(events: Iterable[Event]) -> Iterator[Asked]:
    """Yield what `record` asks for *events*, so that a server can be asked at once. See `statement.foresee`."""
    for serial in islice(sorted({event.serial for event in events if event.serial is not None}), PAGE):
        yield _STANDS, {"of_serial": serial}
        yield events_of(serial)


def _standings(connection: Connection, serials: set[str]) -> Iterator[tuple[str, tuple[str, Standing]]]:
    remaining = iter(sorted(serials))
    while some := [(_STANDS, {"of_serial": serial}) for serial in islice(remaining, PAGE)]:
        with foresee(connection, some):
            for query, values in some:
                for row in query.rows(connection, values):
                    yield row["serial"], (row["batch_name"], standing_value(row))
