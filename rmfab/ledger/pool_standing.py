"""The standing of a pool: whether this host may give identities from a ledger, and if not, why.

`rmfab.ledger.pool` says what a pool is. The rule asks through an `Ask`, so that it can be applied before SQLAlchemy is
imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, unique

from rmfab.errors import IntegrityError
from rmfab.ledger.events import EventKind
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import Holding, Unusable
from rmfab.ledger.questions import batches, lacking, last_pool_event, meta_values
from rmfab.ledger.sql.ask import Ask


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
    after an upgrade from a version without pools. *moved_to*: the recipient that it was moved to, or the ledger that it
    was copied to. *displaced*: its database is not where it was adopted, and has all that this host knows. *holder*:
    under which identities are given; *superseded* are those before it.
    """

    refusal: IntegrityError | None
    unclaimed: bool = False
    moved_to: str | None = None
    displaced: bool = False
    holder: str | None = None
    superseded: frozenset[str] = frozenset()

    @property
    def held(self) -> bool:
        """Whether this host may give identities from it."""
        return self.refusal is None


SUPERSEDED = "superseded"
"""The entry of the table `meta` with the holders before the present one, separated by spaces."""
_HINT = (
    "give identities from the ledger that holds the pool, or bring it here with `rmfab ledger move`; if it is lost, "
    "`rmfab ledger adopt`"
)
_STALE = "this copy of the ledger lacks identities that this host has given"
"""Also that of a second copy, when the first was adopted here and has given identities since."""
_DISPLACED = "this database is not the one that gives identities: it was restored, cloned, or a replica took over"
_RELOCATE = (
    "use the right server; if this one replaces it, `rmfab ledger adopt` (free identities go into quarantine), or, if "
    "surely nothing was lost, `rmfab ledger adopt --only-copy`"
)
_FORGETFUL = "the server lacks identities that this host has given: it is from a backup, or a replica that lags"
_SUPERSEDED = "this database gave identities before the one that this host has taken from since"
_NO_COPY = "use the right server; if it is lost, `rmfab ledger adopt` here: free identities go into quarantine"
_LEASE = (
    "a lease is used where it was taken: in that folder, with that RMFAB_STATE; if one of them is lost, the owner "
    "declares the lease lost (`rmfab handover --lost N`), and then lease.db is moved out of the workspace"
)
_ONLY_COPY = "if it is the only one, `rmfab ledger adopt --only-copy`"


@dataclass(frozen=True)
class PoolPlace:
    """Where a ledger is: *shown* for people; *place* is that of `LedgerServer.place`, None for a file."""

    shown: str
    place: str | None = None


def standing(ask: Ask, record: Holding | Unusable, host: PoolHost, at: PoolPlace) -> PoolStanding:
    """Return the standing of the pool of the ledger *at* this place."""
    found = _standing(ask, record, host, at)
    if found.refusal is None or at.place is not None or not any(one.leased for one in batches(ask)):
        return found
    why = found.refusal
    return replace(found, refusal=IntegrityError(why.what, where=why.where, hint=_LEASE, cause=why.cause))


def _standing(ask: Ask, record: Holding | Unusable, host: PoolHost, at: PoolPlace) -> PoolStanding:
    meta = meta_values(ask)
    holder = meta.get("holder")
    if holder is None:
        return _without_holder(ask, meta, record, at.shown)
    if at.place is not None:
        return _on_server(ask, meta, record, at)
    why = _contradiction(ask, holder, record, host)
    hint = record.hint if isinstance(record, Unusable) else _HINT
    return PoolStanding(None if why is None else _refusal(why, at.shown, hint), holder=holder)


def judged(ask: Ask, record: Holding | Unusable, host: PoolHost, at: PoolPlace, *, taking: bool) -> PoolStanding:
    """Return the standing of a pool that may be changed here.

    Raise IntegrityError (cause `not-pool-holder`) if this host must not change the ledger. *taking*: the change takes
    from the pool. Only then it matters that no host has held the pool yet.
    """
    pool = standing(ask, record, host, at)
    if pool.refusal is not None and (taking or not pool.unclaimed):
        raise pool.refusal
    return pool


def _without_holder(ask: Ask, meta: Mapping[str, str], record: Holding | Unusable, where: str) -> PoolStanding:
    stale = isinstance(record, Holding) and lacking(ask, record.heads) is not None
    last = last_pool_event(ask)
    moved = last if last is not None and last.event.kind is EventKind.MOVE else None
    if moved is not None and moved.event.details.get("copied"):
        to = str(moved.event.details.get("to"))
        why = f"this ledger was copied to {to} at {moved.event.ts}, which gives its identities since"
        return PoolStanding(_refusal(why, where, f"work with {to}: set RMFAB_LEDGER"), moved_to=to)
    if moved is not None and not stale:
        to = str(moved.event.details.get("to"))
        why = f"this ledger was moved to the host with {to} at {moved.event.ts}"
        refusal = _refusal(why, where, "run `rmfab ledger adopt` on that host")
        return PoolStanding(refusal, moved_to=to)
    if "copy" in meta:
        return PoolStanding(_refusal(f"this ledger is a copy, made at {meta['copy']}", where))
    if stale:
        return PoolStanding(_refusal(_STALE, where))
    why = "no one has said yet that this is the only copy of this ledger"
    return PoolStanding(_refusal(why, where, _ONLY_COPY), unclaimed=True)


def _on_server(ask: Ask, meta: Mapping[str, str], record: Holding | Unusable, at: PoolPlace) -> PoolStanding:
    """Return the standing of a pool that many hosts hold together."""
    holder = meta["holder"]
    if isinstance(record, Holding) and holder in record.superseded:
        return PoolStanding(_refusal(_SUPERSEDED, at.shown, _NO_COPY))
    counts = isinstance(record, Holding) and not (record.holder != holder and _after_loss(ask, holder))
    if isinstance(record, Holding) and counts and lacking(ask, record.heads) is not None:
        return PoolStanding(_refusal(_FORGETFUL, at.shown, _NO_COPY))
    if meta.get("place") != at.place:
        return PoolStanding(_refusal(_DISPLACED, at.shown, _RELOCATE), displaced=True)
    return PoolStanding(None, holder=holder, superseded=frozenset(meta.get(SUPERSEDED, "").split()))


def _after_loss(ask: Ask, holder: str) -> bool:
    """Return whether *holder* adopted the pool after a loss: then nothing that a host gave before is free."""
    last = last_pool_event(ask)
    return (
        last is not None
        and last.event.kind is EventKind.ADOPT
        and last.event.details.get("holder") == holder
        and last.event.details.get("reason") == AdoptionReason.LOSS.value
    )


def _contradiction(ask: Ask, holder: str, record: Holding | Unusable, host: PoolHost) -> str | None:
    """Return how ledger and record contradict each other, None if this host holds the pool."""
    if isinstance(record, Unusable):
        return f"a different copy of this ledger may hold the pool: {record.why}"
    if record.holder != holder:
        return "this is not the copy of the ledger that was adopted last on this host"
    if not record.is_on(host):
        return "the record of this pool was made on a different machine"
    return _STALE if lacking(ask, record.heads) is not None else None


def _refusal(why: str, where: str, hint: str = _HINT) -> IntegrityError:
    return IntegrityError(f"no identity can be given from here: {why}", where=where, hint=hint, cause="not-pool-holder")
