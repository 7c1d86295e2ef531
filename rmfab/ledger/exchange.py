"""What a ledger exchanges with others: identities that it hands over or receives, returns that it makes or merges.

A part of `rmfab.ledger.store.Ledger`, as its attribute `exchange`: what that says of changes and errors holds here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row

from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger import handovers, host_receipts, merge, queries, receipts
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.handovers import Handover, Lessee, Terms
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import HostRecord
from rmfab.ledger.merge import Merged, Returned
from rmfab.ledger.numbers import Numbers
from rmfab.ledger.receipts import Receipt, Return
from rmfab.ledger.records import Batch, BatchOrigin, LedgerIdentity
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.outage import Unsettled


@dataclass(frozen=True)
class LedgerPlace:
    """A ledger: its id, its *database* at *where*, and the *host* on which it is open."""

    ledger_id: str
    database: Database
    host: PoolHost
    where: str


class LedgerExchange:
    """The exchange of the ledger at *place*. *taking* and *changing* open transactions of a station, see
    `store.Ledger`."""

    def __init__(
        self,
        place: LedgerPlace,
        taking: Callable[[str], AbstractContextManager[Connection]],
        changing: Callable[[str], AbstractContextManager[Connection]],
    ) -> None:
        self._place = place
        self._taking = taking
        self._changing = changing

    def hand_over(
        self,
        batch: str,
        count: int | None,
        terms: Terms,
        *,
        station: str,
        ts: str,
        write: Callable[[Handover, Iterator[LedgerIdentity]], None],
    ) -> Handover:
        """Take *count* free identities of *batch* out of the pool, None for all. See `handovers.hand_over`.

        *write* gets the handover and its identities before this is durable; if it fails, nothing has changed.
        """
        with self._taking(station) as connection:
            given = handovers.hand_over(connection, self._place.ledger_id, station, ts, batch, count, terms)
            write(given, pages(lambda after: handovers.page(connection, given.number, after)))
        return given

    def lease(self, batch: str, count: int, terms: Terms, to: Lessee, *, station: str, ts: str) -> Handover:
        """Take up to *count* free identities of *batch* out of the pool, as a lease for the ledger *to*.

        See `handovers.hand_over`.
        """
        with self._taking(station) as connection:
            return handovers.hand_over(connection, self._place.ledger_id, station, ts, batch, count, terms, to)

    def note_written(self, number: int, *, station: str, ts: str) -> None:
        """Record that the file of handover *number* is complete. See `handovers.note_written`."""
        with self._changing(station) as connection:
            handovers.note_written(connection, self._place.ledger_id, station, ts, number)

    def handovers(self) -> tuple[tuple[Handover, int], ...]:
        """Return all handovers, oldest first, each with the number of its identities that are still out."""
        with self._place.database.reading() as connection:
            return tuple((one, handovers.out(connection, one.number)) for one in handovers.handovers(connection))

    def handover(self, number: int) -> Handover:
        """Return the handover *number*. Raise InputError if there is none."""
        with self._place.database.reading() as connection:
            return handovers.handover(connection, number)

    def handed_over(self, number: int) -> Iterator[LedgerIdentity]:
        """Yield the identities of handover *number* that are still out, in constant memory."""
        with self._place.database.reading() as connection:
            yield from pages(lambda after: handovers.page(connection, number, after))

    def lose_handover(self, number: int, *, reason: str, station: str, ts: str) -> int:
        """Void what is still out of handover *number*; return how many. See `handovers.declare_lost`."""
        with self._taking(station) as connection:
            return handovers.declare_lost(connection, self._place.ledger_id, station, ts, number, reason)

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the handovers that this ledger received, oldest first."""
        with self._place.database.reading() as connection:
            return receipts.receipts(connection)

    def refuse_foreign(self, origin: BatchOrigin) -> None:
        """Raise InputError unless every batch here came from the owner of *origin*. See `receipts.refuse_foreign`."""
        with self._place.database.reading() as connection:
            receipts.refuse_foreign(connection, origin, self._place.ledger_id)

    def receive(
        self,
        order: BatchOrder,
        chunks: Iterable[tuple[bytes, Sequence[SealedRecord]]],
        receipt: Receipt,
        *,
        station: str,
    ) -> Batch:
        """Add the identities of a handover, which this host receives once. See `receipts.receive`."""
        origin, place = receipt.origin, self._place
        noted = host_receipts.received(
            place.host,
            origin.pool,
            origin.handover,
            place.ledger_id,
            self._holder(),
            place.where,
            lambda: any(one.origin == origin for one in self.receipts()),
            Unsettled,
        )
        with noted, self._taking(station) as connection:
            numbers = Numbers(HostRecord(place.host, place.ledger_id).read())
            return receipts.receive(connection, place.ledger_id, station, order, chunks, receipt, numbers)

    def make_return(
        self, *, unused: bool, station: str, ts: str, write: Callable[[Return, Iterator[Row[Any]]], None]
    ) -> Return:
        """End a return here, and give back what is *unused*. See `receipts.make_return`.

        *write* gets the return and the rows of its events before this is durable; if it fails, nothing has changed.
        """
        with self._taking(station) as connection:
            made = receipts.make_return(connection, self._place.ledger_id, station, ts, unused=unused)
            write(made, receipts.event_rows(connection, made.spans))
        return made

    def returns_made(self) -> int:
        """Return the number of the last return of this ledger, 0 if it made none."""
        with self._place.database.reading() as connection:
            return receipts.returns_made(connection)

    def has_news(self) -> bool:
        """Return whether anything happened to an identity since the last return."""
        with self._place.database.reading() as connection:
            return receipts.has_news(connection)

    def merged_returns(self, ledger: str) -> dict[int, str]:
        """Return the digests of the returns of *ledger* that were merged here, by their numbers."""
        with self._place.database.reading() as connection:
            return merge.merged_returns(connection, ledger)

    def write_return(self, number: int, write: Callable[[Return, Iterator[Row[Any]]], None]) -> Return:
        """Pass return *number*, as it was made, to *write*. See `receipts.returned`."""
        with self._place.database.reading() as connection:
            made = receipts.returned(connection, self._place.ledger_id, number)
            write(made, receipts.event_rows(connection, made.spans))
        return made

    def merge(
        self,
        told: Returned,
        blocks: Iterable[Sequence[dict[str, Any]]],
        *,
        station: str,
        ts: str,
        dead: Mapping[str, str] = MappingProxyType({}),
    ) -> Merged:
        """Merge a return; all or nothing. See `rmfab.ledger.merge`."""
        with self._taking(station) as connection:
            return merge.merge(connection, self._place.ledger_id, station, ts, told, blocks, dead)

    def _holder(self) -> str:
        with self._place.database.reading() as connection:
            return queries.meta_value(connection, "holder") or ""


def pages(page: Callable[[int], Sequence[LedgerIdentity]]) -> Iterator[LedgerIdentity]:
    """Yield what *page* returns for the position of the last identity before it, until it returns nothing."""
    position = -1
    while some := page(position):
        yield from some
        position = some[-1].position
