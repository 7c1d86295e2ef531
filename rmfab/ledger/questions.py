"""What must be known of a ledger before a board is touched, asked in SQL text that every engine understands.

Text needs no SQLAlchemy, whose import takes longer than all that comes before a port is opened. Everything here takes
an `Ask`; the same statements run in a `Ledger` and in a `LedgerReader`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from rmfab.errors import InputError
from rmfab.field_types import mistyped
from rmfab.ledger.events import EventKind, StoredEvent
from rmfab.ledger.host_record import Head
from rmfab.ledger.records import ID, REPLACES, Batch, Chunk
from rmfab.ledger.sql.ask import Ask
from rmfab.ledger.stored_events import CHAINED, Columns, damaged, stored

_META = "SELECT name, value FROM meta"
_EVENT_COLUMNS = ("id", *CHAINED)
_EVENT = f"SELECT {', '.join(_EVENT_COLUMNS)} FROM event"  # noqa: S608 - names of columns, no values
_HASH_AT = "SELECT hash FROM event WHERE chain = :chain AND seq = :seq"
OWN_EVENTS = "event.chain NOT IN (SELECT chain.id FROM chain WHERE chain.ledger IS NOT NULL)"
"""The condition for events that this ledger wrote. Those that were merged are evidence: they change no standing."""
_OF_KIND = f"{_EVENT} WHERE kind = :kind AND {OWN_EVENTS} ORDER BY id DESC"
_OF_POOL = f"{_EVENT} WHERE kind IN (:move, :adopt) AND {OWN_EVENTS} ORDER BY id DESC LIMIT 1"
_BATCH_COLUMNS = ("id", "name", "product", "policy", "size", "chunk_size", "first_n", "state", "digest", "created_ts")
_BATCH = f"SELECT {', '.join(_BATCH_COLUMNS)} FROM batch"  # noqa: S608
BATCH_NAMED = f"{_BATCH} WHERE name = :name"
_IS_SERIAL = """
SELECT 1 FROM identity WHERE serial = :name OR (given_serial = :name AND state <> 'void')
"""
_FREE = "SELECT COUNT(*) FROM identity WHERE batch_id = :batch AND state = 'generated'"
_CLAIMABLE = f"""
{_BATCH} WHERE state = 'closed' AND product = :product
  AND EXISTS (SELECT 1 FROM identity WHERE identity.batch_id = batch.id AND identity.state = 'generated')
ORDER BY id
"""  # noqa: S608
_DOUBTFUL = (
    "SELECT COALESCE(given_serial, serial) FROM identity WHERE doubt_ts IS NOT NULL AND state <> 'void'"
    " ORDER BY doubt_ts, id LIMIT 1000"
)
_FIRST_CHUNK = """
SELECT id, number, first, size, wrapped_key, digest FROM chunk WHERE batch_id = :batch ORDER BY id LIMIT 1
"""


def meta_value(ask: Ask, name: str) -> str | None:
    """Return the entry *name* of the table `meta`, None if there is none."""
    row = _first(ask, "SELECT value FROM meta WHERE name = :name", {"name": name})
    return None if row is None else _entry(name, row[0])


def meta_values(ask: Ask) -> dict[str, str]:
    """Return the table `meta`."""
    return {name: _entry(name, value) for name, value in ask(_META, {})}


def _entry(name: object, value: object) -> str:
    if not isinstance(name, str) or not isinstance(value, str):
        raise damaged(f"its entry {name!r} is not a text", "table meta")
    return value


def ledger_id(ask: Ask) -> str:
    """Return the id that the ledger got when it was created. Raise IntegrityError if it has none that is one."""
    found = meta_value(ask, "ledger_id")
    if found is None or ID.fullmatch(found) is None:
        raise damaged("it has no id", "table meta")
    return found


def lacking(ask: Ask, known: Mapping[str, Head]) -> str | None:
    """Return the id of the first chain that does not contain its head in *known*, None if all do."""
    for chain, head in known.items():
        if head.seq == 0:
            continue
        row = _first(ask, _HASH_AT, {"chain": chain, "seq": head.seq})
        if row is None or row[0] != head.hash:
            return chain
    return None


def foreseen(known: Mapping[str, Head]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is asked before each change, as text and values; *known*: the heads in the host's record."""
    yield _META, {}
    for chain, head in known.items():
        yield _HASH_AT, {"chain": chain, "seq": head.seq}


def last_accepted(ask: Ask, kind: EventKind, product: str) -> StoredEvent | None:
    """Return the last acceptance of a release or a trust file for *product*, None if there was none."""
    found = map(_stored, ask(_OF_KIND, {"kind": kind.value}))
    return next((one for one in found if one.event.details.get("product") == product), None)


def last_pool_event(ask: Ask) -> StoredEvent | None:
    """Return the last move or adoption of the pool, None if there was none."""
    row = _first(ask, _OF_POOL, {"move": EventKind.MOVE.value, "adopt": EventKind.ADOPT.value})
    return None if row is None else _stored(row)


