"""The pool: which ledger file may give identities, of all the copies that exist.

Every ledger file that gives identities has a *holder* id, and the host's record (`rmfab.ledger.host_record`) names the
holder and the last events that took from the pool. A change is allowed only if the two agree, the record was written on
this machine, and the ledger contains each event that the record names. Of two copies on one host, the first to claim
goes on: the other one lacks its events. A copy on a different host has no record there.

An event that takes from the pool is a claim, a void or a new batch (its serials): the record is updated after it is
durable, and before anyone acts on it. If the process ends between the two, the ledger is ahead of the record, which is
allowed.

A ledger on a server is shared: many hosts give identities from the one database, which is where it was when it was
adopted (`LedgerServer.place`). A host joins when it takes for the first time, and its record names what it has taken
from then on: a server that lacks it was restored from a backup, or is a replica that lagged behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, bindparam, func, select, update

from rmfab.ledger.chains import OWN, append, close_all, heads
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.handovers import last_number
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import Given, Holding, Unusable
from rmfab.ledger.numbers import doubtful, note_loss
from rmfab.ledger.pool_standing import SUPERSEDED, Adoption, AdoptionReason, PoolStanding
from rmfab.ledger.queries import PAGE, meta_value, set_meta
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State

_LAST_POOL_CHAIN = (
    select(schema.event.c.chain)
    .where(schema.event.c.kind.in_([EventKind.MOVE.value, EventKind.ADOPT.value]), OWN)
    .order_by(schema.event.c.id.desc())
    .limit(1)
)


def joined(record: Holding | Unusable, host: PoolHost, pool: PoolStanding) -> Holding | None:
    """Return the part of *host*, which joins *pool* on a server; None if its *record* has it already."""
    if isinstance(record, Holding) and record.holder == pool.holder and record.is_on(host):
        return None
    part = Holding.new(host, {}, doubtful(record.numbers), pool.holder)
    return replace(part, superseded=pool.superseded | _known_before(record))


def _known_before(record: Holding | Unusable) -> frozenset[str]:
    return record.superseded | {record.holder} if isinstance(record, Holding) else frozenset()


def next_holding(
    connection: Connection, record: Holding | Unusable, host: PoolHost, reason: AdoptionReason, station: str | None
) -> Holding:
    """Return what *host* knows as the next holder, for `adopt`. *station*: the only one for which it answers, None for
    all. See `_numbers_of`."""
    numbers = _numbers_of(connection, record, host, reason)
    holding = Holding.new(host, heads(connection, station=station), numbers)
    return replace(holding, superseded=frozenset(_superseded(connection)) | _known_before(record))


def _superseded(connection: Connection) -> list[str]:
    """Return all holders of the ledger so far, oldest first."""
    before = (meta_value(connection, SUPERSEDED) or "").split()
    last = meta_value(connection, "holder")
    return before if last is None else [*before, last]


def is_empty(connection: Connection) -> bool:
    """Return whether the ledger has no holder, no batch and no event: then it is anyone's."""
    if meta_value(connection, "holder") is not None or meta_value(connection, "copy") is not None:
        return False
    return not any(
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (schema.batch, schema.event)
    )


def hold_empty(connection: Connection, ledger_id: str, holding: Holding, place: str | None) -> None:
    """Make an empty ledger the pool *ledger_id*, new and its own: a copy of the empty file becomes a different one."""
    set_meta(connection, "ledger_id", ledger_id)
    _hold(connection, holding, place)


def _hold(connection: Connection, holding: Holding, place: str | None) -> None:
    set_meta(connection, "holder", holding.holder)
    set_meta(connection, "place", place)


def _numbers_of(
    connection: Connection, record: Holding | Unusable, host: PoolHost, reason: AdoptionReason
) -> Mapping[str, Given]:
    """Return the numbers of serials for the record of a new holder on *host*; call it before `adopt`.

    After a loss, record in the ledger which of them are sure. *record*: that of *host* until now. Otherwise the ledger
    has all that were given, and the record does not: those of a host that held the pool meanwhile.
    """
    if reason is AdoptionReason.LOSS:
        last_chain = connection.execute(_LAST_POOL_CHAIN).scalar()
        return note_loss(connection, record, host, last_chain, last_number(connection))
    return doubtful(record.numbers)


def adopt(
    connection: Connection,
    ledger_id: str,
    station: str,
    ts: str,
    holding: Holding,
    reason: AdoptionReason,
    place: str | None,
) -> Adoption:
    """Make *holding* the holder, at *place* if it is on a server.

    After a loss, put every free identity in quarantine, with an event for each.
    """
    if reason is not AdoptionReason.ONLY_COPY:
        close_all(connection)
    quarantined = quarantine(connection, ledger_id, station, ts) if reason is AdoptionReason.LOSS else 0
    details = {"reason": reason.value, "holder": holding.holder, "quarantined": quarantined}
    append(connection, ledger_id, station, [Event(ts, EventKind.ADOPT, details=details)])
    set_meta(connection, "copy", None)
    set_meta(connection, SUPERSEDED, " ".join(_superseded(connection)))
    _hold(connection, holding, place)
    return Adoption(reason, quarantined)


def move(
    connection: Connection, ledger_id: str, station: str, ts: str, recipient: str, *, copied: bool = False
) -> None:
    """End giving identities here: write the last event, which names the *recipient* of the new host, or the ledger to
    which this one is *copied*."""
    details: dict[str, object] = {"to": recipient} | ({"copied": True} if copied else {})
    append(connection, ledger_id, station, [Event(ts, EventKind.MOVE, details=details)])
    close_all(connection)
    set_meta(connection, SUPERSEDED, " ".join(_superseded(connection)))
    set_meta(connection, "holder", None)


def free_identities(connection: Connection) -> int:
    """Count the free identities of all batches: those that an adoption after a loss puts in quarantine."""
    query = select(func.count()).where(schema.identity.c.state == State.GENERATED.value)
    return int(connection.execute(query).scalar_one())


def quarantine(connection: Connection, ledger_id: str, station: str, ts: str, *, batch: int | None = None) -> int:
    """Put every free identity in quarantine, page by page, or those of the batch with the id *batch*; return how
    many."""
    table = schema.identity
    query = select(table, schema.batch.c.name.label("batch_name")).join(schema.batch).order_by(table.c.id).limit(PAGE)
    query = query.where(table.c.state == State.GENERATED.value, table.c.id > bindparam("after"))
    if batch is not None:
        query = query.where(table.c.batch_id == batch)
    number, last = 0, 0
    while rows := connection.execute(query, {"after": last}).all():  # past the pages before: they are not read again
        last = rows[-1].id
        events = [
            Event(ts, EventKind.QUARANTINE, batch=row.batch_name, serial=row.serial, state=State.QUARANTINED)
            for row in rows
        ]
        append(connection, ledger_id, station, events)
        connection.execute(
            update(table).where(table.c.id.in_([row.id for row in rows])).values(state=State.QUARANTINED.value)
        )
        number += len(rows)
    return number
