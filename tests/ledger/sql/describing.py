"""What a database says of its own schema, in a form that can be compared."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Inspector, inspect


def described(connection: Connection) -> dict[str, list[str]]:
    """Return the columns of each table, its constraints, and its indexes with their conditions, in no order."""
    seen = inspect(connection)
    return {name: sorted(map(repr, _table(seen, name))) for name in seen.get_table_names()}


def _table(seen: Inspector, name: str) -> Iterator[object]:
    yield seen.get_pk_constraint(name)
    for column in seen.get_columns(name):
        yield {key: str(value) for key, value in column.items() if key != "primary_key"}
    yield from seen.get_unique_constraints(name)
    yield from seen.get_check_constraints(name)
    yield from seen.get_foreign_keys(name)
    for index in seen.get_indexes(name):
        yield index["name"], index["unique"], index["column_names"]
        yield index["name"], sorted((key, str(value)) for key, value in index.get("dialect_options", {}).items())
