"""Asking a ledger in SQL text, in a transaction that is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from rmfab.ledger.sql.ask import Ask
from rmfab.ledger.sql.statement import of_text


def asking(connection: Connection) -> Ask:
    """Return how to ask in the transaction of *connection*."""

    def ask(statement: str, values: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
        return of_text(statement).tuples(connection, values)

    return ask
