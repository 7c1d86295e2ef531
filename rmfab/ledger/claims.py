"""Claims: which identity a board gets.

A claim is one durable transaction, committed before the first byte is written to flash. The steps that led to it and
the step that it is are events of the same transaction, and so is the void of an identity that it replaces. The rules,
in order:

1. Check the identity that the flash already contains. If it is an identity of this ledger and bound to a different
   board, this board is a clone. If it is bound to none (its image was flashed without the line, or it is in quarantine
   because the ledger that gave it was lost, or it was
   imported with its board), bind exactly that identity to this board.
   A board that carries an identity which left this pool gets nothing: it may be a unit of the factory that has it.
   One that this ledger does not know is overwritten, such as that of a development board, and `Claim.unknown` names it.
2. A board that has an identity gets the same one, however often it comes back, even after it failed.
3. Otherwise, the requested serial, if it is free.
4. Otherwise, the lowest free identity of the batch or of its replacements, or of the product's oldest batch that has
   one. A handover that has expired has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, bindparam, select

from rmfab.errors import BatchUsedUp, BoardConflict, CloneError, InputError
from rmfab.ledger import queries, questions, soundness
from rmfab.ledger.chains import append
from rmfab.ledger.claim_terms import Around, Carried, Claim, Wish, refuse_given
from rmfab.ledger.events import Event, EventKind, Outcome, normal_mac
from rmfab.ledger.queries import (
    batch_named,
    by_mac,
    by_node_id,
    by_random,
    by_serial,
    claimable,
    closed_batch,
    hint_for_unknown,
    identities_query,
    identity_value,
    replacements,
    standing_changes,
)
from rmfab.ledger.records import Batch, BatchOrigin, LedgerIdentity, origin_in
from rmfab.ledger.soundness import note_history, refuse_damaged, refuse_forgotten, with_history
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.statement import Asked, Statement, Values, constant, of_text
from rmfab.ledger.standing import project
from rmfab.ledger.states import State
from rmfab.ledger.succession import PREDECESSOR, predecessor, voided


def _lowest_free(query: Select[Any], identity: FromClause, where: ColumnElement[bool]) -> Select[Any]:
    """Return *query* for the lowest free *identity* of the batch that *where* names.

    Its terms are those of the index ix_identity_claim, and the state is a range: for `state = …` a database may as well
    take the index of the positions, and then it reads all identities that were claimed before, for each claim.
    """
    free = constant(State.GENERATED.value)
    query = query.where(where, identity.c.state.between(free, free))
    return query.order_by(identity.c.state, identity.c.position).limit(constant(1))


_WHOLE = identities_query().add_columns(schema.batch.c.policy)
_ANY = schema.identity.alias("any_identity")
_HAS_FREE = _lowest_free(select(_ANY.c.id), _ANY, _ANY.c.batch_id == schema.batch.c.id).correlate(schema.batch)
_OLDEST = (
    select(schema.batch.c.id)
    .where(schema.batch.c.product == bindparam("of_product"), schema.batch.c.state == constant("closed"))
    .where(_HAS_FREE.scalar_subquery().is_not(None))
    .order_by(schema.batch.c.id)
    .limit(constant(1))
)
_IN_OLDEST = schema.identity.c.batch_id == _OLDEST.scalar_subquery()
_IN_NAMED = schema.identity.c.batch_id == (
    select(schema.batch.c.id).where(schema.batch.c.name == bindparam("of_name")).scalar_subquery()
)
_IN_ONE = schema.identity.c.batch_id == bindparam("of_batch")


def _unlocked(where: ColumnElement[bool]) -> Statement:
    """Return the query for the lowest free identity; on a server, of those that no other station is claiming at this
    moment: stations do not wait for each other."""
    query = _lowest_free(_WHOLE, schema.identity, where)
    return with_history(query.with_for_update(skip_locked=True, of=schema.identity))


_LOWEST_IN_OLDEST, _LOWEST_IN_NAMED, _LOWEST_UNLOCKED = map(_unlocked, (_IN_OLDEST, _IN_NAMED, _IN_ONE))
_LOWEST_LOCKED = with_history(_lowest_free(_WHOLE, schema.identity, _IN_ONE).with_for_update(of=schema.identity))
"""Waits for the other stations, whose claims may fail: only this one can say that a batch is used up."""


def claim(
    connection: Connection,
    ledger_id: str,
    wish: Wish,
    event: Event,
    station: str,
    carried: Carried | None,
    around: Around,
) -> Claim:
    """Bind an identity to the board of *event* (its MAC, time and slot); the rules are in the module's docstring.

    Raise CloneError, BoardConflict if flash and ledger contradict each other, BatchUsedUp, or InputError (causes:
    `serial-mismatch`, `serial-taken`, `no-serial`, `no-batch`, `open-batch`, `other-product`, `policy-mismatch`).
    """
    if event.mac is None:
        raise ValueError("a claim needs a MAC")
    if wish.batch is not None:
        closed_batch(connection, wish.batch)
    old = None if wish.replaces is None else predecessor(connection, wish.replaces, event.mac)
    chosen, restored, unknown = _choose(connection, wish, event.mac, event.ts, carried or Carried(), old)
    _judge(chosen, wish, event.mac, restored=restored)
    _judge_batch(connection, chosen, wish, event.ts, restored=restored)
    refuse_damaged(connection, chosen.name, chosen.standing)
    given = _given(connection, chosen, wish, event.mac, old)
    details = {"again": chosen.mac is not None, "restored": restored} | ({} if given is None else {"serial": given})
    if old is not None:
        details[PREDECESSOR] = old.name
    said = event.of(chosen.name, chosen.batch, details)
    claimed = Claim(
        replace(chosen, standing=project(chosen.standing, said)),
        again=chosen.mac is not None,
        restored=restored,
        other_batch=not _is_in(connection, chosen, wish),
        unknown=unknown,
    )
    after = () if around.after is None else (around.after(claimed),)
    events = [*_of(chosen, around.before), said, *_of(chosen, after)]
    changed = {chosen.name: claimed.identity.standing}
    if old is not None and wish.replaces is not None and old.state is not State.VOID:
        gone = voided(old, chosen.name, said, wish.replaces.reason)
        events.insert(0, gone)
        changed = {old.name: project(old.standing, gone), **changed}  # first: a MAC has one live identity
    append(connection, ledger_id, station, events, standing_changes(changed))
    return claimed


def foreseen(wish: Wish, mac: str, carried: Carried | None) -> Iterator[Asked]:
    """Yield what is asked for most claims, so that a server can be asked at once. See `statement.foresee`."""
    yield queries.foreseen("mac", mac)
    yield soundness.foreseen(mac)
    if carried is not None and carried.node_id is not None:
        yield queries.foreseen("node_id", carried.node_id)
    if carried is not None and carried.random_sha256 is not None:
        yield queries.foreseen("random_sha256", carried.random_sha256)
    if wish.batch is not None:
        yield of_text(questions.BATCH_NAMED), {"name": wish.batch}
    if carried in (None, Carried()) and wish.serial is None:
        yield _first(wish)


def _given(
    connection: Connection, chosen: LedgerIdentity, wish: Wish, mac: str, old: LedgerIdentity | None
) -> str | None:
    """Return the serial that *chosen* gets with this board, None if it has one; *old* gives up its own.

    Raise InputError if it is not known, belongs to a different unit, or is not the one that *chosen* has.
    """
    if not chosen.unnamed:
        if chosen.late and wish.given not in (None, chosen.serial):
            raise InputError(
                f"this board is {chosen.serial}, not {wish.given}",
                where=mac,
                hint="scan the code on this board, or void the identity of the board",
                cause="serial-mismatch",
            )
        if not chosen.late and wish.gives and chosen.mac is None:
            raise _other_serials(f"{chosen.name} was made with its serial, and serials now come with the board", mac)
        return None
    if not wish.gives:
        raise _other_serials(f"{chosen.name} gets its serial with its board, and serials are now counted", mac)
    if wish.given is None:
        raise InputError(
            "this board has no serial yet, and no code was scanned for it",
            where=mac,
            hint="pass --scan to scan one code for each board, or --serial CODE for a single port",
            cause="no-serial",
        )
    holder = by_serial(connection, wish.given)
    if old is None or holder is None or holder.name != old.name:
        refuse_given(holder, wish.given, mac)
    return wish.given


def _other_serials(what: str, mac: str) -> InputError:
    return InputError(
        what,
        where=mac,
        hint="make a new batch with `rmfab generate` and name it with --batch, or restore [product] serial",
        cause="policy-mismatch",
    )


def _of(chosen: LedgerIdentity, events: Iterable[Event]) -> Iterator[Event]:
    """Yield *events* as events of *chosen*. Raise ValueError if one would change its standing."""
    for event in events:
        if (
            event.kind is not EventKind.STEP
            or event.state is not None
            or event.outcome in (Outcome.FAIL, Outcome.ERROR)
        ):
            raise ValueError("a claim is recorded with steps that passed")
        yield event.of(chosen.name, chosen.batch)


def _choose(
    connection: Connection, wish: Wish, mac: str, ts: str, carried: Carried, old: LedgerIdentity | None
) -> tuple[LedgerIdentity, bool, str | None]:
    """Return the identity for the board *mac*, whether it is taken over from its flash, and `Claim.unknown`.

    *old* is the identity that the board loses: neither the ledger's nor the flash's word for it counts.
    """
    held = by_mac(connection, mac, lock=True)
    if held is None:
        refuse_forgotten(connection, mac)
    elif old is not None and held.name == old.name:
        held = None
    named = identities_carried(connection, carried, lock=True)
    found = _carried([one for one in named if old is None or one.name != old.name], mac)
    if held is not None and found is not None and held.name != found.name:
        raise BoardConflict(
            f"this board is {held.serial} in the ledger, but its flash contains {found.serial}",
            where=mac,
            hint=f"void the wrong one of the two, {held.serial} or {found.serial}, then run it again",
            cause="carried-conflict",
        )
    chosen = held or found or _free(connection, wish, ts)
    return chosen, held is None and found is not None, None if named else carried.node_id


def _carried(found: Sequence[LedgerIdentity], mac: str) -> LedgerIdentity | None:
    """Return which of the identities *found* in its flash the board *mac* is to have, None if they are void.

    Raise CloneError for a clone.
    """
    for identity in found:
        if identity.mac is not None and identity.mac != mac:
            raise CloneError(
                f"this board's flash contains {identity.serial}, the identity of board {identity.mac}",
                where=mac,
                hint="set it aside: two boards with one identity must not ship; erase its flash to use it again",
            )
    for identity in found:
        if identity.state is State.HANDED_OVER:
            raise BoardConflict(
                f"this board's flash contains {identity.serial}, which is handed over",
                where=mac,
                hint="it may be a unit of the factory or the station with this identity: send it back there, or merge "
                "the return first",
                cause="handed-over",
            )
    counting = [identity for identity in found if identity.state is not State.VOID]
    if len(counting) > 1:
        raise BoardConflict(
            f"this board's flash contains parts of two identities: {', '.join(sorted(one.serial for one in counting))}",
            where=mac,
            hint="set it aside, or erase its flash to use it again",
            cause="carried-conflict",
        )
    return counting[0] if counting else None


def identities_carried(connection: Connection, carried: Carried, *, lock: bool = False) -> tuple[LedgerIdentity, ...]:
    """Return the identities of this ledger that *carried* names: none, one, or two if it has parts of two.

    With *lock*, no other transaction changes them until this one ends.
    """
    found: dict[str, LedgerIdentity] = {}
    if carried.node_id is not None and (identity := by_node_id(connection, carried.node_id, lock=lock)):
        found[identity.name] = identity
    if carried.random_sha256 is not None and (identity := by_random(connection, carried.random_sha256, lock=lock)):
        found[identity.name] = identity
    return tuple(found.values())


def _free(connection: Connection, wish: Wish, ts: str) -> LedgerIdentity:
    """Return the identity for a board without one: the requested serial, or the lowest free one."""
    if wish.serial is not None:
        identity = by_serial(connection, wish.serial, lock=True)
        if identity is None and wish.given != wish.serial:
            hint = hint_for_unknown(connection, wish.serial)
            raise InputError(f"there is no identity {wish.serial} in the ledger", hint=hint, cause="no-serial")
        if identity is not None:
            return identity
    row = _lowest(connection, wish, ts)
    if row is not None:
        _refuse_expired(_origin(row), row["batch_name"], row["serial"], ts)
        note_history(connection, row)
        return identity_value(row)
    raise BatchUsedUp(f"batch {wish.batch} is used up" if wish.batch else f"all batches of {wish.product} are used up")


def _is_in(connection: Connection, chosen: LedgerIdentity, wish: Wish) -> bool:
    """Return whether *chosen* is in the requested batch, or in one that replaces void identities of it."""
    if wish.batch in (None, chosen.batch):
        return True
    return batch_named(connection, chosen.batch).replaces == wish.batch


def _lowest(connection: Connection, wish: Wish, ts: str) -> Values | None:
    """Return the row of the lowest free identity; one in an expired handover only if there is no other."""
    query, values = _first(wish)
    first = query.first(connection, values)
    origin = None if first is None or wish.batch is not None else _origin(first)
    if first is not None and (origin is None or not origin.expired(ts)):
        return first
    for batches in _sources(connection, wish, ts):
        for other in (_LOWEST_UNLOCKED, _LOWEST_LOCKED):
            for batch in batches:
                row = other.first(connection, {"of_batch": batch.id})
                if row is not None:
                    return row
    return None


def _origin(row: Values) -> BatchOrigin | None:
    """Return the origin of the batch of an identity that `_lowest` found."""
    return origin_in(row["policy"], row["batch_name"])


def _first(wish: Wish) -> Asked:
    """Return the query for the lowest free identity of the closed batch that *wish* names, or of the oldest batch."""
    if wish.batch is None:
        return _LOWEST_IN_OLDEST, {"of_product": wish.product}
    return _LOWEST_IN_NAMED, {"of_name": wish.batch}


def _sources(connection: Connection, wish: Wish, ts: str) -> tuple[list[Batch], ...]:
    """Return the batches that *wish* may be fulfilled from, in their order; then those that have expired at *ts*."""
    if wish.batch is not None:
        later = (batch for batch in replacements(connection, wish.batch) if batch.closed)
        return ([closed_batch(connection, wish.batch), *later],)
    every = claimable(connection, wish.product, "")
    return [one for one in every if not one.expired(ts)], [one for one in every if one.expired(ts)]


def _judge(chosen: LedgerIdentity, wish: Wish, mac: str, *, restored: bool) -> None:
    """Raise InputError if *chosen* does not match the request; *restored*: it is taken over from the board's flash."""
    ours = chosen.mac == mac
    if chosen.product != wish.product:
        raise InputError(
            f'{chosen.serial} is for product "{chosen.product}", not "{wish.product}"',
            where=mac,
            cause="other-product",
        )
    if wish.serial not in (None, wish.given if chosen.unnamed else chosen.serial):
        raise InputError(
            f"this board is {chosen.serial}, not {wish.serial}",
            where=mac,
            hint="omit --serial, or void the identity of the board",
            cause="serial-mismatch",
        )
    if chosen.state is State.QUARANTINED and not restored:
        raise InputError(
            f"{chosen.serial} is in quarantine: a board that this ledger does not know may have it",
            where=mac,
            hint="omit --serial: only a board whose flash contains it can get it",
            cause="quarantined",
        )
    if chosen.state is State.HANDED_OVER:
        raise InputError(f"{chosen.serial} is handed over", where=mac, hint="omit --serial", cause="handed-over")
    if chosen.state is State.VOID:
        raise InputError(f"{chosen.serial} is void and cannot be used again", where=mac, cause="serial-taken")
    if chosen.mac is not None and not ours:
        raise InputError(f"{chosen.serial} belongs to board {chosen.mac}", where=mac, cause="serial-taken")


