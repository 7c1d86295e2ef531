"""Records of the ledger as values: batches, chunks, identities, and what their digests cover."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from rmfab.errors import InputError
from rmfab.field_types import mistyped
from rmfab.files import is_safe_name
from rmfab.identity.sealed_record import SealedRecord, is_pool_name
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import damaged

RECORD_FIELDS = tuple(f.name for f in fields(SealedRecord))
"""The columns of a record, in the order in which digests cover them."""


ID = re.compile(r"[0-9a-f]{32}")
"""The id of a ledger, a chain or a holder: a uuid4 in hex. Files of the host are named after it."""


REPLACES = "replaces"
"""The key of a batch's policy with the name of the batch whose void identities it replaces."""


IMPORTED = "imported"
"""The key of a batch's policy with the digest of the source that it was imported from."""


NEVER = "9999-12-31T23:59:59.999Z"
"""The validity of a lease: it has no end. What an offline station may have used does not come back by time."""


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
    def leased(self) -> bool:
        """Whether it is a lease of a station: a handover by file ends with a day, a lease never."""
        return self.until == NEVER

    def expired(self, ts: str) -> bool:
        """Return whether no board gets an identity of it any more at the ledger time *ts*."""
        return ts >= self.until

    @property
    def policy(self) -> dict[str, str | int]:
        """The entries of the batch's policy: `origin_in` reads them again."""
        return {name: getattr(self, name) for name in _ORIGIN}


_ORIGIN = tuple(f.name for f in fields(BatchOrigin))


@lru_cache(maxsize=64)
def origin_in(policy: str, batch: str) -> BatchOrigin | None:
    """Return the origin in the *policy* of *batch*, None if its identities were made in this ledger.

    Raise IntegrityError if the policy was changed and is no JSON object, or names only a part of an origin.
    """
    values = _entries(policy, batch)
    if "handover" not in values:
        return None
    if not all(name in values for name in _ORIGIN):
        raise damaged("the policy of a batch names only a part of its origin", f"batch {batch}")
    origin = BatchOrigin(**{name: values[name] for name in _ORIGIN})
    if mistyped(origin) is not None:
        raise damaged("the policy of a batch has an invalid origin", f"batch {batch}")
    return origin


def _entries(policy: str, batch: str) -> dict[str, Any]:
    try:
        values = json.loads(policy)
    except (ValueError, RecursionError) as error:
        raise damaged("the policy of a batch is no JSON object", f"batch {batch}") from error
    if not isinstance(values, dict):
        raise damaged("the policy of a batch is no JSON object", f"batch {batch}")
    return values


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
    def implausible(self) -> str | None:
        """The name of a field that no batch has like this, None if there is none. Files are named after *name*."""
        if not is_safe_name(self.name):
            return "name"
        return "size" if self.size < 1 or self.chunk_size < 1 else None

    @property
    def origin(self) -> BatchOrigin | None:
        """Where its identities come from, None if they were made in this ledger. Raise IntegrityError as `replaces`."""
        return origin_in(self.policy, self.name)

    @property
    def leased(self) -> bool:
        """Whether it is of a lease of a station. Raise IntegrityError as `replaces`."""
        return self.origin is not None and self.origin.leased

    def expired(self, ts: str) -> bool:
        """Return whether it was received in a handover that has expired at the ledger time *ts*."""
        return self.origin is not None and self.origin.expired(ts)

    @property
    def replaces(self) -> str | None:
        """The name of the batch whose void identities this batch replaces, None for an ordinary batch.

        Raise IntegrityError if the policy was changed and is no JSON object.
        """
        name = _entries(self.policy, self.name).get(REPLACES)
        return name if isinstance(name, str) else None

    @property
    def imported(self) -> str | None:
        """The digest of the source that it was imported from, None for any other batch. Raise as `replaces`."""
        digest = _entries(self.policy, self.name).get(IMPORTED)
        return digest if isinstance(digest, str) else None


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

    def voided(self, ts: str, reason: str, slot: str | None = None, details: Mapping[str, Any] | None = None) -> Event:
        """Return the event with which the identity is void from *ts* on."""
        return Event(
            ts,
            EventKind.VOID,
            batch=self.batch,
            serial=self.name,
            mac=self.mac,
            slot=slot,
            state=State.VOID,
            cause="void",
            reason=reason,
            details=details or {},
        )


def refuse_handed_over(identity: LedgerIdentity) -> None:
    """Raise InputError if *identity* is to be voided, and left this pool by a handover."""
    if identity.state is State.HANDED_OVER:
        raise InputError(
            f"{identity.serial} is handed over: the station that has it may have used it",
            hint="declare the whole handover lost with `rmfab handover --lost N`, or void it where it is",
            cause="handed-over",
        )


def state_in(column: Any, where: str) -> State:
    """Return the state in a column of the identity table. Raise IntegrityError if it is none."""
    try:
        return State(column)
    except ValueError as error:
        raise damaged(f"an identity has no state {column!r}", where) from error


@dataclass(frozen=True)
class BatchCount:
    """The counts of one batch: *states* by state, *labelled* for identities with a label.

    *sent*, *printed*, *scanned*: those with a label that is known to be so (see `rmfab.ledger.label_words`).
    *doubtful*: those of which it is in doubt whether a label came out.
    """

    batch: Batch
    states: dict[State, int]
    labelled: int
    sent: int = 0
    printed: int = 0
    scanned: int = 0
    doubtful: int = 0


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
