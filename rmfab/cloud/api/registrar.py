"""What registers units: a `Registrar` for each kind of cloud, and the values that it exchanges.

    sign_in → upload a file → start a job for it → look at the job until it ends → its failed rows

Each call may be repeated. What `upload` returns goes into the ledger before `start` is called: if the answer to `start`
is lost, `start` with the same upload finds the job instead of starting a second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, unique
from typing import BinaryIO, Protocol

ABANDON = "--again gives the job up, and registers its units in a new one"
"""The hint for a job that does not end."""


@dataclass(frozen=True)
class RegistrationFile:
    """A CSV of *units* rows to upload; *stream* is read from its beginning, and has *size* bytes."""

    stream: BinaryIO
    size: int
    md5: str
    sha256: str
    units: int

    @property
    def name(self) -> str:
        """The name under which it is uploaded; different content has a different name."""
        return f"rmfab-{self.sha256[:16]}.csv"


@dataclass(frozen=True)
class Upload:
    """A file that the cloud has: its *name* and *md5*, the cloud's *request* id (RainMaker), its *place* (Neo)."""

    name: str
    md5: str
    request: str = ""
    place: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON values."""
        return {"name": self.name, "md5": self.md5, "request": self.request, "place": self.place}

    @classmethod
    def from_json(cls, values: Mapping[str, str]) -> Upload:
        """Return the upload that `to_json` wrote."""
        return cls(values["name"], values["md5"], values["request"], values["place"])


@unique
class JobState(Enum):
    """How far a job is. FAILED: it ended, and not all of its units are registered, perhaps none."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class CloudJob:
    """A job as the cloud describes it. *registered*, *failed*: rows, None if the cloud does not count."""

    state: JobState
    told: str = ""
    registered: int | None = None
    failed: int | None = None


@dataclass(frozen=True)
class FailedRow:
    """A row that the cloud did not register, and why: a stable *code*, and the *reason* for people."""

    node_id: str
    code: str
    reason: str


@dataclass(frozen=True)
class SeenNode:
    """A node as the cloud knows it. *changed*: when it last connected or disconnected, None if it never did.
    *registered*: since when the cloud has it, None if it does not tell."""

    node_id: str
    known: bool
    changed: datetime | None = None
    registered: datetime | None = None


class Registrar(Protocol):
    """A deployment of a cloud. Every method may raise StationError: the API is away, fails or refuses.

    *doubles*: a job gives a node that the cloud has already a second certificate, and reports nothing.
    """

    @property
    def doubles(self) -> bool: ...

    def sign_in(self) -> None:
        """Make sure that requests are authorised. Raise InputError (cause `sign-in`) for a wrong user or password."""

    def upload(self, file: RegistrationFile) -> Upload:
        """Upload *file*."""

    def start(self, upload: Upload, *, doubtful: bool) -> str:
        """Return the id of the job that registers the rows of *upload*; start it. *doubtful*: look for it first."""

    def look(self, job: str) -> CloudJob:
        """Return the job as it is now."""

    def failed_rows(self, job: str) -> Iterator[FailedRow]:
        """Yield the rows of a job that ended which the cloud did not register, if it tells them."""

    def nodes(self, node_ids: Iterable[str]) -> Iterator[SeenNode]:
        """Yield what the cloud knows about each of these nodes."""

    def close(self) -> None:
        """Close the connections."""


def moment(value: object) -> datetime | None:
    """Return the time of a number of seconds or milliseconds since 1970, None for 0 and what is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
