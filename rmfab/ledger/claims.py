"""Claims: which identity a board gets.

One durable transaction, before the first byte is written. In this order:

1. What the flash carries is trusted before anything is given: an identity of this ledger that belongs to another
   board is a clone; one that the ledger never gave (it was restored from a backup) is bound to this board, that one
   and no other.
2. A board that has an identity gets the same again, however often it comes back, also after it failed.
3. A serial that was asked for, if it is free.
4. The lowest free identity of the batch, or of the oldest batch of the product that has one.
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
    """What the board's flash carries: the node id and SHA-256 of `random` (hex) in its factory partition."""

    node_id: str | None = None
    random_sha256: str | None = None


@dataclass(frozen=True)
class Wish:
    """What is asked of a claim: a *product*, perhaps a *batch* by name, perhaps one identity by *serial*."""

    product: str
    batch: str | None = None
    serial: str | None = None


@dataclass(frozen=True)
class Claim:
    """The *identity* of the board, as it stands after the claim.

    *again*: the board had it before. *restored*: it was taken over from what the flash carries. *other_batch*: it is
    of another batch than the one asked for.
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
    """Binds an identity to the board of *event* (its MAC, time and slot), see the module's rules.

    Raises CloneError, IntegrityError where flash and ledger contradict each other, BatchUsedUp, and InputError (its
    causes: `serial-mismatch`, `serial-taken`, `no-serial`, `no-batch`, `open-batch`, `other-product`).
    """
    if event.mac is None:
        raise ValueError("a claim needs a MAC")
    if wish.batch is not None:
        closed_batch(connection, wish.batch)
    held = by_mac(connection, event.mac)
    found = _carried(connection, carried or Carried(), event.mac)
    if held is not None and found is not None and held.serial != found.serial:
        raise IntegrityError(
            f"this board is {held.serial} here, but its flash carries {found.serial}, which was never given",
            where=event.mac,
            hint=f"void {held.serial} if {found.serial} is right, or {found.serial} if it is not; then run it again",
            cause="carried-conflict",
        )
    chosen = held or found or _free(connection, wish)
    _judge(chosen, wish, event.mac)
    return _bind(connection, ledger_id, station, chosen, wish, event, restored=held is None and found is not None)


def _carried(connection: Connection, carried: Carried, mac: str) -> LedgerIdentity | None:
    """The identity of this ledger that the flash carries and that counts. Raises CloneError."""
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
                f"this board carries {identity.serial}, the identity of board {identity.mac}",
                where=mac,
                hint="set it aside: two boards with one identity must never leave; erase its flash to use it anew",
            )
    counting = [identity for identity in found.values() if identity.state is not State.VOID]
    if len(counting) > 1:
        raise IntegrityError(
            f"this board carries parts of two identities: {', '.join(sorted(found))}",
            where=mac,
            hint="set it aside, or erase its flash to use it anew",
            cause="carried-conflict",
        )
    return counting[0] if counting else None


def _free(connection: Connection, wish: Wish) -> LedgerIdentity:
    """The identity that a board without one gets: the serial asked for, or the lowest free one."""
    if wish.serial is not None:
        identity = by_serial(connection, wish.serial)
        if identity is None:
            raise InputError(f"there is no identity {wish.serial}", cause="no-serial")
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
        f"batch {wish.batch} is used up" if wish.batch else f"no batch of {wish.product} has an identity left",
        hint="`rmfab generate --count N` makes more",
    )


def _judge(chosen: LedgerIdentity, wish: Wish, mac: str) -> None:
    """Raises InputError where *chosen* cannot be what was asked for."""
    ours = chosen.mac == mac
    if chosen.product != wish.product:
        raise InputError(
            f'{chosen.serial} is of product "{chosen.product}", not "{wish.product}"', where=mac, cause="other-product"
        )
    if wish.serial is not None and chosen.serial != wish.serial:
        raise InputError(
            f"this board is {chosen.serial}, not {wish.serial}",
            where=mac,
            hint="leave --serial out, or void the identity that the board has",
            cause="serial-mismatch",
        )
    if chosen.state is State.VOID:
        raise InputError(f"{chosen.serial} is void and is never given again", where=mac, cause="serial-taken")
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
    """Writes the claim. A batch that is asked for binds a free serial, but not a board that has an identity."""
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
        raise IntegrityError("the identity vanished in its own claim", where=chosen.serial)
    return Claim(now, again, restored, other_batch)


def claim_event(mac: str, slot: str | None, ts: str) -> Event:
    """What a station says when it claims. Raises InputError for a bad MAC, ValueError for a bad time."""
    return Event(ts, EventKind.CLAIM, mac=normal_mac(mac), slot=slot)
