"""Which boards get an identity of the lease while the shared ledger is away. Pure.

A board that might be bound elsewhere gets nothing: it waits until the server can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rmfab.errors import LedgerError
from rmfab.ledger.claim_terms import Carried
from rmfab.ledger.records import Batch, LedgerIdentity
from rmfab.ledger.states import State

HINT = "set this board aside until the ledger's server is back, then run it again"


@dataclass(frozen=True)
class Offline:
    """What is known of the board *mac* while the server is away.

    *held*: its identity in the lease. *bound*: the shared ledger has bound it, or may have. *otherwise*: the shared
    ledger has the unit *held* otherwise than the lease. *carried*: what its factory partition contains, None if that is
    blank, or the image of *held*. *found*: the identities of the lease that *carried* names.
    """

    mac: str
    held: LedgerIdentity | None = None
    bound: bool = False
    otherwise: bool = False
    carried: Carried | None = None
    found: Sequence[LedgerIdentity] = ()


def judge_offline(board: Offline) -> None:
    """Raise LedgerError (cause `ledger-away`) if *board* must wait for the server."""
    if board.held is not None:
        if board.otherwise:
            raise must_wait(f"the shared ledger has worked on {board.held.serial} of this board since", board.mac)
    elif board.bound:
        raise must_wait("the shared ledger has bound this board, or may have", board.mac)
    if board.carried is not None and not _is_ours(board.carried, board.found):
        what = "its factory partition is neither blank nor of an identity of this station's lease"
        raise must_wait(what, board.mac)


def must_wait(why: str, where: str | None = None) -> LedgerError:
    """Return the error of a board for which the server must be asked, because of *why*."""
    return LedgerError(f"the ledger's server is away, and {why}", where=where, hint=HINT, cause="ledger-away")


def leased_batches(batches: Iterable[Batch], name: str | None) -> tuple[str, ...]:
    """Return the names of those *batches* of a lease that are from batch *name* of the shared ledger, or from one that
    replaces parts of it; of all if *name* is None."""
    own = ((batch, batch.origin) for batch in batches if batch.closed)
    return tuple(
        batch.name
        for batch, origin in own
        if origin is not None and (name is None or name in (origin.batch, batch.replaces))
    )


def _is_ours(carried: Carried, found: Sequence[LedgerIdentity]) -> bool:
    """Return whether *carried* names an identity of this lease, and nothing else."""
    if carried == Carried() or any(one.state is State.HANDED_OVER for one in found):
        return False
    nodes = {one.node_id for one in found} | {None}
    randoms = {one.record.random_sha256 for one in found} | {None}
    return carried.node_id in nodes and carried.random_sha256 in randoms
