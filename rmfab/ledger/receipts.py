"""The factory's side of a handover: identities received from their owner, and what is returned of them.

A ledger that received a handover belongs to one owner: every return contains all of its chains. Returns are numbered;
return N consists of the events after return N-1, up to and including the event of kind `return` that describes it. So a
lost return can be written again, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, false, func, or_, select, update

from rmfab.errors import InputError, IntegrityError
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import batches, chains
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.chains import OWN, append, genesis
from rmfab.ledger.events import Event, EventKind, StoredEvent
from rmfab.ledger.host_record import Head
from rmfab.ledger.numbers import Numbers
from rmfab.ledger.queries import PAGE, batch_named, meta_value, streamed
from rmfab.ledger.records import Batch, BatchOrigin, origin_in
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import stored


@dataclass(frozen=True)
class Receipt:
    """A handover that this ledger received at *ts*: its *origin*, the *owner* who signed it (key id), the SHA-256 of
    its *files* by path, its signed *envelope*, and the *holder* that this ledger had then."""

    origin: BatchOrigin
    owner: str
    files: Mapping[str, str]
    envelope: str
    holder: str = ""
    ts: str = ""


@dataclass(frozen=True)
class Span:
    """A part of a chain: the events after head *before*, up to head *after*."""

    chain: str
    station: str
    before: Head
    after: Head


@dataclass(frozen=True)
class Return:
    """Return *number* of this ledger, made at *ts* by the holder *holder*.

    *states*: how many identities of each handover, by its number, were in which state; *unused*: how many were given
    back by it.
    """

    number: int
    ts: str
    holder: str
    unused: int
    states: Mapping[str, Mapping[str, int]]
    spans: tuple[Span, ...]


def receipts(connection: Connection) -> tuple[Receipt, ...]:
    """Return the handovers that this ledger received, oldest first."""
    return tuple(_receipt(one.event) for one in _described(connection, EventKind.RECEIVE))


def returns_made(connection: Connection) -> int:
    """Return the number of the last return of this ledger, 0 if it made none."""
    return len(_described(connection, EventKind.RETURN))


def has_news(connection: Connection) -> bool:
    """Return whether anything happened to an identity since the last return."""
    made = _described(connection, EventKind.RETURN)
    last = made[-1].order if made else 0
    query = select(schema.event.c.id).where(schema.event.c.serial.is_not(None), schema.event.c.id > last, OWN)
    return connection.execute(query.limit(1)).first() is not None


def receive(
    connection: Connection,
    ledger_id: str,
    station: str,
    order: BatchOrder,
    chunks: Iterable[tuple[bytes, Sequence[SealedRecord]]],
    receipt: Receipt,
    numbers: Numbers,
) -> Batch:
    """Add the identities of a handover as the closed batch of *order*. Raise InputError or IntegrityError.

    *receipt*: without holder; its time is that of the change. *numbers*: what this host knows of numbers.
    """
    refuse_foreign(connection, receipt.origin, ledger_id)
    if any(one.origin == receipt.origin for one in receipts(connection)):
        return batch_named(connection, receipt.origin.local_name)
    batch = batches.begin(connection, order, receipt.ts, numbers)
    for number, (wrapped_key, records) in enumerate(chunks):
        if batches.add(connection, batch, number, wrapped_key, records):
            raise IntegrityError(
                "an identity of this handover has the PoP or name of a different one in this ledger",
                where=batch.name,
                hint="stop, and report it to the owner of the identities",
                cause="handover-altered",
            )
    batch = batches.close(connection, ledger_id, batch, station, receipt.ts)
    details = {
        "origin": receipt.origin.policy,
        "owner": receipt.owner,
        "files": dict(receipt.files),
        "envelope": receipt.envelope,
        "holder": meta_value(connection, "holder"),
    }
    append(connection, ledger_id, station, [Event(receipt.ts, EventKind.RECEIVE, details=details)])
    return batch


def refuse_foreign(connection: Connection, origin: BatchOrigin, ledger_id: str) -> None:
    """Raise InputError unless every batch of this ledger was received from the owner of *origin*."""
    hint = "receive it in a folder of its own"
    if origin.pool == ledger_id:
        raise InputError("this is the ledger that handed it over", hint=hint, cause="handed-over")
    for name, policy in connection.execute(select(schema.batch.c.name, schema.batch.c.policy)):
        known = origin_in(policy, name)
        if known is None or known.pool != origin.pool:
            whose = "of its own" if known is None else "of a different owner"
            raise InputError(f"this ledger has identities {whose}", hint=hint, cause="handed-over")


def make_return(connection: Connection, ledger_id: str, station: str, ts: str, *, unused: bool) -> Return:
    """End a return here: give back what is *unused*, and describe it by an event. Return it.

    Raise InputError if this ledger received nothing.
    """
    received = receipts(connection)
    if not received:
        raise InputError("this workspace received no handover", hint="give the right one with -C DIR", cause="no-batch")
    number = returns_made(connection) + 1
    given = _give_back(connection, ledger_id, station, ts, number) if unused else 0
    heads = {chain: [head.seq, head.hash] for chain, head in chains.heads(connection).items()}
    details = {
        "return": number,
        "holder": meta_value(connection, "holder"),
        "unused": given,
        "states": {str(one.origin.handover): _states(connection, one.origin.local_name) for one in received},
        "heads": heads,
    }
    append(connection, ledger_id, station, [Event(ts, EventKind.RETURN, details=details)])
    return returned(connection, ledger_id, number)


def returned(connection: Connection, ledger_id: str, number: int) -> Return:
    """Return the return *number*, as it was made. Raise InputError if there is none."""
    made = {one.event.details["return"]: one for one in _described(connection, EventKind.RETURN)}
    if number not in made:
        raise InputError(f"return {number} was never made", hint="`rmfab return` makes the next one", cause="no-batch")
    before = _ends(connection, made[number - 1]) if number > 1 else {}
    spans = tuple(_spans(connection, ledger_id, before, _ends(connection, made[number])))
    event = made[number].event
    return Return(number, event.ts, event.details["holder"], event.details["unused"], event.details["states"], spans)


def _ends(connection: Connection, described: StoredEvent) -> dict[str, Head]:
    """Return the heads of all chains at the end of a return: its own event is the last one."""
    row = connection.execute(select(schema.event).where(schema.event.c.id == described.order)).one()
    heads = {chain: Head(seq, digest) for chain, (seq, digest) in described.event.details["heads"].items()}
    return heads | {row.chain: Head(row.seq, row.hash)}


def event_rows(connection: Connection, spans: Sequence[Span]) -> Iterator[Row[Any]]:
    """Yield the rows of the events in *spans*, in the order in which the ledger stored them, in constant memory."""
    table = schema.event
    parts = [and_(table.c.chain == one.chain, table.c.seq.between(one.before.seq + 1, one.after.seq)) for one in spans]
    return streamed(connection, select(table).where(or_(false(), *parts)).order_by(table.c.id))


def _spans(
    connection: Connection, ledger_id: str, before: Mapping[str, Head], after: Mapping[str, Head]
) -> Iterator[Span]:
    """Yield the parts of chains between two sets of heads. The first return of a chain begins at its genesis."""
    stations = {row.id: row.station for row in connection.execute(select(schema.chain.c.id, schema.chain.c.station))}
    for chain in sorted(after):
        first = Head(0, genesis(ledger_id, chain, stations[chain]))
        start = before.get(chain, first)
        if after[chain].seq > start.seq:
            yield Span(chain, stations[chain], start, after[chain])


def _give_back(connection: Connection, ledger_id: str, station: str, ts: str, number: int) -> int:
    """Take every free identity out of this pool, with an event for each; return how many."""
    table, batch = schema.identity, schema.batch
    query = select(table.c.id, table.c.serial, batch.c.name).join(batch).order_by(table.c.id).limit(PAGE)
    query = query.where(table.c.state == State.GENERATED.value).with_for_update(of=table)
    given = 0
    while rows := connection.execute(query).all():
        events = [
            Event(
                ts,
                EventKind.RETURN,
                batch=row.name,
                serial=row.serial,
                state=State.HANDED_OVER,
                details={"return": number},
            )
            for row in rows
        ]
        append(connection, ledger_id, station, events)
        values = {"state": State.HANDED_OVER.value}
        connection.execute(update(table).where(table.c.id.in_([row.id for row in rows])).values(values))
        given += len(rows)
    return given


def _states(connection: Connection, batch: str) -> dict[str, int]:
    table = schema.identity
    query = select(table.c.state, func.count().label("number")).where(
        table.c.batch_id == batch_named(connection, batch).id
    )
    return {row.state: row.number for row in connection.execute(query.group_by(table.c.state))}


def _described(connection: Connection, kind: EventKind) -> list[StoredEvent]:
    """Return the events of *kind* that describe a receipt or a return, in order."""
    table = schema.event
    query = select(table).where(table.c.batch.is_(None), table.c.kind == kind.value, table.c.serial.is_(None), OWN)
    return [stored(row._mapping) for row in connection.execute(query.order_by(table.c.id))]


def _receipt(event: Event) -> Receipt:
    details = event.details
    return Receipt(
        BatchOrigin(**details["origin"]),
        details["owner"],
        details["files"],
        details["envelope"],
        details["holder"],
        event.ts,
    )
