"""Queries of the ledger: rows as values, and the lookups that the rules need.

Long results are read in pages of `PAGE` rows, so that memory stays constant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, func, or_, select, text, update

from rmfab.errors import InputError, IntegrityError
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.chains import damaged, stored
from rmfab.ledger.counts import COUNTS, counted
from rmfab.ledger.events import StoredEvent, normal_mac
from rmfab.ledger.records import RECORD_FIELDS, Batch, BatchCount, Chunk, LedgerIdentity
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State

PAGE = 500

_STAND = update(schema.identity).where(schema.identity.c.serial == bindparam("of_serial"))

_NUMBERED = re.compile(r"(?P<before>.{0,64}[^0-9:])[0-9]+[^0-9]{0,64}")  # a serial with its counter last
_STANDING = tuple(f.name for f in fields(Standing))


def ledger_id(connection: Connection) -> str:
    """Return the id that the ledger got when it was created."""
    found = meta_value(connection, "ledger_id")
    if found is None:
        raise damaged("it has no id", "table meta")
    return found


def meta_value(connection: Connection, name: str) -> str | None:
    """Return the entry *name* of the table `meta`, None if there is none."""
    query = select(schema.meta.c.value).where(schema.meta.c.name == name)
    return connection.execute(query).scalar_one_or_none()


def batch_value(row: Row[Any]) -> Batch:
    """Return the batch of a row of the batch table."""
    return Batch(
        row.id,
        row.name,
        row.product,
        row.policy,
        row.size,
        row.chunk_size,
        row.first_n,
        row.state == "closed",
        row.digest,
        row.created_ts,
    )


def standing_value(row: Row[Any]) -> Standing:
    """Return the standing in a row of the identity table. Raise IntegrityError for a state that does not exist."""
    columns = row._mapping
    values = {name: columns[name] for name in _STANDING}
    try:
        return Standing(**values | {"state": State(values["state"])})
    except ValueError as error:
        raise damaged(f"an identity has no state {values['state']!r}", row.serial) from error


def standing_columns(standing: Standing) -> dict[str, Any]:
    """Return *standing* as columns of the identity table."""
    return {name: getattr(standing, name) for name in _STANDING} | {"state": standing.state.value}


def write_standings(connection: Connection, standings: Mapping[str, Standing]) -> None:
    """Write *standings* by serial. Raise IntegrityError if there is no row for one."""
    if standings:
        rows = [standing_columns(standing) | {"of_serial": serial} for serial, standing in standings.items()]
        written = connection.execute(_STAND, rows).rowcount
        if written != len(rows):
            raise damaged("the row of an identity is missing", next(iter(standings)))


def record_value(row: Row[Any]) -> SealedRecord:
    """Return the record in a row of the identity table. Raise ValueError if the row was edited and is invalid."""
    columns = row._mapping
    return SealedRecord(**{name: columns[name] for name in RECORD_FIELDS})


def record_columns(record: SealedRecord) -> dict[str, Any]:
    """Return *record* as columns of the identity table."""
    return {name: getattr(record, name) for name in RECORD_FIELDS}


def identities_query() -> Select[Any]:
    """Return a query for all identities with the name and product of their batch."""
    return select(schema.identity, schema.batch.c.name.label("batch_name"), schema.batch.c.product).join(schema.batch)


def identity_value(row: Row[Any]) -> LedgerIdentity:
    """Return the identity of a row of `identities_query`. Raise IntegrityError if the row was edited and is invalid."""
    try:
        record = record_value(row)
    except ValueError as error:
        raise IntegrityError(
            f"the identity was changed after it was made: {error}",
            where=row.serial,
            hint="run `rmfab ledger check` to list all problems",
            cause="record",
        ) from error
    return LedgerIdentity(record, standing_value(row), row.batch_name, row.product, row.position, row.chunk_id)


_BY = {
    name: identities_query().where(schema.identity.c[name] == bindparam("wanted"))
    for name in ("serial", "node_id", "random_sha256", "mac")
}
_BY["mac"] = _BY["mac"].where(schema.identity.c.state != State.VOID.value)
"""Built once: building a query takes SQLAlchemy longer than running it."""


def by_serial(connection: Connection, serial: str) -> LedgerIdentity | None:
    """Return the identity with this serial, also from an open batch."""
    return _one(connection, "serial", serial)


def by_node_id(connection: Connection, node_id: str) -> LedgerIdentity | None:
    """Return the identity with this node id."""
    return _one(connection, "node_id", node_id)


def by_random(connection: Connection, random_sha256: str) -> LedgerIdentity | None:
    """Return the identity whose `random` has this SHA-256."""
    return _one(connection, "random_sha256", random_sha256)


def by_mac(connection: Connection, mac: str) -> LedgerIdentity | None:
    """Return the identity of the live unit with this (normal) MAC."""
    return _one(connection, "mac", mac)


def _one(connection: Connection, column: str, wanted: str) -> LedgerIdentity | None:
    """Return the identity with *wanted* in *column*."""
    row = connection.execute(_BY[column], {"wanted": wanted}).one_or_none()
    return None if row is None else identity_value(row)


def find(connection: Connection, term: str) -> tuple[LedgerIdentity, ...]:
    """Return the identities that match *term*: a serial, a node id or a MAC (a board may have had several)."""
    table = schema.identity
    match: list[ColumnElement[bool]] = [table.c.serial == term, table.c.node_id == term]
    mac = _as_mac(term)
    if mac is not None:
        match.append(table.c.mac == mac)
    query = identities_query().where(or_(*match)).order_by(table.c.id)
    return tuple(identity_value(row) for row in connection.execute(query))


def unfinished(connection: Connection) -> Iterator[LedgerIdentity]:
    """Yield the units that are claimed or flashed but not verified, in the order in which they were made."""
    table = schema.identity
    states = (State.CLAIMED.value, State.FLASHED.value)
    query = identities_query().where(table.c.state.in_(states)).order_by(table.c.id)
    for row in connection.execute(query.execution_options(yield_per=PAGE)):
        yield identity_value(row)


def hint_for_unknown(connection: Connection, term: str) -> str | None:
    """Return a hint for *term*, which names no unit: the serial that it may mean, or the serials that look like it."""
    serial = schema.identity.c.serial
    meant = connection.execute(select(serial).where(func.lower(serial) == term.lower()).limit(1)).scalar()
    if meant is not None:
        return f"did you mean {meant}?"
    shape = _NUMBERED.fullmatch(term)
    if shape is None:
        return None
    similar = select(serial).where(func.lower(serial).startswith(shape["before"].lower(), autoescape=True)).limit(1)
    lowest, highest = (
        connection.execute(similar.order_by(*order)).scalar()
        for order in ((func.length(serial), serial), (func.length(serial).desc(), serial.desc()))
    )
    if lowest is None:
        return None
    return f"the ledger has {lowest}" if lowest == highest else f"the ledger has serials from {lowest} to {highest}"


def history(connection: Connection, term: str) -> tuple[StoredEvent, ...]:
    """Return the events of a serial, node id or MAC, in the order in which the ledger stored them."""
    table = schema.event
    mac = _as_mac(term)
    serials = {identity.serial for identity in find(connection, term)} | {term}
    match: list[ColumnElement[bool]] = [table.c.serial.in_(serials)]
    if mac is not None:
        match.append(table.c.mac == mac)
    return tuple(stored(row) for row in connection.execute(select(table).where(or_(*match)).order_by(table.c.id)))


def batch_named(connection: Connection, name: str) -> Batch:
    """Return the batch *name*, open or closed. Raise InputError if it does not exist."""
    row = connection.execute(select(schema.batch).where(schema.batch.c.name == name)).one_or_none()
    if row is None:
        is_serial = by_serial(connection, name) is not None
        hint = f"that is a serial; use `rmfab trace {name}`" if is_serial else "list the batches with `rmfab status`"
        raise InputError(f'there is no batch "{name}"', hint=hint, cause="no-batch")
    return batch_value(row)


def closed_batch(connection: Connection, name: str) -> Batch:
    """Return the batch *name*. Raise InputError if it does not exist or is not complete."""
    batch = batch_named(connection, name)
    if not batch.closed:
        raise InputError(
            f"batch {name} is not finished",
            hint="repeat the `rmfab generate` that makes it: it continues where it stopped",
            cause="open-batch",
        )
    return batch


def batches(connection: Connection) -> tuple[Batch, ...]:
    """Return all batches, oldest first."""
    return tuple(batch_value(row) for row in connection.execute(select(schema.batch).order_by(schema.batch.c.id)))


def counts(connection: Connection, name: str | None) -> tuple[BatchCount, ...]:
    """Count the identities of batch *name*, or of each batch, by state. Raise InputError for an unknown batch."""
    if name is not None:
        batch_named(connection, name)
    return counted(connection.execute(text(COUNTS), {"name": name}))


def free(connection: Connection, product: str, name: str | None) -> int:
    """Count the identities that can still be claimed from batch *name*, or from all closed batches of *product*."""
    query = select(func.count()).select_from(schema.identity.join(schema.batch))
    query = query.where(schema.identity.c.state == State.GENERATED.value, schema.batch.c.state == "closed")
    query = query.where(schema.batch.c.product == product)
    if name is not None:
        query = query.where(schema.batch.c.id == closed_batch(connection, name).id)
    return int(connection.execute(query).scalar_one())


def page(connection: Connection, batch: Batch, after: int) -> Sequence[LedgerIdentity]:
    """Return up to `PAGE` identities of *batch* after position *after*, in order of position."""
    query = identities_query().where(schema.identity.c.batch_id == batch.id, schema.identity.c.position > after)
    rows = connection.execute(query.order_by(schema.identity.c.position).limit(PAGE))
    return [identity_value(row) for row in rows]


def chunks(connection: Connection, batch: Batch | None, after: int) -> Sequence[Chunk]:
    """Return up to `PAGE` chunks of *batch*, or of all batches, with an id above *after*, in order of id."""
    table = schema.chunk
    query = select(table).where(table.c.id > after)
    if batch is not None:
        query = query.where(table.c.batch_id == batch.id)
    return [_chunk_value(row) for row in connection.execute(query.order_by(table.c.id).limit(PAGE))]


def chunk(connection: Connection, chunk_id: int) -> Chunk:
    """Return the chunk with this id. Raise KeyError if it does not exist."""
    row = connection.execute(select(schema.chunk).where(schema.chunk.c.id == chunk_id)).one_or_none()
    if row is None:
        raise KeyError(chunk_id)
    return _chunk_value(row)


def _chunk_value(row: Row[Any]) -> Chunk:
    return Chunk(row.id, row.number, row.first, row.size, row.wrapped_key, row.digest)


def _as_mac(term: str) -> str | None:
    try:
        return normal_mac(term)
    except InputError:
        return None
