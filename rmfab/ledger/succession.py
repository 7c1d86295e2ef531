"""Succession: a board gets a different identity, and the one it had is void, in one transaction.

There is no moment at which it has both, or at which only the first half is durable. Each of the two events names the
other identity: the void has its `successor`, the claim its `predecessor`. So a claim that is repeated after the process
was killed finds the successor, and continues with it.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from rmfab.errors import InputError
from rmfab.ledger.claim_terms import Replacement
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.queries import by_mac, by_name
from rmfab.ledger.records import LedgerIdentity, refuse_handed_over
from rmfab.ledger.soundness import refuse_damaged
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import project
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import stored

PREDECESSOR, SUCCESSOR = "predecessor", "successor"


def predecessor(connection: Connection, replacement: Replacement, mac: str) -> LedgerIdentity:
    """Return the identity that the board *mac* is to lose, or has lost; no other transaction changes it meanwhile.

    Raise InputError if it is not that of this board, or if the board has one that does not succeed it.
    """
    old = by_name(connection, replacement.name, lock=True)
    if old is None:
        raise InputError(f"there is no identity {replacement.name} in the ledger", where=mac, cause="no-serial")
    refuse_handed_over(old)
    if old.mac != mac:
        what = f"{old.serial} is board {old.mac}" if old.mac else f"{old.serial} was never bound to a board"
        hint = "put the board of this unit on the port; nothing was changed"
        raise InputError(f"{what}, not this one", where=mac, hint=hint, cause="serial-mismatch")
    held = by_mac(connection, mac, lock=True)
    if held is not None and held.name != old.name and old.name not in predecessors(connection, held.name):
        raise InputError(
            f"this board is {held.serial} now, which did not replace {old.serial}",
            where=mac,
            hint=f"to replace that one, run `rmfab reidentify {held.serial}`",
            cause="serial-mismatch",
        )
    if old.state is not State.VOID:
        refuse_damaged(connection, old.name, old.standing)
    return old


def predecessors(connection: Connection, name: str) -> frozenset[str]:
    """Return the names of the identities that the claims of *name* replaced."""
    event = schema.event
    claims = select(event).where(event.c.serial == name, event.c.kind == EventKind.CLAIM.value)
    details = (stored(row._mapping).event.details for row in connection.execute(claims))
    return frozenset(one[PREDECESSOR] for one in details if PREDECESSOR in one)


def voided(old: LedgerIdentity, successor: str, claim: Event, reason: str) -> Event:
    """Return the event with which *old* is void, as its board is claimed for *successor*."""
    event = old.voided(claim.ts, reason, claim.slot, {SUCCESSOR: successor})
    project(old.standing, event)
    return event
