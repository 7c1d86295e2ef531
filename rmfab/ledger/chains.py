"""Hash chains: append-only events, one chain per station.

An event gets a number in the chain of its station when it is stored, and
`hash = SHA-256(prev_hash as hex text ‖ canonical JSON of station, seq and the event)`. The first `prev_hash` of a
chain is SHA-256 of `rmfab ledger <ledger id> station <name>`, so that a chain cannot move to a different ledger.
Canonical JSON: keys sorted, no spaces, ASCII. `details` is hashed as the text that is stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, bindparam, insert, select, update

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name
from rmfab.ledger.events import Event, EventKind, Outcome, StoredEvent
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State


def canonical(value: object) -> str:
    """Return JSON with one spelling per value: sorted keys, no spaces, ASCII. Raise ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def genesis(ledger_id: str, station: str) -> str:
    """Return the `prev_hash` of the first event of a station."""
    return hashlib.sha256(f"rmfab ledger {ledger_id} station {station}".encode()).hexdigest()


def chain_hash(prev_hash: str, columns: Mapping[str, Any] | RowMapping) -> str:
    """Return the hash of an event with these *columns* (see `CHAINED`) after *prev_hash*."""
    return hashlib.sha256((prev_hash + canonical({name: columns[name] for name in CHAINED})).encode()).hexdigest()


_FIELDS = (
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
CHAINED = ("station", "seq", *_FIELDS)
"""The columns that a hash covers: all except the order and the hashes themselves."""

_ADD = insert(schema.event)
_ADVANCE = update(schema.station).where(schema.station.c.name == bindparam("of_name"))
_HEAD = select(schema.station).where(schema.station.c.name == bindparam("of_name")).with_for_update()
_LAST = select(schema.event).where(
    schema.event.c.station == bindparam("of_name"), schema.event.c.seq == bindparam("of_seq")
)
"""Built once: building a statement takes SQLAlchemy longer than running it."""


def damaged(what: str, where: str) -> IntegrityError:
    """Return the error of a ledger whose parts contradict each other."""
    hint = "list all problems with `rmfab ledger check`; `rmfab ledger rebuild` or a backup repairs them"
    return IntegrityError(f"the ledger is damaged: {what}", where=where, hint=hint, cause="ledger-corrupt")


def append(connection: Connection, ledger_id: str, station: str, events: Iterable[Event]) -> None:
    """Add *events* to the chain of *station*, in this transaction. Raise InputError for an invalid station name."""
    seq, prev_hash = _head(connection, ledger_id, station)
    rows = []
    for event in events:
        seq += 1
        row = _columns(event) | {"station": station, "seq": seq, "prev_hash": prev_hash}
        prev_hash = row["hash"] = chain_hash(prev_hash, row)
        rows.append(row)
    if rows:
        connection.execute(_ADD, rows)
        connection.execute(_ADVANCE, {"of_name": station, "last_seq": seq, "last_hash": prev_hash})


def stored(row: Row[Any]) -> StoredEvent:
    """Return the event of a row of the event table. Raise IntegrityError if the row was edited and is invalid."""
    columns = row._mapping
    try:
        event = _event({name: columns[name] for name in _FIELDS})
    except (ValueError, InputError) as error:
        raise IntegrityError(
            "the event was changed after it was written",
            where=f"station {columns['station']}, event {columns['seq']}",
            hint="run `rmfab ledger check` to list all problems",
            cause="chain",
        ) from error
    return StoredEvent(columns["id"], columns["station"], columns["seq"], event)


def _event(values: dict[str, Any]) -> Event:
    values["kind"] = EventKind(values["kind"])
    values["outcome"] = None if values["outcome"] is None else Outcome(values["outcome"])
    values["state"] = None if values["state"] is None else State(values["state"])
    values["details"] = json.loads(values["details"])
    return Event(**values)


def _head(connection: Connection, ledger_id: str, station: str) -> tuple[int, str]:
    """Return number and hash of the last event of *station*. Raise IntegrityError if that event was changed."""
    row = connection.execute(_HEAD, {"of_name": station}).one_or_none()
    if row is None:
        if not is_safe_name(station):
            raise InputError(f'"{station}" is not a station name', hint="use at most 64 of A-Z a-z 0-9 . _ -")
        first = genesis(ledger_id, station)
        connection.execute(insert(schema.station).values(name=station, last_seq=0, last_hash=first))
        return 0, first
    if row.last_seq == 0:
        sound = row.last_hash == genesis(ledger_id, station)
    else:
        last = connection.execute(_LAST, {"of_name": station, "of_seq": row.last_seq}).one_or_none()
        sound = last is not None and last.hash == row.last_hash == chain_hash(last.prev_hash, last._mapping)
    if not sound:
        raise damaged("the last event of the station was changed after it was written", f"station {station}")
    return row.last_seq, row.last_hash


def _columns(event: Event) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in _FIELDS}
    row["kind"] = event.kind.value
    row["outcome"] = None if event.outcome is None else event.outcome.value
    row["state"] = None if event.state is None else event.state.value
    row["details"] = canonical(dict(event.details))
    return row
