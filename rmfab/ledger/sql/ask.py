"""How a ledger is asked in SQL, whoever runs the statement: SQLAlchemy, or Python's own sqlite3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Ask = Callable[[str, Mapping[str, Any]], Iterable[Sequence[Any]]]
"""Runs a statement with its `:values` in a read transaction, and returns its rows. They are read one by one, so whoever
needs only the first ones stops there."""