def batches(ask: Ask) -> tuple[Batch, ...]:
    """Return all batches, oldest first."""
    return tuple(map(batch_in, ask(f"{_BATCH} ORDER BY id", {})))


def batch_named(ask: Ask, name: str) -> Batch:
    """Return the batch *name*, open or closed. Raise InputError (cause `no-batch`) if it does not exist."""
    row = _first(ask, BATCH_NAMED, {"name": name})
    if row is None:
        near = near_batch(ask, name)
        if _first(ask, _IS_SERIAL, {"name": name}) is not None:
            hint = f"that is a serial; use `rmfab trace {name}`"
        else:
            hint = f"did you mean {near}?" if near else "list the batches with `rmfab status`"
        raise InputError(f'there is no batch "{name}"', hint=hint, cause="no-batch")
    return batch_in(row)


def batch_of(columns: Columns) -> Batch:
    """Return the batch in the *columns* of a row of the batch table. Raise IntegrityError if it is invalid."""
    values = {name: columns[name] for name in _BATCH_COLUMNS}
    batch = Batch(**{"closed": values.pop("state") == "closed", **values})
    wrong = mistyped(batch) or batch.implausible
    if wrong is not None:
        raise damaged(f"a batch has an invalid {wrong}", f"batch {batch.name}")
    _ = batch.origin  # raises if its policy is invalid
    return batch


def batch_in(row: Sequence[Any]) -> Batch:
    """Return the batch in a *row* of the batch table: the columns of `_BATCH`. Raise as `batch_of`."""
    return batch_of(dict(zip(_BATCH_COLUMNS, row, strict=True)))


def near_batch(ask: Ask, term: str) -> str | None:
    """Return the name of the batch that is most like *term*."""
    names = {f"{name}".lower(): f"{name}" for (name,) in ask("SELECT name FROM batch", {})}
    close = get_close_matches(term.lower(), names, n=1, cutoff=0.8)
    return names[close[0]] if close else None


def closed_batch(ask: Ask, name: str) -> Batch:
    """Return the batch *name*. Raise InputError if it does not exist or is not complete."""
    batch = batch_named(ask, name)
    if not batch.closed:
        raise InputError(
            f"batch {name} is not finished",
            hint="repeat the `rmfab generate` that makes it: it continues where it stopped",
            cause="open-batch",
        )
    return batch


def replacements(ask: Ask, name: str) -> tuple[Batch, ...]:
    """Return the batches that replace void identities of batch *name*, oldest first."""
    like = f'%"{REPLACES}":"{name}"%'  # a name with a wildcard finds more, which the policy itself then rules out
    found = map(batch_in, ask(f"{_BATCH} WHERE policy LIKE :like ORDER BY id", {"like": like}))
    return tuple(batch for batch in found if batch.replaces == name)


def free(ask: Ask, product: str, name: str | None, ts: str) -> int:
    """Count the identities of *product* that can still be claimed at *ts*, from batch *name* and its replacements, or
    from all batches."""
    sources = claimable(ask, product, ts)
    if name is not None:
        family = {one.id for one in (closed_batch(ask, name), *replacements(ask, name))}
        sources = tuple(one for one in sources if one.id in family)
    rows = (_first(ask, _FREE, {"batch": one.id}) for one in sources)
    return sum(int(row[0]) for row in rows if row is not None)


def claimable(ask: Ask, product: str, ts: str) -> tuple[Batch, ...]:
    """Return the closed batches of *product* that have an identity to claim at *ts*, oldest first."""
    found = map(batch_in, ask(_CLAIMABLE, {"product": product}))
    return tuple(batch for batch in found if not batch.expired(ts))


def labels_in_doubt(ask: Ask) -> tuple[str, ...]:
    """Return the serials of the units of which it is in doubt whether a label came out, the oldest doubt first."""
    return tuple(serial for (serial,) in ask(_DOUBTFUL, {}))


def first_chunk(ask: Ask, name: str) -> Chunk | None:
    """Return the first chunk of batch *name*, None if it has none yet. Raise InputError if there is no such batch."""
    row = _first(ask, _FIRST_CHUNK, {"batch": batch_named(ask, name).id})
    return None if row is None else chunk_of(row)


def chunk_of(row: Sequence[Any]) -> Chunk:
    """Return the chunk in a *row* of the chunk table: id, number, first, size, wrapped_key, digest.

    Raise IntegrityError if it is invalid.
    """
    chunk = Chunk(*row)
    wrong = mistyped(chunk)
    if wrong is not None:
        raise damaged(f"a chunk has an invalid {wrong}", f"chunk {chunk.id}")
    return chunk


def _first(ask: Ask, statement: str, values: Mapping[str, Any]) -> Sequence[Any] | None:
    return next(iter(ask(statement, values)), None)


def _stored(row: Sequence[Any]) -> StoredEvent:
    return stored(dict(zip(_EVENT_COLUMNS, row, strict=True)))
