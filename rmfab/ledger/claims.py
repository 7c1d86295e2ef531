"""Claims: which identity a board gets.

A claim is one durable transaction, committed before the first byte is written to flash. The rules, in order:

1. Check the identity that the flash already contains. If it is an identity of this ledger and bound to a different
   board, this board is a clone. If it is bound to none (its image was flashed without the line, or it is in quarantine
   because the ledger that gave it was lost), bind exactly that identity to this board.
2. A board that has an identity gets the same one, however often it comes back, even after it failed.
3. Otherwise, the requested serial, if it is free.
4. Otherwise, the lowest free identity of the batch, or of the product's oldest batch that has one.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, update

from rmfab.errors import BatchUsedUp, CloneError, InputError, IntegrityError
from rmfab.ledger.chains import append
from rmfab.ledger.events import Event, EventKind, normal_mac
from rmfab.ledger.queries import (
    by_mac,
    by_node_id,
    by_serial,
    closed_batch,
    hint_for_unknown,
    identities_query,
    identity_value,
    one,
    standing_columns,
)
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import project
from rmfab.ledger.states import State


@dataclass(frozen=True)
class Carried:
    """What the board's flash contains: the node id and the SHA-256 of `random` (hex) from its factory partition."""

    node_id: str | None = None
    random_sha256: str | None = None


@dataclass(frozen=True)
class Wish:
    """What a claim requests: a *product*, optionally a *batch* by name, optionally one identity by *serial*."""

    product: str
    batch: str | None = None
    serial: str | None = None


@dataclass(frozen=True)
class Claim:
    """The *identity* of the board after the claim.

    *again*: the board already had it. *restored*: it was taken over from the board's flash. *other_batch*: it belongs
    to a different batch than the requested one.
    """

    identity: LedgerIdentity
    again: bool
    restored: bool
    other_batch: bool


def claim(
    connection: Connection,
    ledger_id: str,
    wish: Wish,
    event: Event,
    station: str,
    carried: Carried | None,
) -> Claim:
    """Bind an identity to the board of *event* (its MAC, time and slot); the rules are in the module's docstring.

    Raise CloneError, IntegrityError if flash and ledger contradict each other, BatchUsedUp, or InputError (causes:
    `serial-mismatch`, `serial-taken`, `no-serial`, `no-batch`, `open-batch`, `other-product`).
    """
    if event.mac is None:
        raise ValueError("a claim needs a MAC")
    if wish.batch is not None:
        closed_batch(connection, wish.batch)
    held = by_mac(connection, event.mac)
    found = _carried(connection, carried or Carried(), event.mac)
    if held is not None and found is not None and held.serial != found.serial:
        raise IntegrityError(
            f"this board is {held.serial} in the ledger, but its flash contains {found.serial}",
            where=event.mac,
            hint=f"void the wrong one of the two, {held.serial} or {found.serial}, then run it again",
            cause="carried-conflict",
        )
    chosen = held or found or _free(connection, wish)
    _judge(chosen, wish, event.mac, carried=chosen is found)
    return _bind(connection, ledger_id, station, chosen, wish, event, restored=held is None and found is not None)


def _carried(connection: Connection, carried: Carried, mac: str) -> LedgerIdentity | None:
    """Return the identity of this ledger that the flash contains, unless it is void. Raise CloneError for a clone."""
    table = schema.identity
    found: dict[str, LedgerIdentity] = {}
    if carried.node_id is not None and (identity := by_node_id(connection, carried.node_id)):
        found[identity.serial] = identity
    if carried.random_sha256 is not None:
        identity = one(connection, table.c.random_sha256 == carried.random_sha256)
        if identity is not None:
            found[identity.serial] = identity
    for identity in found.values():
        if identity.mac is not None and identity.mac != mac:
            raise CloneError(
                f"this board's flash contains {identity.serial}, the identity of board {identity.mac}",
                where=mac,
                hint="set it aside: two boards with one identity must not ship; erase its flash to use it again",
            )
    counting = [identity for identity in found.values() if identity.state is not State.VOID]
    if len(counting) > 1:
        raise IntegrityError(
            f"this board's flash contains parts of two identities: {', '.join(sorted(found))}",
            where=mac,
            hint="set it aside, or erase its flash to use it again",
            cause="carried-conflict",
        )
    return counting[0] if counting else None


