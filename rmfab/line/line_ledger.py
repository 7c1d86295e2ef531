"""The ledger as the line uses it: a ledger, or one of its stations that goes on while the server is away."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from rmfab.ledger.claim_terms import ALONE, Around, Carried, Claim, Wish
from rmfab.ledger.events import Event, StoredEvent
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.sql.outage import Watcher

if TYPE_CHECKING:
    from rmfab.ledger.histories import PastEvent


class LineLedger(Protocol):
    """See the methods of the same names of `rmfab.ledger.store.Ledger`; usable from every thread."""

    def claim(
        self,
        mac: str,
        wish: Wish,
        *,
        station: str,
        ts: str,
        slot: str | None = None,
        carried: Carried | None = None,
        around: Around = ALONE,
    ) -> Claim:
        """Bind an identity to the board *mac*, durably."""

    def record(self, station: str, events: Iterable[Event]) -> None:
        """Record steps and verdicts, durably."""

    def identity_by_mac(self, mac: str) -> LedgerIdentity | None:
        """Return the identity of the live unit with this MAC."""

    def identity_by_serial(self, serial: str) -> LedgerIdentity | None:
        """Return the identity with this serial."""

    def identities_named(self, service_name: str) -> tuple[LedgerIdentity, ...]:
        """Return the identities with this service name, one per batch at most."""

    def hint_for_unknown(self, term: str) -> str | None:
        """Return a hint for *term*, which names no unit."""

    def history(self, term: str) -> tuple[StoredEvent, ...]:
        """Return the events of a serial, node id or MAC, in order."""

    def station_verdicts(self, station: str, since: str, until: str) -> tuple[PastEvent, ...]:
        """Return what decided about the units with a verdict at *station*, from *since* until before *until*."""

    def unit_verdicts(self, name: str, until: str) -> tuple[PastEvent, ...]:
        """Return what decided about the identity *name* before *until*."""

    def free(self, product: str, batch: str | None = None, *, ts: str = "") -> int:
        """Count the identities that can still be claimed."""

    def guarded(self, watcher: Watcher | None = None) -> AbstractContextManager[None]:
        """Watch the ledger in the background until the block ends."""
