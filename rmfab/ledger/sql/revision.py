"""The revision of the schema that this version reads and writes."""

from __future__ import annotations

HEAD = "0007"
"""The newest revision of `rmfab.ledger.sql.migrations`."""
TABLES_OF_A_LEDGER = frozenset({"alembic_version", "identity"})
"""The database of a different program lacks one of these tables."""
TABLES = frozenset({"meta", "batch", "chunk", "identity", "chain", "event", "alembic_version"})
"""The tables that a ledger of this revision has."""
