"""What became of a lease, merged into the shared ledger that it is from: a return and its merge, without a file.

The document of a return and the rules of its merge are those of files (`return_file`, `rmfab.ledger.merge`). Nothing is
signed: the station writes to the shared ledger itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from rmfab.errors import IntegrityError
from rmfab.exchange.return_file import BLOCK, document_of, read_document
from rmfab.ledger.handovers import LATER, Handover, Lessee, Terms
from rmfab.ledger.merge import Merged, Returned
from rmfab.ledger.receipts import Return
from rmfab.ledger.store import Ledger
from rmfab.ledger.stored_events import FIELDS
from rmfab.signing import canonical

_COLUMNS = (*FIELDS, "chain", "seq")


def merge_lease(shared: Ledger, lease: Ledger, *, station: str, ts: str, unused: bool = False) -> Merged:
    """Merge what happened to the identities of *lease* since the last time; return what that changed in *shared*.

    *unused*: also give back what no board has. Returns that were made before and not merged are merged first: a merge
    was interrupted, or a different process of this station has just made one. Raise as `rmfab.ledger.merge.merge` does;
    then nothing of that return was merged, and the next call tries it again. Raise IntegrityError (`second-holder`),
    too, if a different ledger made the returns that were merged: a copy of *lease*.
    """
    done = Merged()
    if lease.exchange.receipts() and (unused or lease.exchange.has_news()):
        lease.exchange.make_return(unused=unused, station=station, ts=ts, write=lambda *_: None)
    merged = shared.exchange.merged_returns(lease.id)
    made = lease.exchange.returns_made()
    _judge_merged(lease, merged, made)
    for number in range(len(merged) + 1, made + 1):
        _merge(shared, lease, number, done, station=station, ts=ts)
    return done


def lease_text(given: Handover) -> str:
    """Return *given*, as it was leased, as text: what the ledger of the lease keeps of it."""
    value = {name: one for name, one in dataclasses.asdict(given).items() if name not in LATER}
    return canonical.encode(value).decode()


def lease_in(text: str) -> Handover:
    """Return the lease in *text* of `lease_text`. Raise ValueError, KeyError or TypeError."""
    value = canonical.decode(text.encode())
    ranges = tuple((first, count) for first, count in value.pop("ranges"))
    terms, lease = Terms(**value.pop("terms")), Lessee(**value.pop("lease"))
    return Handover(**value, ranges=ranges, terms=terms, lease=lease)


def _judge_merged(lease: Ledger, merged: Mapping[int, str], made: int) -> None:
    """Raise IntegrityError unless *lease*, which has *made* so many returns, made the last one in *merged*, by digest.

    Two copies never make the same return: it names its time, and the heads of its chains.
    """
    last = max(merged, default=0)
    if last == 0:
        return
    if last <= made and _told(lease, lease.exchange.write_return(last, lambda *_: None)).digest == merged[last]:
        return
    raise IntegrityError(
        f"the shared ledger has a return {last} of this station's lease that a copy of lease.db made",
        hint="a copy of a station is in use: stop both lines; then declare the lease lost",
        cause="second-holder",
    )


def _merge(shared: Ledger, lease: Ledger, number: int, done: Merged, *, station: str, ts: str) -> None:
    """Merge return *number* of *lease*, and add what it changed to *done*."""

    def write(made: Return, rows: Iterator[Any]) -> None:
        _add(done, shared.exchange.merge(_told(lease, made), _blocks(rows), station=station, ts=ts))

    lease.exchange.write_return(number, write)


def _told(lease: Ledger, made: Return) -> Returned:
    """Return what the return *made* of *lease* says."""
    received = lease.exchange.receipts()
    document = document_of(lease.id, made.spans[0].station, made, received)
    told = read_document(document, canonical.encode(document)).told
    # A shared ledger that was restored may not know the lease any more.
    proofs = {one.number: one for one in map(lease_in, (receipt.envelope for receipt in received))}
    return replace(told, proofs={n: one for n, one in proofs.items() if n in told.received})


def _add(done: Merged, merged: Merged) -> None:
    for name in ("events", "units", "given_back", "quarantined", "voided"):
        setattr(done, name, getattr(done, name) + getattr(merged, name))
    done.kept.extend(merged.kept)


def _blocks(rows: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while some := list(islice(remaining, BLOCK)):
        yield [{name: row._mapping[name] for name in _COLUMNS} for row in some]
