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
import uuid
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, insert, select, text, update

from rmfab.errors import InputError
from rmfab.files import is_safe_name
from rmfab.ledger.events import Event
from rmfab.ledger.host_record import Head
from rmfab.ledger.questions import OWN_EVENTS
from rmfab.ledger.sql import schema
from rmfab.ledger.stored_events import chain_hash, columns_of, damaged


def genesis(ledger_id: str, chain: str, station: str) -> str:
    """Return the `prev_hash` of the first event of a chain."""
    before_0004 = _sha256(f"rmfab ledger {ledger_id} station {station}")
    if before_0004.startswith(chain):
        return before_0004
    return _sha256(f"rmfab ledger {ledger_id} chain {chain} station {station}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


OWN = text(OWN_EVENTS)
"""`questions.OWN_EVENTS` as a condition of a query of the event table."""

_ADD = insert(schema.event)
_ADVANCE = update(schema.chain).where(schema.chain.c.id == bindparam("of_chain"))
_OPEN = (
    select(schema.chain).where(schema.chain.c.station == bindparam("of_station"), schema.chain.c.open).with_for_update()
)
_HEADS = select(schema.chain.c.id, schema.chain.c.last_seq, schema.chain.c.last_hash)
_OPEN_HEADS = _HEADS.where(schema.chain.c.open)
_LAST = select(schema.event).where(
    schema.event.c.chain == bindparam("of_chain"), schema.event.c.seq == bindparam("of_seq")
)
"""Built once: building a statement takes SQLAlchemy longer than running it."""


def append(connection: Connection, ledger_id: str, station: str, events: Iterable[Event]) -> None:
    """Add *events* to the open chain of *station*, in this transaction. Raise InputError for an invalid name."""
    chain, seq, prev_hash = _open_chain(connection, ledger_id, station)
    rows = []
    for event in events:
        seq += 1
        row = columns_of(event) | {"chain": chain, "station": station, "seq": seq, "prev_hash": prev_hash}
        prev_hash = row["hash"] = chain_hash(prev_hash, row)
        rows.append(row)
    if rows:
        connection.execute(_ADD, rows)
        connection.execute(_ADVANCE, {"of_chain": chain, "last_seq": seq, "last_hash": prev_hash})


def heads(connection: Connection, *, opened: bool = False) -> dict[str, Head]:
    """Return the head of every chain by its id; with *opened*, only of those that stations can still add to."""
    rows = connection.execute(_OPEN_HEADS if opened else _HEADS)
    return {row.id: Head(row.last_seq, row.last_hash) for row in rows}


def close_all(connection: Connection) -> None:
    """Close every chain: the next event of a station begins a new one."""
    connection.execute(update(schema.chain).values(open=False))


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