def _judge_batch(connection: Connection, chosen: LedgerIdentity, wish: Wish, ts: str, *, restored: bool) -> None:
    """Raise InputError if *chosen* is free, but not in a batch that may be claimed from at *ts*.

    A requested batch restricts which free serial may be bound, not boards that have an identity.
    """
    if chosen.mac is not None or (wish.serial is None and not restored):  # `_free` has judged the lowest free one
        return
    _refuse_expired(closed_batch(connection, chosen.batch).origin, chosen.batch, chosen.serial, ts)
    if not restored and not _is_in(connection, chosen, wish):
        raise InputError(f"{chosen.serial} is in batch {chosen.batch}, not {wish.batch}", cause="serial-mismatch")


def _refuse_expired(origin: BatchOrigin | None, batch: str, serial: str, ts: str) -> None:
    """Raise InputError if *batch*, which has *serial*, was received in a handover that has expired at *ts*."""
    if origin is not None and origin.expired(ts):
        raise InputError(
            f"the handover of batch {batch} expired on {origin.until[:10]}",
            where=serial,
            hint="give back what is unused with `rmfab return --unused`, and ask the owner for a new handover",
            cause="handover-expired",
        )


def claim_event(mac: str, slot: str | None, ts: str) -> Event:
    """Return the event of a station's claim. Raise InputError for an invalid MAC, ValueError for an invalid time."""
    return Event(ts, EventKind.CLAIM, mac=normal_mac(mac), slot=slot, state=State.CLAIMED)
