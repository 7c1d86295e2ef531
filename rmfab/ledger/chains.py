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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, false, insert, or_, select, text, update

from rmfab.errors import InputError
from rmfab.field_types import mistyped
from rmfab.files import is_safe_name
from rmfab.ledger.badge import signed, worn
from rmfab.ledger.events import Event
from rmfab.ledger.host_record import Head
from rmfab.ledger.questions import OWN_EVENTS
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.evidence import Evidence, leave, left
from rmfab.ledger.sql.statement import Asked, MissingRow, Statement, answered, change
from rmfab.ledger.stored_events import CHAINED, FIELDS, chain_hash, columns_of, damaged, is_as_written


def genesis(ledger_id: str, chain: str, station: str) -> str:
    """Return the `prev_hash` of the first event of a chain."""
    before_0004 = _sha256(f"rmfab ledger {ledger_id} station {station}")
    if before_0004.startswith(f"{chain}"):  # of a damaged ledger, it may be no text
        return before_0004
    return _sha256(f"rmfab ledger {ledger_id} chain {chain} station {station}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


OWN = text(OWN_EVENTS)
"""`questions.OWN_EVENTS` as a condition of a query of the event table."""

_EVENT = ("chain", "station", "seq", *FIELDS, "prev_hash", "hash")
_MOST = 8
"""How many events one statement adds."""
_ADVANCE = Statement(
    update(schema.chain).where(schema.chain.c.id == bindparam("of_chain")), ("of_chain", "last_seq", "last_hash")
)
_IS_OPEN = and_(schema.chain.c.station == bindparam("of_station"), schema.chain.c.open)
_HEADS = select(schema.chain.c.id, schema.chain.c.last_seq, schema.chain.c.last_hash)
_OPEN_HEADS = _HEADS.where(schema.chain.c.open)
_OPEN = Statement(_HEADS.where(_IS_OPEN).with_for_update())
_LAST = Statement(
    select(*(schema.event.c[name] for name in (*CHAINED, "prev_hash", "hash"))).where(
        schema.event.c.chain == select(schema.chain.c.id).where(_IS_OPEN).scalar_subquery(),
        schema.event.c.seq == select(schema.chain.c.last_seq).where(_IS_OPEN).scalar_subquery(),
    )
)
"""By the key of the table, whatever the database believes of its size."""


def append(
    connection: Connection, ledger_id: str, station: str, events: Iterable[Event], following: Iterable[Asked] = ()
) -> None:
    """Add *events* to the open chain of *station*, in this transaction, with the changes of rows that *following* are.

    Raise InputError for an invalid name, IntegrityError if the chain, or a row that is to be changed, is missing.
    """
    chain, seq, prev_hash = _open_chain(connection, ledger_id, station)
    rows: list[dict[str, Any]] = []
    name = worn(connection)
    for event in events:
        seq += 1
        row = columns_of(signed(event, name)) | {"chain": chain, "station": station, "seq": seq, "prev_hash": prev_hash}
        prev_hash = row["hash"] = chain_hash(prev_hash, row)
        rows.append(row)
    if rows:
        added = [rows[at : at + _MOST] for at in range(0, len(rows), _MOST)]
        advance = (_ADVANCE, {"of_chain": chain, "last_seq": seq, "last_hash": prev_hash})
        try:
            change(connection, map(_adding, added), [advance, *following])
        except MissingRow as error:
            raise damaged("a row that is to be changed is missing", f"station {station}") from error
        leave(connection, Evidence(chain, seq, prev_hash))


def _adding(rows: Sequence[Mapping[str, Any]]) -> Asked:
    """Return the change that adds *rows* to the event table, in their order."""
    return _add(len(rows)), {f"{name}_{at}": value for at, row in enumerate(rows) for name, value in row.items()}


@lru_cache
def _add(count: int) -> Statement:
    """Return the statement that adds *count* events."""
    return Statement(insert(schema.event).values([{n: bindparam(f"{n}_{at}") for n in _EVENT} for at in range(count)]))


def foreseen(station: str) -> Iterator[Asked]:
    """Yield what `append` asks."""
    yield _OPEN, {"of_station": station}
    yield _LAST, {"of_station": station}


def heads(connection: Connection, *, opened: bool = False, station: str | None = None) -> dict[str, Head]:
    """Return the head of every chain by its id, or of the chains of *station*.

    With *opened*, only of those that stations can still add to. Raise IntegrityError if one is invalid.
    """
    query = _OPEN_HEADS if opened else _HEADS
    rows = connection.execute(query if station is None else query.where(schema.chain.c.station == station))
    found = {row.id: Head(row.last_seq, row.last_hash) for row in rows}
    for chain, head in found.items():
        if not isinstance(chain, str) or mistyped(head) is not None:
            raise damaged("the head of a chain is invalid", f"chain {chain}")
    return found


def written(connection: Connection) -> dict[str, Head]:
    """Return the head of the chain to which this transaction added last, by its id; nothing if it added no event."""
    evidence = left(connection)
    return {} if evidence is None else {evidence.chain: Head(evidence.seq, evidence.hash)}


def since(
    connection: Connection, ledger_id: str, station: str, after: Mapping[str, int], *columns: ColumnElement[Any]
) -> set[tuple[Any, ...]]:
    """Return *columns* of the events that *station* added to its chains *after* these numbers, by chain.

    No other process adds any until this transaction ends.
    """
    _open_chain(connection, ledger_id, station)
    event, chain = schema.event, schema.chain
    own = connection.execute(select(chain.c.id).where(chain.c.station == station, chain.c.ledger.is_(None))).scalars()
    late = [and_(event.c.chain == one, event.c.seq > after.get(one, 0)) for one in own]
    return {tuple(row) for row in connection.execute(select(*columns).where(or_(false(), *late)))}


def close_all(connection: Connection) -> None:
    """Close every chain: the next event of a station begins a new one."""
    connection.execute(update(schema.chain).values(open=False))


def _open_chain(connection: Connection, ledger_id: str, station: str) -> tuple[str, int, str]:
    """Return the id, last number and last hash of the open chain of *station*; begin one if there is none.

    Raise IntegrityError if the last event was changed.
    """
    row = _OPEN.first(connection, {"of_station": station})
    if row is None:
        if not is_safe_name(station):
            raise InputError(f'"{station}" is not a station name', hint="use at most 64 of A-Z a-z 0-9 . _ -")
        chain = uuid.uuid4().hex
        first = genesis(ledger_id, chain, station)
        values = {"id": chain, "station": station, "open": True, "last_seq": 0, "last_hash": first}
        connection.execute(insert(schema.chain).values(values))
        answered(connection, (_OPEN, {"of_station": station}), [(chain, 0, first)])
        return chain, 0, first
    if row["last_seq"] == 0:
        sound = row["last_hash"] == genesis(ledger_id, row["id"], station)
    else:
        last = _LAST.first(connection, {"of_station": station})
        sound = last is not None and last["hash"] == row["last_hash"] and is_as_written(last)
    if not sound:
        raise damaged("the last event of the station was changed after it was written", f"station {station}")
    return row["id"], row["last_seq"], row["last_hash"]
