"""The terms of a claim: what it requests, what it finds on the board, and what it returns. `claims` has the rules.

They need no SQLAlchemy, so that a step of the line can state them before it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.ledger.events import Event
from rmfab.ledger.records import LedgerIdentity


@dataclass(frozen=True)
class Carried:
    """What the board's flash contains: the node id and the SHA-256 of `random` (hex) from its factory partition."""

    node_id: str | None = None
    random_sha256: str | None = None


@dataclass(frozen=True)
class Replacement:
    """The identity *name* is void from the claim on, for *reason*, and its board gets a different one."""

    name: str
    reason: str


@dataclass(frozen=True)
class Wish:
    """What a claim requests: a *product*, optionally a *batch* by name, optionally one identity by *serial*.

    *gives*: the product's serials come with the board, and *given* is this board's, from its MAC or a scanned code,
    None if it is not known. *replaces*: the identity that the board has, and is to lose.
    """

    product: str
    batch: str | None = None
    serial: str | None = None
    gives: bool = False
    given: str | None = None
    replaces: Replacement | None = None


@dataclass(frozen=True)
class Claim:
    """The *identity* of the board after the claim.

    *again*: the board already had it. *restored*: it was taken over from the board's flash. *other_batch*: it belongs
    neither to the requested batch nor to a replacement of it. *unknown*: the node id in the board's flash, if no
    identity of this ledger has it, nor its `random`: that is an identity from elsewhere.
    """

    identity: LedgerIdentity
    again: bool
    restored: bool
    other_batch: bool
    unknown: str | None = None


@dataclass(frozen=True)
class Around:
    """The steps that are recorded with a claim, as events of its unit: those *before* it, and the one *after* it.

    *after* is called inside the transaction, perhaps twice.
    """

    before: tuple[Event, ...] = ()
    after: Callable[[Claim], Event] | None = None


ALONE = Around()
"""No steps."""


def refuse_given(holder: LedgerIdentity | None, serial: str, mac: str) -> None:
    """Raise InputError if a unit, *holder*, already has the *serial* that the board *mac* would be given."""
    if holder is None:
        return
    board = f"board {holder.mac}" if holder.mac else "no board"
    raise InputError(
        f"serial {serial} belongs to a different unit: {holder.state}, {board}, batch {holder.batch}",
        where=mac,
        hint="scan the code on this board; if two boards have the same code, set both aside",
        cause="serial-taken",
    )