def _free(connection: Connection, wish: Wish) -> LedgerIdentity:
    """Return the identity for a board without one: the requested serial, or the lowest free one."""
    if wish.serial is not None:
        identity = by_serial(connection, wish.serial)
        if identity is None:
            hint = hint_for_unknown(connection, wish.serial)
            raise InputError(f"there is no identity {wish.serial} in the ledger", hint=hint, cause="no-serial")
        return identity
    batch = schema.batch
    query = identities_query().where(schema.identity.c.state == State.GENERATED.value)
    if wish.batch is not None:
        query = query.where(batch.c.id == closed_batch(connection, wish.batch).id)
    else:
        query = query.where(batch.c.product == wish.product, batch.c.state == "closed")
    query = query.order_by(schema.identity.c.batch_id, schema.identity.c.position).limit(1)
    row = connection.execute(query.with_for_update(skip_locked=True, of=schema.identity)).one_or_none()
    if row is not None:
        return identity_value(row)
    raise BatchUsedUp(
        f"batch {wish.batch} is used up" if wish.batch else f"all batches of {wish.product} are used up",
        hint="make more identities with `rmfab generate --count N`",
    )


def _judge(chosen: LedgerIdentity, wish: Wish, mac: str, *, carried: bool) -> None:
    """Raise InputError if *chosen* does not match the request; *carried*: the board's flash contains it."""
    ours = chosen.mac == mac
    if chosen.product != wish.product:
        raise InputError(
            f'{chosen.serial} is for product "{chosen.product}", not "{wish.product}"',
            where=mac,
            cause="other-product",
        )
    if wish.serial is not None and chosen.serial != wish.serial:
        raise InputError(
            f"this board is {chosen.serial}, not {wish.serial}",
            where=mac,
            hint="omit --serial, or void the identity of the board",
            cause="serial-mismatch",
        )
    if chosen.state is State.QUARANTINED and not carried:
        raise InputError(
            f"{chosen.serial} is in quarantine: a board of the lost ledger may have it",
            where=mac,
            hint="omit --serial: only a board whose flash contains it can get it",
            cause="quarantined",
        )
    if chosen.state is State.VOID:
        raise InputError(f"{chosen.serial} is void and cannot be used again", where=mac, cause="serial-taken")
    if chosen.mac is not None and not ours:
        raise InputError(f"{chosen.serial} belongs to board {chosen.mac}", where=mac, cause="serial-taken")


def _bind(
    connection: Connection,
    ledger_id: str,
    station: str,
    chosen: LedgerIdentity,
    wish: Wish,
    event: Event,
    *,
    restored: bool,
) -> Claim:
    """Write the claim. A requested batch restricts which free serial may be bound, not boards that have an identity."""
    again = chosen.mac is not None
    other_batch = wish.batch is not None and chosen.batch != wish.batch
    if not again:
        closed_batch(connection, chosen.batch)
        if other_batch and not restored:
            raise InputError(f"{chosen.serial} is in batch {chosen.batch}, not {wish.batch}", cause="serial-mismatch")
    said = Event(
        event.ts,
        EventKind.CLAIM,
        batch=chosen.batch,
        serial=chosen.serial,
        mac=event.mac,
        slot=event.slot,
        state=State.CLAIMED,
        details={"again": again, "restored": restored},
    )
    append(connection, ledger_id, station, [said])
    table = schema.identity
    connection.execute(
        update(table).where(table.c.serial == chosen.serial).values(standing_columns(project(chosen.standing, said)))
    )
    now = by_serial(connection, chosen.serial)
    if now is None:
        raise IntegrityError("the identity disappeared during its claim", where=chosen.serial)
    return Claim(now, again, restored, other_batch)


def claim_event(mac: str, slot: str | None, ts: str) -> Event:
    """Return the event of a station's claim. Raise InputError for an invalid MAC, ValueError for an invalid time."""
    return Event(ts, EventKind.CLAIM, mac=normal_mac(mac), slot=slot)
