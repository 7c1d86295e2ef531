"""What a cloud has: nodes with their certificates, and jobs that register more of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class CloudNode:
    """A node: its *certificates* by id, when it was *registered*, and when it last *connected*, None if never."""

    node_id: str
    registered: datetime
    certificates: list[str] = field(default_factory=list)
    connected: datetime | None = None


@dataclass(frozen=True)
class FailedNode:
    """A row that was not registered, and why."""

    node_id: str
    code: str
    reason: str


@dataclass
class CloudTask:
    """A job for the file at *place*. It ends at the *looks*-th look at it, None: never. *rows*: how many it has."""

    id: str
    place: str
    began: datetime
    rows: list[tuple[str, str]]
    looks: int | None
    told: str = ""
    loaded: bool = True
    ended: bool = False
    registered: int = 0
    failed: list[FailedNode] = field(default_factory=list)

    def ends_now(self) -> bool:
        """Count a look at the job; return whether it ends with this one."""
        if self.looks is None or self.ended:
            return False
        self.looks -= 1
        self.ended = self.looks <= 0
        return self.ended


@dataclass
class CloudStore:
    """The nodes and the jobs of a cloud, oldest first."""

    nodes: dict[str, CloudNode] = field(default_factory=dict)
    tasks: dict[str, CloudTask] = field(default_factory=dict)

    def connect(self, node_id: str, at: datetime) -> None:
        """Note that a node connected. Raise KeyError if there is none."""
        self.nodes[node_id].connected = at


def drawn() -> str:
    """Return a new id."""
    return secrets.token_urlsafe(12)
