"""What a transaction leaves behind that shows later that it was committed: an event, which is never changed or deleted.

The id of a transaction does not prove it: a server that crashed, or a replica that took over, may use it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

_KEY = "rmfab_evidence"


@dataclass(frozen=True)
class Evidence:
    """An event that a transaction wrote: number *seq* of *chain*, with *hash*."""

    chain: str
    seq: int
    hash: str


def leave(connection: Connection, evidence: Evidence) -> None:
    """Note that the transaction of *connection* wrote this."""
    connection.info[_KEY] = evidence


def left(connection: Connection) -> Evidence | None:
    """Return what the transaction wrote, None if it wrote no event."""
    return connection.info.get(_KEY)


def forget(connection: Connection) -> None:
    """Begin a new transaction."""
    connection.info.pop(_KEY, None)
