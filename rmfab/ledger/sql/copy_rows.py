"""Copies of a ledger's rows from one database to another: the rows as they are, with their numbers.

It is how a ledger on a server is backed up to a file, and how a ledger changes its engine.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, MetaData, delete, func, insert, select

from rmfab.errors import InputError
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.sql.sqlite import new_file

_PAGE = 500


def copy_rows(source: Connection, target: Connection, tables: MetaData = schema.metadata) -> None:
    """Copy every row of *tables* from *source* to *target*, which is empty but for `meta`, in constant memory."""
    target.execute(delete(schema.meta))
    for table in tables.sorted_tables:
        query = select(table).order_by(*table.primary_key.columns)
        with source.execute(query, execution_options={"yield_per": _PAGE}) as rows:
            for some in rows.mappings().partitions():
                target.execute(insert(table), [dict(row) for row in some])


def is_unused(connection: Connection) -> bool:
    """Return whether a ledger contains nothing yet, whoever holds its pool."""
    tables = (schema.batch, schema.chain, schema.event)
    return not any(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)


def backup_to_file(source: Connection, target: Path, patience: float) -> None:
    """Write the rows of *source* to the new SQLite file *target*, of the same revision, which says that it is a copy.

    Raise InputError if *target* exists or cannot be written.
    """
    if target.exists():
        raise InputError(
            "this file already exists", where=str(target), hint="choose a new name for each backup", cause="exists"
        )
    revision = source.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    with new_file(target, patience, revision) as database:
        with database.writing() as connection:
            copy_rows(source, connection, _tables(connection, revision))
        database.mark_as_copy()


def _tables(connection: Connection, revision: str) -> MetaData:
    """Return the tables of *revision*; those of an earlier one are read from a database that has them."""
    if revision == HEAD:
        return schema.metadata
    found = MetaData()
    found.reflect(connection)
    found.remove(found.tables["alembic_version"])
    return found
