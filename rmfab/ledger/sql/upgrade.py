"""Upgrades of a ledger's schema, on any engine.

The `Database` starts the transactions: a read transaction for `needs_upgrade` and, only if it returns true, the write
transaction for `upgrade_schema`.
"""

from __future__ import annotations

import threading
import uuid

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, text

from rmfab.errors import LedgerError
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.revision import HEAD, TABLES_OF_A_LEDGER

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, as it creates it (alembic.runtime.migration)."""

_MIGRATING = threading.Lock()
"""Alembic's context is global (alembic.sqlalchemy.org, "Operation Reference"): one migration per process at a time."""


def needs_upgrade(connection: Connection, where: str, *, create: bool) -> bool:
    """Return whether the schema is out of date. Raise LedgerError for an empty database, unless *create*."""
    revision = _revision(connection, where)
    if revision is None and not create:
        raise LedgerError(
            "the ledger is empty: its creation was interrupted",
            where=where,
            hint="`rmfab generate` completes it with the first batch",
            cause="ledger-missing",
        )
    return revision != HEAD


def upgrade_schema(connection: Connection, where: str) -> None:
    """Run the missing migrations; give an empty database the newest schema and a new ledger id."""
    revision = _revision(connection, where)  # a concurrent process may have upgraded it since
    if revision is None:
        _create_schema(connection)
        connection.execute(insert(schema.meta).values(name="ledger_id", value=uuid.uuid4().hex))
    elif revision != HEAD:
        _refuse_newer(revision, where)
        migrate(connection, HEAD)


def _create_schema(connection: Connection) -> None:
    """Create what all migrations would make, without running them (Alembic, "Building an Up to Date Database")."""
    engine = connection.dialect.name
    for table in schema.metadata.tables.values():
        for index in table.indexes:
            index.dialect_options[engine]["where"] = index.dialect_options["sqlite"]["where"]
    schema.metadata.create_all(connection)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=HEAD))


def migrate(connection: Connection, revision: str) -> None:
    """Run the migrations up to *revision*: on an earlier schema, or in an empty database for a copy of one."""
    from rmfab.ledger.sql import migrations

    with _MIGRATING:
        migrations.upgrade(connection, revision)


def refuse_other_revision(connection: Connection, where: str) -> None:
    """Raise LedgerError for a schema that is not ours, on a server that other stations use."""
    _refuse_newer(_revision(connection, where), where)
    raise LedgerError(
        "the schema of this ledger is of an earlier rmfab",
        where=where,
        hint="its owner runs `rmfab ledger migrate`; all stations need this version of rmfab then",
        cause="ledger-older",
    )


def _refuse_newer(revision: str | None, where: str) -> None:
    from rmfab.ledger.sql import migrations

    if revision is not None and not migrations.knows(revision):
        raise LedgerError(
            "this ledger was made by a newer rmfab",
            where=where,
            hint="update rmfab on this host",
            cause="ledger-newer",
        )


def _revision(connection: Connection, where: str) -> str | None:
    """Return the revision of the schema, None for an empty database.

    Raise LedgerError for the database of a different program.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if not TABLES_OF_A_LEDGER.issubset(tables):
        raise LedgerError("this database is not an rmfab ledger", where=where, cause="ledger-foreign")
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
