"""Records of the ledger as values: batches, chunks, identities, and what their digests cover."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State

RECORD_FIELDS = tuple(f.name for f in fields(SealedRecord))
"""The columns of a record, in the order in which digests cover them."""


@dataclass(frozen=True)
class BatchOrigin:
    """Where the identities of a received batch come from: the pool (ledger id) in which they were made, the *batch* and
    the *handover* there, and the time *until* which they may be given."""

    pool: str
    batch: str
    handover: int
    until: str

    @property
    def local_name(self) -> str:
        """The name of the batch in the ledger that received it."""
        ending = f"-h{self.handover}"
        return self.batch[: 64 - len(ending)] + ending

    @property
    def policy(self) -> dict[str, str | int]:
        """The entries of the batch's policy: `origin_in` reads them again."""
        return {name: getattr(self, name) for name in _ORIGIN}


_ORIGIN = tuple(f.name for f in fields(BatchOrigin))


@lru_cache(maxsize=64)
def origin_in(policy: str) -> BatchOrigin | None:
    """Return the origin in the policy of a batch, None if its identities were made in this ledger."""
    values = json.loads(policy)
    return BatchOrigin(**{name: values[name] for name in _ORIGIN}) if "handover" in values else None


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
    def origin(self) -> BatchOrigin | None:
        """Where its identities come from, None if they were made in this ledger."""
        return origin_in(self.policy)


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
    def serial(self) -> str:
        return self.record.serial

    @property
    def node_id(self) -> str | None:
        return self.record.node_id

    @property
    def state(self) -> State:
        return self.standing.state

    @property
    def mac(self) -> str | None:
        return self.standing.mac


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
