"""How a batch is made: opened, written in chunks, closed.

Stations cannot claim from an open batch. An interrupted batch can be continued: only the chunks that `missing` returns
are made, the others stay. Two processes may make the same batch at once: the first to write a chunk wins, the other's
copy is dropped unread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection, insert, select, update

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.chains import append
from rmfab.ledger.events import Event, EventKind, refuse_other_times
from rmfab.ledger.numbers import Numbers, first_number, last_loss, may_be_given
from rmfab.ledger.queries import PAGE, batch_named, batch_value, meta_value, record_columns
from rmfab.ledger.records import Batch, ChunkPlan, chunk_digest
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import canonical

_SERIALS = (schema.identity.c.serial, schema.identity.c.given_serial)
"""Where a serial may be taken: made with an identity, or given to one with its board."""


@dataclass(frozen=True)
class BatchOrder:
    """The request for a batch.

    *name*: None for the next of `<prefix>-0001` and so on, or for an open batch of the same kind that got such a name.
    *policy*: JSON of everything that decides how the identities are made, so that all parts of a continued batch match.
    *serial_of*: returns the serial of a number (counted from 1 over all batches of the product); None if the serials
    are supplied from outside. *unique_key*: the fingerprint of the key under which PoPs are compared. *first_number*:
    the first number of a new batch, which the operator says is unused; None to count on.
    """

    name: str | None
    prefix: str
    product: str
    size: int
    policy: Mapping[str, Any]
    unique_key: str
    serial_of: Callable[[int], str] | None
    chunk_size: int = 1000
    first_number: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.chunk_size < 1:
            raise InputError("a batch needs at least one identity")
        if self.name is not None and not is_safe_name(self.name):
            raise InputError(
                f'"{self.name}" is not a batch name', hint="use at most 64 of A-Z a-z 0-9 . _ -, no leading dot"
            )

    @property
    def series(self) -> str | None:
        """The series that the serials are counted in, None if they are not counted.

        It is the uniqueness key and the serial pattern: a copy of a workspace, or a second ledger in it, has the same.
        """
        pattern = self.policy.get("serials")
        return None if self.serial_of is None or pattern is None else f"{self.unique_key} {pattern}"


@dataclass(frozen=True)
class Taken:
    """A *value* that a batch already uses.

    *column* is `serial`, `node_id`, `certificate_serial`, `pop_tag` or `random_sha256`: each is unique in a ledger.
    """

    column: str
    value: str
    batch: str


def begin(connection: Connection, order: BatchOrder, ts: str, numbers: Numbers) -> Batch:
    """Return the batch of this order: a new one, an open one to continue, or the closed one made from it before.

    *numbers*: what this host knows of numbers. Raise InputError if the name belongs to a different batch or the
    workspace has the wrong uniqueness key, SerialsUnsure if the serials may have been given.
    """
    refuse_other_times(ts)
    _keep_unique_key(connection, order.unique_key)
    policy = canonical(dict(order.policy))
    standing = _standing(connection, order, policy)
    if standing is not None:
        return standing
    first_n = None if order.serial_of is None else _free_numbers(connection, order, order.serial_of, numbers)
    name = order.name or _next_name(connection, order.prefix)
    connection.execute(
        insert(schema.batch).values(
            name=name,
            auto_named=order.name is None,
            product=order.product,
            policy=policy,
            size=order.size,
            chunk_size=order.chunk_size,
            first_n=first_n,
            state="open",
            created_ts=ts,
        )
    )
    return batch_named(connection, name)


def missing(connection: Connection, batch: Batch) -> Iterator[ChunkPlan]:
    """Return the chunks that *batch* still needs, in order."""
    table = schema.chunk
    there = set(connection.execute(select(table.c.number).where(table.c.batch_id == batch.id)).scalars())
    plans = (plan(batch, number) for number in range(-(-batch.size // batch.chunk_size)))
    return (chunk for chunk in plans if chunk.number not in there)


def plan(batch: Batch, number: int) -> ChunkPlan:
    """Return the plan of chunk *number* of *batch*."""
    first = number * batch.chunk_size
    return ChunkPlan(number, first, min(batch.chunk_size, batch.size - first))


def add(
    connection: Connection, batch: Batch, number: int, wrapped_key: bytes, records: Sequence[SealedRecord]
) -> tuple[int, ...]:
    """Write chunk *number*; or write nothing and return the indices in *records* that must be drawn again.

    If the chunk already exists, it stays and the records are dropped. A record must be drawn again if its PoP is used
    in any batch, or its service name in this one. Raise InputError if a serial, node id or certificate serial is
    already used, IntegrityError if the random number generator repeats itself, ValueError if the chunk does not have
    the planned size.
    """
    place = plan(batch, number)
    if len(records) != place.count:
        raise ValueError(f"chunk {number} of batch {batch.name} needs {place.count} identities, not {len(records)}")
    where = (schema.chunk.c.batch_id == batch.id, schema.chunk.c.number == number)
    if connection.execute(select(schema.chunk.c.id).where(*where)).one_or_none() is not None:
        return ()
    _refuse_taken(connection, records)
    again = _colliding(connection, batch, records)
    if again:
        return again
    rows = [record_columns(record) for record in records]
    chunk_id = connection.execute(
        insert(schema.chunk)
        .values(
            batch_id=batch.id,
            number=number,
            first=place.first,
            size=place.count,
            wrapped_key=wrapped_key,
            digest=chunk_digest(batch.name, number, place.first, rows),
        )
        .returning(schema.chunk.c.id)
    ).scalar_one()
    for position, row in enumerate(rows, place.first):
        row |= {"batch_id": batch.id, "chunk_id": chunk_id, "position": position, "state": State.GENERATED.value}
    connection.execute(insert(schema.identity), rows)
    return ()


def close(connection: Connection, ledger_id: str, batch: Batch, station: str, ts: str) -> Batch:
    """Close *batch*, with one event that carries its digest. Return a closed batch unchanged.

    Raise InputError if chunks are missing.
    """
    # On a server, a different process may be closing it right now.
    connection.execute(select(schema.batch.c.id).where(schema.batch.c.id == batch.id).with_for_update())
    batch = batch_named(connection, batch.name)
    if batch.closed:
        return batch
    lacking = next(missing(connection, batch), None)
    if lacking is not None:
        raise InputError(f"batch {batch.name} is missing identities from position {lacking.first}", cause="open-batch")
    digest = batch_digest(connection, batch)
    connection.execute(update(schema.batch).where(schema.batch.c.id == batch.id).values(state="closed", digest=digest))
    details = {"product": batch.product, "size": batch.size, "digest": digest, "keys": keys_digest(connection, batch)}
    append(connection, ledger_id, station, [Event(ts, EventKind.BATCH, batch=batch.name, details=details)])
    return batch_named(connection, batch.name)


def batch_digest(connection: Connection, batch: Batch) -> str:
    """Return the SHA-256 over the head of *batch* and the digests of its chunks in order."""
    head = {
        "name": batch.name,
        "product": batch.product,
        "policy": batch.policy,
        "size": batch.size,
        "chunk_size": batch.chunk_size,
        "first_n": batch.first_n,
    }
    digest = hashlib.sha256(canonical(head).encode())
    for value in _of_chunks(connection, batch, schema.chunk.c.digest):
        digest.update(value.encode())
    return digest.hexdigest()


def keys_digest(connection: Connection, batch: Batch) -> str:
    """Return the SHA-256 over the wrapped data keys of *batch* in order. It changes when a station is admitted."""
    digest = hashlib.sha256()
    for value in _of_chunks(connection, batch, schema.chunk.c.wrapped_key):
        digest.update(len(value).to_bytes(8, "big") + value)
    return digest.hexdigest()


def find_taken(connection: Connection, values: Mapping[str, Iterable[str]]) -> Iterator[Taken]:
    """Yield those of *values* that are already in the ledger, with their batch. See `Taken` for the columns."""
    for name, wanted in values.items():
        columns = _SERIALS if name == "serial" else (schema.identity.c[name],)
        for some in _groups(wanted):
            for column in columns:
                yield from (Taken(name, value, batch) for value, batch in _taken(connection, column, some))


def _of_chunks(connection: Connection, batch: Batch, column: Any) -> Iterator[Any]:
    query = select(column).where(schema.chunk.c.batch_id == batch.id).order_by(schema.chunk.c.number)
    return iter(connection.execute(query).scalars())


def _keep_unique_key(connection: Connection, fingerprint: str) -> None:
    known = meta_value(connection, "unique_key")
    if known is None:
        connection.execute(insert(schema.meta).values(name="unique_key", value=fingerprint))
    elif known != fingerprint:
        raise InputError(
            "this is not the uniqueness key that the ledger was started with",
            where="keys/unique.key",
            hint="restore the original key: with a different key, equal PoPs would go unnoticed",
            cause="unique-key",
        )


def _standing(connection: Connection, order: BatchOrder, policy: str) -> Batch | None:
    """Return the batch that the order refers to, None if it does not exist yet."""
    table = schema.batch
    if order.name is None:
        loss = last_loss(connection)
        begins = () if order.first_number is None else (table.c.first_n == order.first_number,)
        query = select(table).where(
            *begins,
            table.c.id > (loss.last_batch if loss else 0),  # the lost ledger may have completed an earlier one
            table.c.auto_named,
            table.c.state == "open",
            table.c.product == order.product,
            table.c.policy == policy,
            table.c.size == order.size,
        )
        row = connection.execute(query.order_by(table.c.id).limit(1)).one_or_none()
        return None if row is None else batch_value(row)
    row = connection.execute(select(table).where(table.c.name == order.name)).one_or_none()
    if row is None:
        return None
    batch = batch_value(row)
    _judge_continued(connection, order, batch)
    for what, ours, theirs in (
        ("product", order.product, batch.product),
        ("size", order.size, batch.size),
        ("policy", policy, batch.policy),
    ):
        if ours != theirs:
            raise InputError(
                f"batch {batch.name} already exists {_difference(what, ours, theirs)}",
                hint="choose a different name, or omit it",
                cause="batch-exists",
            )
    return batch


def _judge_continued(connection: Connection, order: BatchOrder, batch: Batch) -> None:
    """Raise InputError if *batch* must not be continued, or does not begin where the order says."""
    loss = last_loss(connection)
    if loss is not None and batch.id <= loss.last_batch and not batch.closed:
        raise InputError(
            f"batch {batch.name} was not finished when the ledger was lost: its other serials may be on devices",
            hint="make a new batch with a different name",
            cause="serials-unsure",
        )
    if order.first_number is not None and order.first_number != batch.first_n:
        begins = "has serials of its own" if batch.first_n is None else f"begins with number {batch.first_n}"
        raise InputError(
            f"batch {batch.name} already exists and {begins}",
            hint="choose a different name, or omit --first-serial",
            cause="batch-exists",
        )


def _difference(what: str, ours: Any, theirs: Any) -> str:
    if what == "size":
        return f"with {theirs} identities, not {ours}"
    if what == "product":
        return f'for product "{theirs}"'
    new, old = json.loads(ours), json.loads(theirs)
    keys = sorted(key for key in new.keys() | old.keys() if new.get(key) != old.get(key))
    return f"and differs in {', '.join(keys)}"


def _next_name(connection: Connection, prefix: str) -> str:
    names = connection.execute(
        select(schema.batch.c.name).where(schema.batch.c.name.startswith(f"{prefix}-", autoescape=True))
    ).scalars()
    numbers = (name.removeprefix(f"{prefix}-") for name in names)
    last = max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=0)
    name = f"{prefix}-{last + 1:04d}"
    if not is_safe_name(name):
        raise InputError(f'"{name}" is not a batch name', hint="name the batch with --batch")
    return name


def _free_numbers(connection: Connection, order: BatchOrder, serial_of: Callable[[int], str], numbers: Numbers) -> int:
    """Return the first of *size* consecutive numbers, after all given ones, that give only unused serials."""
    table = schema.batch
    query = select(table.c.first_n, table.c.size).where(table.c.product == order.product, table.c.first_n.is_not(None))
    first = max((row.first_n + row.size for row in connection.execute(query)), default=1)
    if order.series is not None:
        wanted = order.first_number
        first = first_number(connection, order.series, numbers, serial_of, counted=first, wanted=wanted)
    serial_of(first + order.size - 1)
    n = first
    while n < first + order.size:
        page = range(n, min(n + PAGE, first + order.size))
        of_number = {serial_of(number): number for number in page}
        hits = [of_number[taken.value] for taken in find_taken(connection, {"serial": of_number})]
        if hits and order.first_number is not None:
            raise may_be_given(serial_of(first), max(hits) + 1)
        if hits:
            first = n = max(hits) + 1
        else:
            n = page.stop
    serial_of(first + order.size - 1)
    return first


def _refuse_taken(connection: Connection, records: Sequence[SealedRecord]) -> None:
    """Raise InputError for a duplicate that cannot be drawn again: one from the caller or in a certificate."""
    table = schema.identity
    columns = {"serial": _SERIALS, "node_id": (table.c.node_id,), "certificate_serial": (table.c.certificate_serial,)}
    for name, places in columns.items():
        values = [value for record in records if (value := getattr(record, name)) is not None]
        word = name.replace("_", " ")
        if len(set(values)) != len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise InputError(f'{word} "{twice}" occurs twice', cause="taken")
        for value, batch in chain.from_iterable(_taken(connection, place, values) for place in places):
            raise InputError(
                f'{word} "{value}" is already in batch {batch}',
                hint=f"use each {word} only once",
                cause="taken",
            )


def _colliding(connection: Connection, batch: Batch, records: Sequence[SealedRecord]) -> tuple[int, ...]:
    """Return the indices of the records whose PoP or service name is used, in the ledger or by an earlier record."""
    table = schema.identity
    randoms = [record.random_sha256 for record in records]
    if len(set(randoms)) != len(randoms) or any(_taken(connection, table.c.random_sha256, randoms)):
        raise IntegrityError(
            "the random number generator returned the same 64 bytes twice",
            hint="stop generating identities on this host",
            cause="randomness",
        )
    pops = {value for value, _ in _taken(connection, table.c.pop_tag, [r.pop_tag for r in records])}
    names = [record.service_name for record in records]
    used = {value for value, _ in _taken(connection, table.c.service_name, names, table.c.batch_id == batch.id)}
    again = []
    for index, record in enumerate(records):
        if record.pop_tag in pops or record.service_name in used:
            again.append(index)
        else:
            pops.add(record.pop_tag)
            used.add(record.service_name)
    return tuple(again)


def _taken(connection: Connection, column: Any, values: Sequence[str], *where: Any) -> Iterator[tuple[str, str]]:
    """Yield those of *values* that are in *column* of the identity table, with the name of their batch."""
    for some in _groups(values):
        query = select(column, schema.batch.c.name).select_from(schema.identity.join(schema.batch))
        yield from ((row[0], row[1]) for row in connection.execute(query.where(column.in_(some), *where)))


def _groups(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield *values* in lists short enough for one SQL `IN`."""
    iterator = iter(values)
    while some := list(islice(iterator, PAGE)):
        yield some
