"""Bringing a ledger's schema up to date, on any engine.

The door begins the transactions: one to read what `needs_upgrade` asks, and, only where it must be, the one right to
write for `upgrade_schema`.
"""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, insert, inspect, text

from rmfab.errors import LedgerError
from rmfab.ledger.sql import schema


def needs_upgrade(connection: Connection, where: str, *, create: bool) -> bool:
    """Whether the schema is not the newest. Raises LedgerError for an empty database, unless *create*."""
    revision = _revision(connection, where)
    if revision is None and not create:
        raise LedgerError("the ledger is empty", where=where, cause="ledger-missing")
    return revision != schema.HEAD


def upgrade_schema(connection: Connection, where: str) -> None:
    """Runs the migrations that are missing; an empty database becomes a ledger with an id of its own."""
    revision = _revision(connection, where)  # another process may have been faster
    if revision == schema.HEAD:
        return
    from rmfab.ledger.sql import migrations

    if revision is not None and not migrations.knows(revision):
        raise LedgerError(
            "this ledger was made by a newer rmfab",
            where=where,
            hint="update rmfab on this host",
            cause="ledger-newer",
        )
    migrations.upgrade(connection)
    if revision is None:
        connection.execute(insert(schema.meta).values(name="ledger_id", value=uuid.uuid4().hex))


def _revision(connection: Connection, where: str) -> str | None:
    """The revision of the schema; None for an empty database. Raises LedgerError for a database of another program."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables or "identity" not in tables:
        raise LedgerError("this database is no ledger of rmfab", where=where, cause="ledger-foreign")
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
