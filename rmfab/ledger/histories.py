"""The histories of units: each with its standing and what happened to it on the line, in pages of constant memory.

Verdicts alone are read by the numbers of a chain: that takes no longer in a ledger of a million events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from rmfab.field_types import mistyped
from rmfab.ledger.events import EventKind, Outcome
from rmfab.ledger.host_record import Head
from rmfab.ledger.queries import PAGE, names_in, standing_rows, standing_value
from rmfab.ledger.records import Batch
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import damaged, details_in

_KINDS = (EventKind.STEP, EventKind.UNIT, EventKind.CLAIM, EventKind.VOID)


class PastEvent(NamedTuple):
    """A row of the event table: what a history needs of it, as it is stored. A million of them must be read quickly."""

    serial: str | None
    chain: str
    station: str
    ts: str
    kind: str
    mac: str | None
    slot: str | None
    step: str | None
    outcome: str | None
    state: str | None
    cause: str | None
    reason: str | None
    seconds: float | None
    details_text: str

    @property
    def details(self) -> Mapping[str, Any]:
        """The details."""
        return {} if self.details_text == "{}" else details_in(self.details_text)


@dataclass(frozen=True)
class UnitHistory:
    """An identity of *batch* with its *standing*, and its *events* on the line in the order of the ledger."""

    batch: str
    product: str
    name: str
    node_id: str | None
    standing: Standing
    events: tuple[PastEvent, ...]

    @property
    def serial(self) -> str:
        """The serial of the unit."""
        return self.standing.given_serial or self.name


@dataclass(frozen=True)
class ChainHead:
    """The head of a chain of *station*: its last event has number *seq* and this *hash*. *merged*: of a return."""

    station: str
    chain: str
    head: Head
    merged: bool


@dataclass(frozen=True)
class LostRuns:
    """How many runs on a slot ended with *cause* before the board had an identity."""

    station: str
    slot: str
    cause: str
    count: int


_EVENT_COLUMNS = [
    schema.event.c["details" if name == "details_text" else name].label(name) for name in PastEvent._fields
]
_EVENTS = select(*_EVENT_COLUMNS).where(schema.event.c.kind.in_([kind.value for kind in _KINDS]))


def page(
    connection: Connection, batch: Batch, after: int, states: Collection[State] | None, since: str | None
) -> tuple[Sequence[UnitHistory], int]:
    """Return the histories of up to `PAGE` identities of *batch* after position *after*, and the last position.

    *states*: only identities in these, by default those that are or were bound to a board. *since*: only those to which
    something happened on the line at that ledger time or later.
    """
    rows = list(connection.execute(_identities(batch, after, states, since)))
    found = _EVENTS.where(schema.event.c.serial.in_(names_in(rows)))
    ordered = connection.execute(found.order_by(schema.event.c.serial, schema.event.c.id))
    past = groupby(map(_past_event, ordered), lambda one: one.serial)
    events = {name: tuple(some) for name, some in past}
    histories = [
        UnitHistory(
            batch.name,
            batch.product,
            row.serial,
            row.node_id,
            standing_value(row._mapping),
            events.get(row.serial, ()),
        )
        for row in rows
    ]
    for one in histories:
        if wrong := mistyped(one):
            raise damaged(f"an identity has an invalid {wrong}", one.name)
    return histories, rows[-1].position if rows else after


def _past_event(row: Iterable[Any]) -> PastEvent:
    """Return the event in a row. Raise IntegrityError if it has bytes, or no details: the row was changed."""
    event = PastEvent._make(row)
    if bytes in map(type, event) or event.details_text is None:
        raise damaged("an event was changed after it was written", f"{event.serial}")
    return event


def _identities(batch: Batch, after: int, states: Collection[State] | None, since: str | None) -> Select[Any]:
    table = schema.identity
    query = select(table.c.position, table.c.node_id, *standing_rows())
    query = query.where(table.c.batch_id == batch.id, table.c.position > after)
    if states is None:
        query = query.where(table.c.mac.is_not(None))
    else:
        query = query.where(table.c.state.in_([state.value for state in states]))
    if since is not None:
        event = schema.event
        late = select(event.c.id).where(event.c.serial == table.c.serial, event.c.ts >= since)
        query = query.where(late.exists())
    return query.order_by(table.c.position).limit(PAGE)


def heads(connection: Connection) -> tuple[ChainHead, ...]:
    """Return the heads of all chains that have an event, in order of stations; the one that is open last.

    Raise IntegrityError if one is invalid.
    """
    table = schema.chain
    rows = connection.execute(
        select(table).where(table.c.last_seq > 0).order_by(table.c.station, table.c.open, table.c.id)
    )
    found = tuple(
        ChainHead(row.station, row.id, Head(row.last_seq, row.last_hash), row.ledger is not None) for row in rows
    )
    for one in found:
        if mistyped(one) or mistyped(one.head):
            raise damaged("the head of a chain is invalid", f"station {one.station}")
    return found


def lost_runs(connection: Connection, since: str | None, until: str | None) -> tuple[LostRuns, ...]:
    """Count the runs that ended before the board had an identity, from *since* until before *until*."""
    event = schema.event
    columns = (event.c.station, event.c.slot, event.c.cause)
    query = select(*columns, func.count()).where(event.c.serial.is_(None), event.c.kind == EventKind.UNIT.value)
    query = query.where(event.c.outcome == "ERROR")
    query = query if since is None else query.where(event.c.ts >= since)
    query = query if until is None else query.where(event.c.ts < until)
    rows = connection.execute(query.group_by(*columns).order_by(*columns))
    return tuple(LostRuns(row[0], row[1] or "", row[2] or "", row[3]) for row in rows)


_GOOD = (Outcome.PASS.value, Outcome.SKIP.value)
_DETECT = "detect"


def station_verdicts(connection: Connection, station: str, since: str, until: str) -> tuple[PastEvent, ...]:
    """Return what decided about the units with a verdict at *station*, from *since* until before *until*.

    That are all their verdicts before *until*, at any station, and the steps that did not pass or that verified them,
    unit by unit in the order of the ledger. Verdicts of boards without an identity come first.
    """
    event = schema.event
    found = [row for one in _late_verdicts(connection, station, since) for row in connection.execute(one)]
    inside = [row for row in found if row.ts < until]
    unknown = [row.id for row in inside if row.serial is None]
    names = sorted({row.serial for row in inside if row.serial is not None})
    lost = _chosen(connection, event.c.id.in_, unknown, until)
    return (*lost, *_chosen(connection, event.c.serial.in_, names, until))


def unit_verdicts(connection: Connection, name: str, until: str) -> tuple[PastEvent, ...]:
    """Return what decided about the identity *name* before *until*, as `station_verdicts`."""
    return tuple(_chosen(connection, schema.event.c.serial.in_, [name], until))


def _late_verdicts(connection: Connection, station: str, since: str) -> Iterator[Select[Any]]:
    """Yield for each chain of *station* what selects its verdicts at *since* or later."""
    chain, event = schema.chain, schema.event
    for name, last in connection.execute(select(chain.c.id, chain.c.last_seq).where(chain.c.station == station)):
        times = select(event.c.ts).where(event.c.chain == name)

        def at(seq: int, times: Select[Any] = times) -> str:
            return connection.execute(times.where(event.c.seq == seq)).scalar() or ""

        first = bisect_left(range(1, last + 1), since, key=at) + 1
        late = select(event.c.id, event.c.serial, event.c.ts).where(event.c.chain == name, event.c.seq >= first)
        yield late.where(event.c.kind == EventKind.UNIT.value)


def _chosen(
    connection: Connection, is_one_of: Callable[[list[Any]], ColumnElement[bool]], values: list[Any], until: str
) -> Iterator[PastEvent]:
    """Yield the events before *until* that decide about units, of those that *is_one_of* chooses by *values*."""
    event, identity = schema.event, schema.identity
    step = or_(event.c.state == State.VERIFIED.value, event.c.outcome.not_in(_GOOD), event.c.step == _DETECT)
    wanted = or_(event.c.kind == EventKind.UNIT.value, and_(event.c.kind == EventKind.STEP.value, step))
    given = func.coalesce(identity.c.given_serial, event.c.serial).label("serial")
    query = select(given, *_EVENT_COLUMNS[1:]).select_from(
        event.outerjoin(identity, identity.c.serial == event.c.serial)
    )
    for start in range(0, len(values), PAGE):
        some = query.where(is_one_of(values[start : start + PAGE]), event.c.ts < until, wanted)
        yield from map(_past_event, connection.execute(some.order_by(event.c.serial, event.c.id)))
