"""The pool: which ledger file may give identities, of all the copies that exist.

Every ledger file that gives identities has a *holder* id, and the host's record (`rmfab.ledger.host_record`) names the
holder and the last events that took from the pool. A change is allowed only if the two agree, the record was written on
this machine, and the ledger contains each event that the record names. Of two copies on one host, the first to claim
goes on: the other one lacks its events. A copy on a different host has no record there.

An event that takes from the pool is a claim, a void or a new batch (its serials): the record is updated after it is
durable, and before anyone acts on it. If the process ends between the two, the ledger is ahead of the record, which is
allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from sqlalchemy import Connection, delete, func, insert, select, update

from rmfab.errors import IntegrityError
from rmfab.ledger.chains import OWN, append, close_all, lacking, stored
from rmfab.ledger.events import Event, EventKind, StoredEvent
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import Holding, Unusable
from rmfab.ledger.queries import PAGE, meta_value
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State


@unique
class AdoptionReason(StrEnum):
    """Why a ledger was adopted."""

    ONLY_COPY = "only-copy"
    MOVE = "move"
    LOSS = "loss"


@dataclass(frozen=True)
class Adoption:
    """What an adoption did: its *reason*, and how many free identities were put in *quarantine*."""

    reason: AdoptionReason
    quarantined: int


@dataclass(frozen=True)
class PoolStanding:
    """The standing of a ledger's pool on this host.

    *refusal*: why nothing can be taken from it, None if this host holds it. *unclaimed*: no host has held it yet, as
    after an upgrade from a version without pools. *moved_to*: the recipient that it was moved to.
    """

    refusal: IntegrityError | None
    unclaimed: bool = False
    moved_to: str | None = None

    @property
    def held(self) -> bool:
        """Whether this host may give identities from it."""
        return self.refusal is None


_HINT = (
    "give identities from the ledger that holds the pool, or bring it here with `rmfab ledger move`; if it is lost, "
    "`rmfab ledger adopt`"
)
_STALE = "this copy of the ledger lacks identities that this host has given"
"""Also that of a second copy, when the first was adopted here and has given identities since."""
_ONLY_COPY = "if it is the only one, `rmfab ledger adopt --only-copy`"


def standing(connection: Connection, record: Holding | Unusable, host: PoolHost, where: str) -> PoolStanding:
    """Return the standing of the pool; *where* is the ledger's location, for the refusal."""
    holder = meta_value(connection, "holder")
    if holder is None:
        return _without_holder(connection, record, where)
    why = _contradiction(connection, holder, record, host)
    return PoolStanding(None if why is None else _refusal(why, where))


def judged(connection: Connection, record: Holding | Unusable, host: PoolHost, where: str, *, taking: bool) -> None:
    """Raise IntegrityError (cause `not-pool-holder`) if this host must not change the ledger.

    *taking*: the change takes from the pool. Only then it matters that no host has held the pool yet.
    """
    pool = standing(connection, record, host, where)
    if pool.refusal is not None and (taking or not pool.unclaimed):
        raise pool.refusal


def is_empty(connection: Connection) -> bool:
    """Return whether the ledger has no holder, no batch and no event: then it is anyone's."""
    if meta_value(connection, "holder") is not None or meta_value(connection, "copy") is not None:
        return False
    return not any(
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (schema.batch, schema.event)
    )


def hold_empty(connection: Connection, ledger_id: str, holding: Holding) -> None:
    """Make an empty ledger the pool *ledger_id*, new and its own: a copy of the empty file becomes a different one."""
    _set_meta(connection, "ledger_id", ledger_id)
    _set_meta(connection, "holder", holding.holder)


def adopt(
    connection: Connection, ledger_id: str, station: str, ts: str, holding: Holding, reason: AdoptionReason
) -> Adoption:
    """Make *holding* the holder. After a loss, put every free identity in quarantine, with an event for each."""
    if reason is not AdoptionReason.ONLY_COPY:
        close_all(connection)
    quarantined = _quarantine(connection, ledger_id, station, ts) if reason is AdoptionReason.LOSS else 0
    details = {"reason": reason.value, "holder": holding.holder, "quarantined": quarantined}
    append(connection, ledger_id, station, [Event(ts, EventKind.ADOPT, details=details)])
    _set_meta(connection, "copy", None)
    _set_meta(connection, "holder", holding.holder)
    return Adoption(reason, quarantined)


def move(connection: Connection, ledger_id: str, station: str, ts: str, recipient: str) -> None:
    """End giving identities here: write the last event, which names the *recipient* of the new host."""
    append(connection, ledger_id, station, [Event(ts, EventKind.MOVE, details={"to": recipient})])
    close_all(connection)
    _set_meta(connection, "holder", None)


def free_identities(connection: Connection) -> int:
    """Count the free identities of all batches: those that an adoption after a loss puts in quarantine."""
    query = select(func.count()).where(schema.identity.c.state == State.GENERATED.value)
    return int(connection.execute(query).scalar_one())


def _set_meta(connection: Connection, name: str, value: str | None) -> None:
    """Set the entry *name* of the ledger's table `meta`; None removes it."""
    connection.execute(delete(schema.meta).where(schema.meta.c.name == name))
    if value is not None:
        connection.execute(insert(schema.meta).values(name=name, value=value))


def _without_holder(connection: Connection, record: Holding | Unusable, where: str) -> PoolStanding:
    stale = isinstance(record, Holding) and lacking(connection, record.heads) is not None
    last = _last_pool_event(connection)
    if last is not None and last.event.kind is EventKind.MOVE:
        to = str(last.event.details.get("to"))
        why = f"this ledger was moved to the host with {to} at {last.event.ts}"
        refusal = _refusal(why, where, "run `rmfab ledger adopt` on that host")
        return PoolStanding(refusal, moved_to=None if stale else to)
    copied = meta_value(connection, "copy")
    if copied is not None:
        return PoolStanding(_refusal(f"this ledger is a copy, made at {copied}", where))
    if stale:
        return PoolStanding(_refusal(_STALE, where))
    why = "no one has said yet that this is the only copy of this ledger"
    return PoolStanding(_refusal(why, where, _ONLY_COPY), unclaimed=True)


def _contradiction(connection: Connection, holder: str, record: Holding | Unusable, host: PoolHost) -> str | None:
    """Return how ledger and record contradict each other, None if this host holds the pool."""
    if isinstance(record, Unusable):
        return f"a different copy of this ledger may hold the pool: {record.why}"
    if record.holder != holder:
        return "this is not the copy of the ledger that was adopted last on this host"
    if not record.is_on(host):
        return "the record of this pool was made on a different machine"
    return _STALE if lacking(connection, record.heads) is not None else None


def _refusal(why: str, where: str, hint: str = _HINT) -> IntegrityError:
    return IntegrityError(f"no identity can be given from here: {why}", where=where, hint=hint, cause="not-pool-holder")


def _last_pool_event(connection: Connection) -> StoredEvent | None:
    table = schema.event
    kinds = [EventKind.MOVE.value, EventKind.ADOPT.value]
    query = select(table).where(table.c.kind.in_(kinds), OWN).order_by(table.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else stored(row)


def _quarantine(connection: Connection, ledger_id: str, station: str, ts: str) -> int:
    """Put every free identity in quarantine, page by page; return how many."""
    table, batch = schema.identity, schema.batch
    query = select(table, batch.c.name.label("batch_name")).join(batch).order_by(table.c.id).limit(PAGE)
    query = query.where(table.c.state == State.GENERATED.value)
    number = 0
    while rows := connection.execute(query).all():
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
