"""Queries of the ledger: rows as values, and the lookups that the rules need.

Long results are read in pages of `PAGE` rows, so that memory stays constant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import SequenceMatcher, get_close_matches
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from rmfab.errors import InputError, IntegrityError
from rmfab.field_types import mistyped
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import questions
from rmfab.ledger.counts import COUNTS, counted
from rmfab.ledger.events import StoredEvent, normal_mac
from rmfab.ledger.questions import chunk_of
from rmfab.ledger.records import RECORD_FIELDS, Batch, BatchCount, Chunk, LedgerIdentity, state_in
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.asking import asking
from rmfab.ledger.sql.statement import Asked, Statement, constant
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import Columns, damaged, stored

PAGE = 500


_NUMBERED = re.compile(r"(?P<before>.{0,64}[^0-9:])[0-9]+[^0-9]{0,64}")  # a serial with its counter last
_PARTS = re.compile(r"(?P<before>.{0,64}?)(?P<number>[0-9]{1,18})(?P<after>[^0-9]{0,64})")
_WIDEST = 18
"""The most digits of a counter (`rmfab.product.serial`)."""
_STANDING = tuple(f.name for f in fields(Standing))
_STAND = Statement(
    update(schema.identity).where(schema.identity.c.serial == bindparam("of_serial")), ("of_serial", *_STANDING)
)


def meta_value(connection: Connection, name: str) -> str | None:
    """Return the entry *name* of the table `meta`, None if there is none."""
    return questions.meta_value(asking(connection), name)


def set_meta(connection: Connection, name: str, value: str | None) -> None:
    """Set the entry *name* of the table `meta`; None removes it."""
    connection.execute(delete(schema.meta).where(schema.meta.c.name == name))
    if value is not None:
        connection.execute(insert(schema.meta).values(name=name, value=value))


def batch_value(row: Row[Any]) -> Batch:
    """Return the batch of a row of the batch table."""
    return questions.batch_of(row._mapping)


def standing_value(columns: Columns) -> Standing:
    """Return the standing in a row of the identity table. Raise IntegrityError if it is invalid."""
    values = {name: columns[name] for name in _STANDING}
    where = f"{columns['serial']}"  # which may be no text
    standing = Standing(**values | {"state": state_in(values["state"], where)})
    wrong = mistyped(standing)
    if wrong is not None:
        raise damaged(f"an identity has an invalid {wrong}", where)
    return standing


def names_in(rows: Iterable[Row[Any]]) -> list[str]:
    """Return the names of the identities in *rows*. Raise IntegrityError if one is not a text."""
    names = [row.serial for row in rows]
    for name in names:
        if not isinstance(name, str):
            raise damaged("the name of an identity is not a text", f"identity {name!r}")
    return names


def standing_rows() -> Iterator[ColumnElement[Any]]:
    """Yield the columns of the identity table that `standing_value` reads."""
    return (schema.identity.c[name] for name in ("serial", *_STANDING))


def standing_columns(standing: Standing) -> dict[str, Any]:
    """Return *standing* as columns of the identity table."""
    return {**vars(standing), "state": standing.state.value}


def standing_changes(standings: Mapping[str, Standing]) -> Iterator[Asked]:
    """Yield the changes of rows that write *standings* by serial."""
    for serial, standing in standings.items():
        yield _STAND, standing_columns(standing) | {"of_serial": serial}


def record_value(columns: Columns) -> SealedRecord:
    """Return the record in a row of the identity table. Raise ValueError if the row was edited and is invalid."""
    return SealedRecord(**{name: columns[name] for name in RECORD_FIELDS})


def record_columns(record: SealedRecord) -> dict[str, Any]:
    """Return *record* as columns of the identity table."""
    return {name: getattr(record, name) for name in RECORD_FIELDS}


def identities_query() -> Select[Any]:
    """Return a query for all identities with the name and product of their batch."""
    return select(schema.identity, schema.batch.c.name.label("batch_name"), schema.batch.c.product).join(schema.batch)


def identity_value(columns: Columns) -> LedgerIdentity:
    """Return the identity of a row of `identities_query`. Raise IntegrityError if the row was edited and is invalid."""
    try:
        record = record_value(columns)
    except ValueError as error:
        raise IntegrityError(
            f"the identity was changed after it was made: {error}",
            where=columns["serial"],
            hint="run `rmfab ledger check` to list all problems",
            cause="record",
        ) from error
    standing = standing_value(columns)
    return LedgerIdentity(
        record, standing, columns["batch_name"], columns["product"], columns["position"], columns["chunk_id"]
    )


_BY = {
    name: identities_query().where(schema.identity.c[name] == bindparam("wanted"))
    for name in ("serial", "node_id", "random_sha256", "mac", "given_serial")
}
_IS_LIVE = schema.identity.c.state != constant(State.VOID.value)
_BY |= {name: _BY[name].where(_IS_LIVE) for name in ("mac", "given_serial")}
_FIND = {
    (name, lock): Statement(query.with_for_update(of=schema.identity) if lock else query)
    for name, query in _BY.items()
    for lock in (False, True)
}
_NAME_ON_BOARD = Statement(
    select(schema.identity.c.serial).where(schema.identity.c.mac == bindparam("wanted"), _IS_LIVE).with_for_update()
)
"""Most boards that ask for an identity have none, and each column costs a server, also in an answer without rows."""


def by_name(connection: Connection, name: str, *, lock: bool = False) -> LedgerIdentity | None:
    """Return the identity with this name in the pool, also from an open batch.

    With *lock*, no other transaction changes it until this one ends; so below.
    """
    return _one(connection, "serial", name, lock)


def by_serial(connection: Connection, serial: str, *, lock: bool = False) -> LedgerIdentity | None:
    """Return the identity with this serial or name: one that was made with it, or else the live one that was given it.

    A serial that a board brought is free again when its identity is void; then return None.
    """
    return by_name(connection, serial, lock=lock) or _one(connection, "given_serial", serial, lock)


def by_service_name(connection: Connection, service_name: str) -> Iterator[LedgerIdentity]:
    """Yield the identities with this service name, in any state; names are unique in a batch only."""
    table = schema.identity
    query = identities_query().where(table.c.service_name == service_name).order_by(table.c.id)
    return (identity_value(row._mapping) for row in connection.execute(query))


def names_of(connection: Connection, serials: Iterable[str]) -> dict[str, str]:
    """Return the names of the live units that were given one of these serials, by serial."""
    table = schema.identity
    query = select(table.c.given_serial, table.c.serial).where(table.c.state != State.VOID.value)
    return {row[0]: row[1] for row in connection.execute(query.where(table.c.given_serial.in_(list(serials))))}


def bound_boards(connection: Connection) -> Iterator[tuple[str, str | None]]:
    """Yield the MAC of every live unit, and the serial that came with its board, if one did, in constant memory."""
    table = schema.identity
    query = select(table.c.mac, table.c.given_serial).where(table.c.mac.is_not(None), _IS_LIVE)
    for row in streamed(connection, query):
        yield row.mac, row.given_serial


def standings(connection: Connection, names: Iterable[str]) -> Iterator[tuple[str, Standing]]:
    """Yield the standing of each identity with one of *names*."""
    table = schema.identity
    remaining = iter(names)
    while some := list(islice(remaining, PAGE)):
        for row in connection.execute(select(table).where(table.c.serial.in_(some))):
            yield row.serial, standing_value(row._mapping)


def by_node_id(connection: Connection, node_id: str, *, lock: bool = False) -> LedgerIdentity | None:
    """Return the identity with this node id."""
    return _one(connection, "node_id", node_id, lock)


def by_random(connection: Connection, random_sha256: str, *, lock: bool = False) -> LedgerIdentity | None:
    """Return the identity whose `random` has this SHA-256."""
    return _one(connection, "random_sha256", random_sha256, lock)


def by_mac(connection: Connection, mac: str, *, lock: bool = False) -> LedgerIdentity | None:
    """Return the identity of the live unit with this (normal) MAC. Raise IntegrityError if only an index has it."""
    if not lock:
        return _one(connection, "mac", mac, lock)
    row = _NAME_ON_BOARD.first(connection, {"wanted": mac})
    found = None if row is None else by_name(connection, row["serial"], lock=True)
    if row is not None and found is None:
        raise damaged("the unit's record and its indexes contradict each other", row["serial"])
    return found


def _one(connection: Connection, column: str, wanted: str, lock: bool) -> LedgerIdentity | None:
    """Return the identity with *wanted* in *column*."""
    row = _FIND[column, lock].first(connection, {"wanted": wanted})
    return None if row is None else identity_value(row)


def foreseen(column: str, wanted: str) -> Asked:
    """Return what `by_mac` and the like ask first, with a lock."""
    return _NAME_ON_BOARD if column == "mac" else _FIND[column, True], {"wanted": wanted}


def find(connection: Connection, term: str, *, lock: bool = False) -> tuple[LedgerIdentity, ...]:
    """Return the identities that match *term*: a serial, a node id or a MAC (a board may have had several)."""
    table = schema.identity
    match: list[ColumnElement[bool]] = [table.c[name] == term for name in ("serial", "given_serial", "node_id")]
    mac = _as_mac(term)
    if mac is not None:
        match.append(table.c.mac == mac)
    query = identities_query().where(or_(*match)).order_by(table.c.id)
    rows = connection.execute(query.with_for_update(of=table) if lock else query)
    return tuple(identity_value(row._mapping) for row in rows)


def streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """Yield the rows of *query* in constant memory."""
    with connection.execute(query, execution_options={"yield_per": PAGE}) as rows:  # the reader may stop early
        yield from rows


def unfinished(connection: Connection) -> Iterator[LedgerIdentity]:
    """Yield the units that are claimed or flashed but not verified, in the order in which they were made."""
    table = schema.identity
    states = (State.CLAIMED.value, State.FLASHED.value)
    query = identities_query().where(table.c.state.in_(states)).order_by(table.c.id)
    for row in streamed(connection, query):
        yield identity_value(row._mapping)


def named(connection: Connection, term: str, *, lock: bool = False) -> LedgerIdentity:
    """Return the identity that *term* names: its serial, its node id, or the MAC of its live unit.

    A void identity is returned only if no other matches. Raise InputError if *term* matches none, or more than one.
    """
    found = find(connection, term, lock=lock)
    live = [identity for identity in found if identity.state is not State.VOID]
    if not found:
        hint = hint_for_unknown(connection, term) or "give a serial, a node id or a MAC"
        raise InputError(f'no identity in the ledger matches "{term}"', hint=hint)
    if len(live) > 1:
        raise InputError(
            f'"{term}" matches {" and ".join(identity.serial for identity in live)}',
            hint="give a serial or node id that matches only one of them, or the MAC",
        )
    return live[0] if live else found[-1]


def hint_for_unknown(connection: Connection, term: str, *, batches: bool = False) -> str | None:
    """Return a hint for *term*, which names no unit: what it is or may mean, or the serials that look like it.

    *batches*: it could have named a batch as well.
    """
    batch, near = questions.near_batch(asking(connection), term), _near_serial(connection, term)
    if batch == term and not batches:
        return f"that is a batch; use `rmfab status {term}`"
    meant = [name for name in (batch if batches else None, near) if name is not None]
    if meant:
        return f"did you mean {max(meant, key=lambda name: SequenceMatcher(None, term, name).ratio())}?"
    shape = _NUMBERED.fullmatch(term)
    if shape is None:
        return None
    serial = schema.identity.c.serial
    similar = select(serial).where(func.lower(serial).startswith(shape["before"].lower(), autoescape=True)).limit(1)
    lowest, highest = (
        connection.execute(similar.order_by(*order)).scalar()
        for order in ((func.length(serial), serial), (func.length(serial).desc(), serial.desc()))
    )
    if lowest is None:
        return None
    return f"the ledger has {lowest}" if lowest == highest else f"the ledger has serials from {lowest} to {highest}"


def _near_serial(connection: Connection, term: str) -> str | None:
    """Return the serial that *term* is but for upper case, zeros before its number, or a slip in the text before it."""
    serial = schema.identity.c.serial
    same = connection.execute(select(serial).where(func.lower(serial) == term.lower()).limit(1)).scalar()
    parts = _PARTS.fullmatch(term.lower())
    if same is not None or parts is None:
        return same
    firsts = connection.execute(select(serial).where(schema.identity.c.position == 0).limit(PAGE)).scalars()
    shapes = {(shape["before"], shape["after"]) for one in firsts if (shape := _PARTS.fullmatch(f"{one}"))}
    lowered = {before.lower(): before for before, _ in shapes}
    close = get_close_matches(parts["before"], lowered, n=1, cutoff=0.5)
    number = parts["number"].lstrip("0") or "0"
    wanted = [
        f"{before}{number.zfill(width)}{after}"
        for before, after in shapes
        if close and before == lowered[close[0]]
        for width in range(len(number), _WIDEST + 1)
    ]
    return connection.execute(select(serial).where(serial.in_(wanted[:PAGE])).order_by(serial).limit(1)).scalar()


def history(connection: Connection, term: str) -> tuple[StoredEvent, ...]:
    """Return the events of a serial, node id or MAC, in the order in which the ledger stored them."""
    table = schema.event
    mac = _as_mac(term)
    serials = {identity.name for identity in find(connection, term)} | {term}
    match: list[ColumnElement[bool]] = [table.c.serial.in_(serials)]
    if mac is not None:
        match.append(table.c.mac == mac)
    return tuple(
        stored(row._mapping) for row in connection.execute(select(table).where(or_(*match)).order_by(table.c.id))
    )


def newest_ts(connection: Connection) -> str | None:
    """Return the time of the event that was stored last, None if there is none."""
    event = schema.event.c
    told = connection.execute(select(event.ts).order_by(event.id.desc()).limit(1)).scalar()
    return None if told is None else str(told)


def batch_named(connection: Connection, name: str) -> Batch:
    """Return the batch *name*, open or closed. See `questions.batch_named`."""
    return questions.batch_named(asking(connection), name)


def closed_batch(connection: Connection, name: str) -> Batch:
    """Return the closed batch *name*. See `questions.closed_batch`."""
    return questions.closed_batch(asking(connection), name)


def replacements(connection: Connection, name: str) -> tuple[Batch, ...]:
    """Return the batches that replace void identities of batch *name*. See `questions.replacements`."""
    return questions.replacements(asking(connection), name)


def claimable(connection: Connection, product: str, ts: str) -> tuple[Batch, ...]:
    """Return the batches from which can be claimed. See `questions.claimable`."""
    return questions.claimable(asking(connection), product, ts)


def counts(connection: Connection, name: str | None) -> tuple[BatchCount, ...]:
    """Count the identities of batch *name*, or of each batch, by state. Raise InputError for an unknown batch."""
    if name is not None:
        batch_named(connection, name)
    return counted(connection.execute(text(COUNTS), {"name": name}))


def page(connection: Connection, batch: Batch, after: int) -> Sequence[LedgerIdentity]:
    """Return up to `PAGE` identities of *batch* after position *after*, in order of position."""
    query = identities_query().where(schema.identity.c.batch_id == batch.id, schema.identity.c.position > after)
    rows = connection.execute(query.order_by(schema.identity.c.position).limit(PAGE))
    return [identity_value(row._mapping) for row in rows]


def chunks(connection: Connection, batch: Batch | None, after: int) -> Sequence[Chunk]:
    """Return up to `PAGE` chunks of *batch*, or of all batches, with an id above *after*, in order of id."""
    table = schema.chunk
    query = select(table).where(table.c.id > after)
    if batch is not None:
        query = query.where(table.c.batch_id == batch.id)
    return [_chunk_value(row) for row in connection.execute(query.order_by(table.c.id).limit(PAGE))]


def chunk(connection: Connection, chunk_id: int) -> Chunk:
    """Return the chunk with this id. Raise IntegrityError if it does not exist or is invalid."""
    row = connection.execute(select(schema.chunk).where(schema.chunk.c.id == chunk_id)).one_or_none()
    if row is None:
        raise damaged("a chunk is missing", f"chunk {chunk_id}")
    return _chunk_value(row)


def _chunk_value(row: Row[Any]) -> Chunk:
    return chunk_of((row.id, row.number, row.first, row.size, row.wrapped_key, row.digest))


def _as_mac(term: str) -> str | None:
    try:
        return normal_mac(term)
    except InputError:
        return None
