"""Asking a ledger through SQLAlchemy, in a transaction that is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, TextClause, text

from rmfab.ledger.sql.ask import Ask


def asking(connection: Connection) -> Ask:
    """Return how to ask in the transaction of *connection*."""

    def ask(statement: str, values: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
        return connection.execute(_clause(statement), dict(values))

    return ask


@lru_cache
def _clause(statement: str) -> TextClause:
    """Return *statement* for SQLAlchemy, built once: every claim asks the same."""
    return text(statement)
