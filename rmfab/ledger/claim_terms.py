"""The terms of a claim: what it requests, what it finds on the board, and what it returns. `claims` has the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rmfab.ledger.events import Event
from rmfab.ledger.records import LedgerIdentity


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


@dataclass(frozen=True)
class Around:
    """The steps that are recorded with a claim, as events of its unit: those *before* it, and the one *after* it.

    *after* is called inside the transaction, perhaps twice.
    """

    before: tuple[Event, ...] = ()
    after: Callable[[Claim], Event] | None = None


ALONE = Around()
"""No steps."""
