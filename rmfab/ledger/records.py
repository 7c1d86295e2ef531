"""Records of the ledger as values: batches, chunks, identities, and what their digests cover."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from rmfab.identity.sealed_record import SealedRecord, is_pool_name
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import damaged

RECORD_FIELDS = tuple(f.name for f in fields(SealedRecord))
"""The columns of a record, in the order in which digests cover them."""


REPLACES = "replaces"
"""The key of a batch's policy with the name of the batch whose void identities it replaces."""


@dataclass(frozen=True)
class Batch:
    """Identities made together. *policy* is canonical JSON of how they were made.

    The identity at position p (from 0) has the number *first_n* + p; *first_n* is None if the serials were supplied
    from outside. Stations claim only from a closed batch. *digest* is the SHA-256 over its head and its records.
    """

    id: int
    name: str
    product: str
    policy: str
    size: int
    chunk_size: int
    first_n: int | None
    closed: bool
    digest: str | None
    created_ts: str

    @property
    def replaces(self) -> str | None:
        """The name of the batch whose void identities this batch replaces, None for an ordinary batch.

        Raise IntegrityError if the policy was changed and is no JSON object.
        """
        try:
            name = json.loads(self.policy).get(REPLACES)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise damaged("the policy of a batch is no JSON object", f"batch {self.name}") from error
        return name if isinstance(name, str) else None


@dataclass(frozen=True)
class Chunk:
    """Identities written together: *count* from position *first*, sealed under one data key."""

    id: int
    number: int
    first: int
    count: int
    wrapped_key: bytes
    digest: str


@dataclass(frozen=True)
class ChunkPlan:
    """A chunk that a batch still needs: *count* identities from position *first*."""

    number: int
    first: int
    count: int


@dataclass(frozen=True)
class LedgerIdentity:
    """An identity of the ledger: its record as made, and its standing. *chunk* refers to the data key."""

    record: SealedRecord
    standing: Standing
    batch: str
    product: str
    position: int
    chunk: int

    @property
    def name(self) -> str:
        """The name under which the ledger keeps the identity; it never changes."""
        return self.record.serial

    @property
    def serial(self) -> str:
        """The serial of the unit; the name in the pool as long as it has none."""
        return self.standing.given_serial or self.record.serial

    @property
    def late(self) -> bool:
        """Whether the identity gets its serial with its board."""
        return is_pool_name(self.record.serial)

    @property
    def unnamed(self) -> bool:
        """Whether the identity has no serial yet."""
        return self.late and self.standing.given_serial is None

    @property
    def node_id(self) -> str | None:
        return self.record.node_id

    @property
    def state(self) -> State:
        return self.standing.state

    @property
    def mac(self) -> str | None:
        return self.standing.mac

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done: the unit is verified, and has a label."""
        return self.standing.state is State.VERIFIED and self.standing.labelled_count > 0


@dataclass(frozen=True)
class BatchCount:
    """The counts of one batch: *states* by state, *labelled* for identities with a label."""

    batch: Batch
    states: dict[State, int]
    labelled: int


def record_octets(columns: Any) -> bytes:
    """Return the bytes of a record that digests cover: its fields in order, each prefixed with presence and length.

    *columns* is any mapping of field names to values, so that an edited row can be digested as well.
    """
    parts = []
    for name in RECORD_FIELDS:
        value = columns[name]
        data = b"" if value is None else value if isinstance(value, bytes) else str(value).encode()
        parts.append(bytes([value is not None]) + len(data).to_bytes(8, "big") + data)
    return b"".join(parts)


def chunk_digest(batch: str, number: int, first: int, rows: Iterable[Any]) -> str:
    """Return the SHA-256 over a chunk's place and its records in order of position."""
    digest = hashlib.sha256(f"rmfab chunk {batch} {number} {first}\n".encode())
    for columns in rows:
        digest.update(record_octets(columns))
    return digest.hexdigest()
