"""The ledger check: verify every chain, every digest, and every standing against its events; and repair.

`check` reads one snapshot and reports every problem. `rebuild` recomputes the standings from the events, and refuses
if the events themselves cannot be trusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, update

from rmfab.errors import IntegrityError, RmfabError
from rmfab.ledger.batches import batch_digest, keys_digest, missing
from rmfab.ledger.chains import OWN, genesis
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.queries import PAGE, chunks, names_in, standing_columns, standing_value, streamed
from rmfab.ledger.questions import batches
from rmfab.ledger.records import Batch, Chunk, chunk_digest
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.asking import asking
from rmfab.ledger.sql.database import Damage
from rmfab.ledger.standing import Standing, replay
from rmfab.ledger.stored_events import is_as_written, stored


@dataclass(frozen=True)
class AuditFinding:
    """One problem in the ledger: *kind* is `database`, `chain`, `batch`, `key` or `standing`."""

    kind: str
    where: str
    what: str


def check(connection: Connection, ledger_id: str, damage: Iterable[Damage]) -> Iterator[AuditFinding]:
    """Yield every problem in the ledger, in constant memory; nothing for a sound ledger.

    *damage* is what the database engine found.
    """
    for fault in damage:
        yield AuditFinding("database", fault.where, fault.what)
    yield from _chains(connection, ledger_id)
    try:
        for batch in batches(asking(connection)):
            yield from _batch(connection, batch)
            yield from _standings(connection, batch)
    except IntegrityError as error:
        yield AuditFinding("batch", error.where or "batches", error.what)
    yield from _strays(connection)


def rebuild(connection: Connection, ledger_id: str) -> int:
    """Recompute every standing from the events; return how many had to be changed.

    Raise IntegrityError if a chain is broken or events contradict each other.
    """
    broken = next(_chains(connection, ledger_id), None)
    if broken is not None:
        raise IntegrityError(
            f"the events cannot be trusted: {broken.what}",
            where=broken.where,
            hint="restore the ledger from a backup",
            cause="chain",
        )
    table = schema.identity
    changed = 0
    # Unbind the boards first: the MAC is unique, and two standings may have to swap theirs.
    for wrong in _differing(connection):
        some = [row.id for row, _ in wrong]
        connection.execute(update(table).where(table.c.id.in_(some)).values(state="void", mac=None))
        changed += len(wrong)
    for wrong in _differing(connection):
        rows = [standing_columns(right) | {"of_id": row.id} for row, right in wrong]
        connection.execute(update(table).where(table.c.id == bindparam("of_id")), rows)
    return changed


def _chains(connection: Connection, ledger_id: str) -> Iterator[AuditFinding]:
    for chain in connection.execute(select(schema.chain).order_by(schema.chain.c.station, schema.chain.c.id)).all():
        yield from _chain(connection, ledger_id, chain)


def _chain(connection: Connection, ledger_id: str, chain: Row[Any]) -> Iterator[AuditFinding]:
    """Yield the first break in a *chain*. Nothing after a break can be verified."""
    where = f"station {chain.station}"
    prev_hash, last, order = genesis(chain.ledger or ledger_id, chain.id, chain.station), 0, 0
    query = select(schema.event).where(schema.event.c.chain == chain.id).order_by(schema.event.c.seq)
    for row in streamed(connection, query):
        if row.seq != last + 1:
            yield AuditFinding("chain", where, f"event {last + 1} is missing")
            return
        if (row.station, row.prev_hash) != (chain.station, prev_hash) or not is_as_written(row._mapping):
            yield AuditFinding("chain", f"{where}, event {row.seq}", "the event was changed after it was written")
            return
        if row.id <= order:
            yield AuditFinding("chain", f"{where}, event {row.seq}", "the event was moved before an earlier event")
            return
        prev_hash, last, order = row.hash, row.seq, row.id
    if (last, prev_hash) != (chain.last_seq, chain.last_hash):
        yield AuditFinding(
            "chain", where, f"the last events are missing: {chain.last_seq} were written, {last} were found"
        )


def _batch(connection: Connection, batch: Batch) -> Iterator[AuditFinding]:
    """Compare the records of *batch* with its digests, and the digests with the event that closed it."""
    where, table = f"batch {batch.name}", schema.identity
    for chunk in _all_chunks(connection, batch):
        last = chunk.first + chunk.count - 1
        here = table.c.position.between(chunk.first, last) & (table.c.chunk_id == chunk.id)
        query = select(table).where(table.c.batch_id == batch.id, here).order_by(table.c.position)
        rows = (row._mapping for row in streamed(connection, query))
        if chunk_digest(batch.name, chunk.number, chunk.first, rows) != chunk.digest:
            yield AuditFinding(
                "batch", where, f"identities at positions {chunk.first} to {last} were changed after they were made"
            )
    number = connection.execute(select(func.count()).where(table.c.batch_id == batch.id)).scalar_one()
    if number > batch.size:
        yield AuditFinding("batch", where, f"contains {number} identities, expected {batch.size}")
    events = _batch_events(connection, batch.name)
    closings = [event for event in events if event.kind is EventKind.BATCH]
    if len(closings) != (1 if batch.closed else 0):
        yield AuditFinding(
            "batch", where, f"is {'closed' if batch.closed else 'open'}, but has {len(closings)} closing events"
        )
    if not batch.closed:
        return
    if next(missing(connection, batch), None) is not None:
        yield AuditFinding("batch", where, "chunks are missing")
    digest = batch_digest(connection, batch)
    if digest != batch.digest or any(event.details.get("digest") != digest for event in closings):
        yield AuditFinding("batch", where, "the batch was changed after it was closed")
    if events and events[-1].details.get("keys") != keys_digest(connection, batch):
        yield AuditFinding("key", where, "the wrapped data keys were changed")


def _standings(connection: Connection, batch: Batch) -> Iterator[AuditFinding]:
    """Compare the current standings with the events."""
    for rows in _identity_pages(connection, schema.identity.c.batch_id == batch.id):
        try:
            told = _events_of(connection, rows)
        except IntegrityError as error:
            yield AuditFinding("standing", f"{rows[0].serial} to {rows[-1].serial}", f"cannot read the events: {error}")
            continue
        for row in rows:
            try:
                right = replay(told[row.serial])
                now = standing_value(row._mapping)
            except RmfabError as error:
                yield AuditFinding("standing", row.serial, f"the events contradict each other: {error}")
                continue
            if now != right:
                yield AuditFinding("standing", row.serial, _difference(now, right))


def _strays(connection: Connection) -> Iterator[AuditFinding]:
    """Yield events of identities, batches and stations that do not exist."""
    event, identity, batch = schema.event, schema.identity, schema.batch
    query = select(event.c.serial).outerjoin(identity, identity.c.serial == event.c.serial)
    query = query.where(event.c.serial.is_not(None), identity.c.id.is_(None)).distinct()
    for serial in connection.execute(query).scalars():
        yield AuditFinding("standing", serial, "has events, but is not an identity of this ledger")
    query = select(event.c.batch).outerjoin(batch, batch.c.name == event.c.batch)
    query = query.where(event.c.batch.is_not(None), batch.c.id.is_(None), OWN).distinct()
    for name in connection.execute(query).scalars():
        yield AuditFinding("batch", f"batch {name}", "has events, but does not exist")
    loose = select(func.count()).select_from(event.outerjoin(schema.chain)).where(schema.chain.c.id.is_(None))
    if connection.execute(loose).scalar_one():
        yield AuditFinding("chain", "chains", "events belong to a chain that does not exist")


def _differing(connection: Connection) -> Iterator[list[tuple[Row[Any], Standing]]]:
    """Yield, page by page, the identity rows whose standing differs from what their events add up to."""
    for rows in _identity_pages(connection):
        told = _events_of(connection, rows)
        pairs = []
        for row in rows:
            try:
                right = replay(told[row.serial])
            except RmfabError as error:
                raise IntegrityError(
                    f"the events contradict each other: {error.what}", where=row.serial, cause="chain"
                ) from error
            if standing_columns(right) != {name: row._mapping[name] for name in standing_columns(right)}:
                pairs.append((row, right))
        if pairs:
            yield pairs


def _difference(now: Standing, right: Standing) -> str:
    before, after = standing_columns(now), standing_columns(right)
    parts = [
        f"{name} is {before[name]}, expected {after[name]} from the events"
        for name in before
        if before[name] != after[name]
    ]
    return "; ".join(parts)


def _events_of(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, list[Event]]:
    """Return the events of this ledger for the identities in *rows*, by serial, in order."""
    told: dict[str, list[Event]] = defaultdict(list)
    query = select(schema.event).where(schema.event.c.serial.in_(names_in(rows)), OWN).order_by(schema.event.c.id)
    for row in connection.execute(query):
        told[row.serial].append(stored(row._mapping).event)
    return told


def _batch_events(connection: Connection, name: str) -> list[Event]:
    table = schema.event
    query = select(table).where(table.c.batch == name, OWN)
    query = query.where(table.c.kind.in_([EventKind.BATCH.value, EventKind.ADMIT.value]))
    try:
        return [stored(row._mapping).event for row in connection.execute(query.order_by(table.c.id))]
    except IntegrityError:  # already reported by the check of the chain
        return []


def _all_chunks(connection: Connection, batch: Batch) -> Iterator[Chunk]:
    after = 0
    while some := chunks(connection, batch, after):
        yield from some
        after = some[-1].id


def _identity_pages(connection: Connection, *where: ColumnElement[bool]) -> Iterator[Sequence[Row[Any]]]:
    """Yield identities page by page in order of id. The caller may change a page before it reads the next one."""
    table = schema.identity
    after = 0
    while rows := connection.execute(
        select(table).where(table.c.id > after, *where).order_by(table.c.id).limit(PAGE)
    ).all():
        yield rows
        after = rows[-1].id
