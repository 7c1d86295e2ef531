"""Hash chains: append-only events. A station adds to a chain of its own, and to a new one after each adoption.

A chain has a random id: two hosts with the same station name, or a station that starts again, do not share one. An
event gets a number in its chain when it is stored, and `hash = SHA-256(prev_hash as hex text ‖ canonical JSON of
station, seq and the event)`. The first `prev_hash` of a chain is SHA-256 of
`rmfab ledger <ledger id> chain <chain id> station <name>`, so that a chain cannot move to a different ledger.
Canonical JSON: keys sorted, no spaces, ASCII. `details` is hashed as the text that is stored.

A chain that was merged from a different ledger (`chain.ledger`) has the genesis of that ledger, and is never open.

Chains of ledgers before schema 0004 begin with SHA-256 of `rmfab ledger <ledger id> station <name>`; their id is the
first 32 digits of that.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, bindparam, insert, select, update

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name
from rmfab.ledger.events import Event, EventKind, Outcome, StoredEvent
from rmfab.ledger.host_record import Head
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State


def canonical(value: object) -> str:
    """Return JSON with one spelling per value: sorted keys, no spaces, ASCII. Raise ValueError for NaN and infinity."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
"""Built once: building an encoder takes as long as writing an event."""


def genesis(ledger_id: str, chain: str, station: str) -> str:
    """Return the `prev_hash` of the first event of a chain."""
    before_0004 = _sha256(f"rmfab ledger {ledger_id} station {station}")
    if before_0004.startswith(chain):
        return before_0004
    return _sha256(f"rmfab ledger {ledger_id} chain {chain} station {station}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def chain_hash(prev_hash: str, columns: Mapping[str, Any] | RowMapping) -> str:
    """Return the hash of an event with these *columns* (see `CHAINED`) after *prev_hash*."""
    return hashlib.sha256((prev_hash + canonical({name: columns[name] for name in CHAINED})).encode()).hexdigest()


EVENT_FIELDS = (
    "ts",
    "kind",
    "batch",
    "serial",
    "mac",
    "slot",
    "step",
    "outcome",
    "state",
    "cause",
    "reason",
    "seconds",
    "details",
)
"""The columns of an event itself, without its place in a chain."""
CHAINED = ("station", "seq", *EVENT_FIELDS)
"""The columns that a hash covers: all except the order and the hashes themselves."""

OWN = schema.event.c.chain.not_in(select(schema.chain.c.id).where(schema.chain.c.ledger.is_not(None)))
"""The condition for events that this ledger wrote. Those that were merged are evidence: they change no standing."""

_ADD = insert(schema.event)
_ADVANCE = update(schema.chain).where(schema.chain.c.id == bindparam("of_chain"))
_OPEN = (
    select(schema.chain).where(schema.chain.c.station == bindparam("of_station"), schema.chain.c.open).with_for_update()
)
_LAST = select(schema.event).where(
    schema.event.c.chain == bindparam("of_chain"), schema.event.c.seq == bindparam("of_seq")
)
"""Built once: building a statement takes SQLAlchemy longer than running it."""


def damaged(what: str, where: str) -> IntegrityError:
    """Return the error of a ledger whose parts contradict each other."""
    hint = "list all problems with `rmfab ledger check`; `rmfab ledger rebuild` or a backup repairs them"
    return IntegrityError(f"the ledger is damaged: {what}", where=where, hint=hint, cause="ledger-corrupt")


def append(connection: Connection, ledger_id: str, station: str, events: Iterable[Event]) -> None:
    """Add *events* to the open chain of *station*, in this transaction. Raise InputError for an invalid name."""
    chain, seq, prev_hash = _open_chain(connection, ledger_id, station)
    rows = []
    for event in events:
        seq += 1
        row = _columns(event) | {"chain": chain, "station": station, "seq": seq, "prev_hash": prev_hash}
        prev_hash = row["hash"] = chain_hash(prev_hash, row)
        rows.append(row)
    if rows:
        connection.execute(_ADD, rows)
        connection.execute(_ADVANCE, {"of_chain": chain, "last_seq": seq, "last_hash": prev_hash})


def heads(connection: Connection, *, opened: bool = False) -> dict[str, Head]:
    """Return the head of every chain by its id; with *opened*, only of those that stations can still add to."""
    table = schema.chain
    query = select(table.c.id, table.c.last_seq, table.c.last_hash)
    rows = connection.execute(query.where(table.c.open) if opened else query)
    return {row.id: Head(row.last_seq, row.last_hash) for row in rows}


def lacking(connection: Connection, known: Mapping[str, Head]) -> str | None:
    """Return the id of the first chain that does not contain its head in *known*, None if all do."""
    for chain, head in known.items():
        if head.seq == 0:
            continue
        row = connection.execute(_LAST, {"of_chain": chain, "of_seq": head.seq}).one_or_none()
        if row is None or row.hash != head.hash:
            return chain
    return None


def close_all(connection: Connection) -> None:
    """Close every chain: the next event of a station begins a new one."""
    connection.execute(update(schema.chain).values(open=False))


def stored(row: Row[Any]) -> StoredEvent:
    """Return the event of a row of the event table. Raise IntegrityError if the row was edited and is invalid."""
    columns = row._mapping
    try:
        event = event_in(columns)
    except (ValueError, InputError) as error:
        raise IntegrityError(
            "the event was changed after it was written",
            where=f"station {columns['station']}, event {columns['seq']}",
            hint="run `rmfab ledger check` to list all problems",
            cause="chain",
        ) from error
    return StoredEvent(columns["id"], columns["station"], columns["seq"], event)


def event_in(columns: Mapping[str, Any] | RowMapping) -> Event:
    """Return the event in *columns*. Raise ValueError or InputError if they are invalid."""
    values = {name: columns[name] for name in EVENT_FIELDS}
    values["kind"] = EventKind(values["kind"])
    values["outcome"] = None if values["outcome"] is None else Outcome(values["outcome"])
    values["state"] = None if values["state"] is None else State(values["state"])
    values["details"] = json.loads(values["details"])
    return Event(**values)


def _open_chain(connection: Connection, ledger_id: str, station: str) -> tuple[str, int, str]:
    """Return the id, last number and last hash of the open chain of *station*; begin one if there is none.

    Raise IntegrityError if the last event was changed.
    """
    row = connection.execute(_OPEN, {"of_station": station}).one_or_none()
    if row is None:
        if not is_safe_name(station):
            raise InputError(f'"{station}" is not a station name', hint="use at most 64 of A-Z a-z 0-9 . _ -")
        chain = uuid.uuid4().hex
        first = genesis(ledger_id, chain, station)
        values = {"id": chain, "station": station, "open": True, "last_seq": 0, "last_hash": first}
        connection.execute(insert(schema.chain).values(values))
        return chain, 0, first
    if row.last_seq == 0:
        sound = row.last_hash == genesis(ledger_id, row.id, station)
    else:
        last = connection.execute(_LAST, {"of_chain": row.id, "of_seq": row.last_seq}).one_or_none()
        sound = last is not None and last.hash == row.last_hash == chain_hash(last.prev_hash, last._mapping)
    if not sound:
        raise damaged("the last event of the station was changed after it was written", f"station {station}")
    return row.id, row.last_seq, row.last_hash


def _columns(event: Event) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in EVENT_FIELDS}
    row["kind"] = event.kind.value
    row["outcome"] = None if event.outcome is None else event.outcome.value
    row["state"] = None if event.state is None else event.state.value
    row["details"] = canonical(dict(event.details))
    return row
