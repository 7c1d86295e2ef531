"""What is asked of a ledger before a port is opened: by a `LedgerReader` at once, or by a `Ledger` that is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from rmfab.ledger import questions
from rmfab.ledger.events import EventKind, StoredEvent
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import HostRecord
from rmfab.ledger.pool_standing import PoolPlace, PoolStanding, standing
from rmfab.ledger.records import Batch, Chunk
from rmfab.ledger.sql.ask import Ask

PATIENCE = 30.0
"""How long to wait for the lock of a different process, in seconds."""


class Inquiry(ABC):
    """A ledger with the id *ledger_id* on *host*, as far as it can be asked; *where* is its location, for messages.

    Each question is one read transaction. It may raise LedgerError and IntegrityError as `Ledger` does.
    """

    def __init__(self, ledger_id: str, host: PoolHost, where: str) -> None:
        self.id = ledger_id
        self._host = host
        self._record = HostRecord(host, ledger_id)
        self._where = where

    @abstractmethod
    def _asking(self) -> AbstractContextManager[Ask]:
        """Open a read transaction: one snapshot."""

    def pool_standing(self) -> PoolStanding:
        """Return whether this host may give identities from this ledger."""
        with self._asking() as ask:
            return standing(ask, self._record.read(), self._host, PoolPlace(self._where))

    def enter(self, station: str) -> None:  # noqa: B027 - a ledger in a file is one host's
        """Make sure that no other host works as *station* on a shared ledger, from now until this one is closed.

        Raise LedgerError (cause `station-taken`) if one does.
        """

    def last_release(self, product: str) -> StoredEvent | None:
        """Return the last acceptance of a release for *product*."""
        with self._asking() as ask:
            return questions.last_accepted(ask, EventKind.RELEASE, product)

    def last_trust(self, product: str) -> StoredEvent | None:
        """Return the last acceptance of a trust file for *product*."""
        with self._asking() as ask:
            return questions.last_accepted(ask, EventKind.TRUST, product)

    def batches(self) -> tuple[Batch, ...]:
        """Return all batches, including open ones, oldest first."""
        with self._asking() as ask:
            return questions.batches(ask)

    def batch(self, name: str) -> Batch:
        """Return the batch *name*, open or closed. Raise InputError (cause `no-batch`) if it does not exist."""
        with self._asking() as ask:
            return questions.batch_named(ask, name)

    def closed_batch(self, name: str) -> Batch:
        """Return the complete batch *name*. Raise InputError (causes `no-batch`, `open-batch`) if there is none."""
        with self._asking() as ask:
            return questions.closed_batch(ask, name)

    def replacements(self, name: str) -> tuple[Batch, ...]:
        """Return the batches that replace void identities of batch *name*, including open ones, oldest first."""
        with self._asking() as ask:
            return questions.replacements(ask, name)

    def free(self, product: str, batch: str | None = None, *, ts: str = "") -> int:
        """Count the identities that can still be claimed from *batch* and what replaces parts of it, or from all
        batches of *product*; without those in handovers that have expired at *ts* (by default, none has)."""
        with self._asking() as ask:
            return questions.free(ask, product, batch, ts)

    def claimable(self, product: str, ts: str) -> tuple[Batch, ...]:
        """Return the closed batches of *product* that have an identity to claim at *ts*, oldest first."""
        with self._asking() as ask:
            return questions.claimable(ask, product, ts)

    def labels_in_doubt(self) -> tuple[str, ...]:
        """Return the serials of the units of which it is in doubt whether a label came out, the oldest doubt first."""
        with self._asking() as ask:
            return questions.labels_in_doubt(ask)

    def first_chunk(self, batch: str) -> Chunk | None:
        """Return the first chunk of *batch*, None if it has none yet. Raise InputError as `batch` does."""
        with self._asking() as ask:
            return questions.first_chunk(ask, batch)
