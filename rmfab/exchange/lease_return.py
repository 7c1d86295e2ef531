"""What became of a lease, merged into the shared ledger that it is from: a return and its merge, without a file.

The document of a return and the rules of its merge are those of files (`return_file`, `rmfab.ledger.merge`). Nothing is
signed: the station writes to the shared ledger itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from rmfab.exchange.return_file import BLOCK, document_of, read_document
from rmfab.ledger.handovers import Handover, Lessee, Terms
from rmfab.ledger.merge import Merged
from rmfab.ledger.receipts import Return
from rmfab.ledger.store import Ledger
from rmfab.ledger.stored_events import FIELDS
from rmfab.signing import canonical

_COLUMNS = (*FIELDS, "chain", "seq")
_NOT_YET = ("lost", "written", "receiver")
"""What a handover gets later."""


def merge_lease(shared: Ledger, lease: Ledger, *, station: str, ts: str, unused: bool = False) -> Merged:
    """Merge what happened to the identities of *lease* since the last time; return what that changed in *shared*.

    *unused*: also give back what no board has. Returns that were made before and not merged are merged first: a merge
    was interrupted, or a different process of this station has just made one. Raise as `rmfab.ledger.merge.merge` does;
    then nothing of that return was merged, and the next call tries it again.
    """
    done = Merged()
    if lease.exchange.receipts() and (unused or lease.exchange.has_news()):
        lease.exchange.make_return(unused=unused, station=station, ts=ts, write=lambda *_: None)
    merged = len(shared.exchange.merged_returns(lease.id))
    for number in range(merged + 1, lease.exchange.returns_made() + 1):
        _merge(shared, lease, number, done, station=station, ts=ts)
    return done


def lease_text(given: Handover) -> str:
    """Return *given*, as it was leased, as text: what the ledger of the lease keeps of it."""
    value = {name: one for name, one in dataclasses.asdict(given).items() if name not in _NOT_YET}
    return canonical.encode(value).decode()


def lease_in(text: str) -> Handover:
    """Return the lease in *text* of `lease_text`. Raise ValueError, KeyError or TypeError."""
    value = canonical.decode(text.encode())
    ranges = tuple((first, count) for first, count in value.pop("ranges"))
    terms, lease = Terms(**value.pop("terms")), Lessee(**value.pop("lease"))
    return Handover(**value, ranges=ranges, terms=terms, lease=lease)


def _merge(shared: Ledger, lease: Ledger, number: int, done: Merged, *, station: str, ts: str) -> None:
    """Merge return *number* of *lease*, and add what it changed to *done*."""

    def write(made: Return, rows: Iterator[Any]) -> None:
        received = lease.exchange.receipts()
        document = document_of(lease.id, made.spans[0].station, made, received)
        told = read_document(document, canonical.encode(document)).told
        # A shared ledger that was restored may not know the lease any more.
        proofs = {one.number: one for one in map(lease_in, (receipt.envelope for receipt in received))}
        told = replace(told, proofs={n: one for n, one in proofs.items() if n in told.received})
        _add(done, shared.exchange.merge(told, _blocks(rows), station=station, ts=ts))

    lease.exchange.write_return(number, write)


def _add(done: Merged, merged: Merged) -> None:
    for name in ("events", "units", "given_back", "quarantined", "voided"):
        setattr(done, name, getattr(done, name) + getattr(merged, name))
    done.kept.extend(merged.kept)


def _blocks(rows: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while some := list(islice(remaining, BLOCK)):
        yield [{name: row._mapping[name] for name in _COLUMNS} for row in some]
