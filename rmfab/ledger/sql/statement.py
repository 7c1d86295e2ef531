"""Statements that every claim runs: compiled once per engine, and run by the driver.

SQLAlchemy takes longer to build a statement, and to pass it to the driver and its rows back, than most databases take
to run it. And a server is a network away: `foresee` asks it in one round trip what a transaction will ask, and `write`
sends it all changes in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, literal_column, text
from sqlalchemy.sql.expression import ClauseElement

_AHEAD = "rmfab_ahead"
Values = Mapping[str, Any]


class Statement:
    """A statement with named values, for every engine; *columns* are those that an INSERT or UPDATE sets.

    Its values and rows have types that every driver knows: int, float, str, bytes. The driver's errors are raised as
    they are; `Database` explains them.
    """

    def __init__(self, built: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._built = built
        self._columns = columns
        self._compiled: dict[str, tuple[str, Values, Sequence[str] | None]] = {}
        self._names: tuple[str, ...] = ()

    def tuples(self, connection: Connection, values: Values) -> Iterable[Sequence[Any]]:
        """Run it, and return its rows; they are read one by one."""
        ahead = connection.info.get(_AHEAD)
        if ahead:
            found: Sequence[Sequence[Any]] | None = ahead.get(self._key(values))
            if found is not None:
                return found
        cursor = self._execute(connection, values)
        self._note_names(cursor)
        return cursor  # type: ignore[no-any-return]

    def rows(self, connection: Connection, values: Values) -> Iterator[Values]:
        """Run it, and yield its rows by the names of their columns."""
        found = self.tuples(connection, values)
        return (dict(zip(self._names, row, strict=True)) for row in found)

    def first(self, connection: Connection, values: Values) -> Values | None:
        """Run it, and return its first row, None if there is none."""
        return next(self.rows(connection, values), None)

    def _key(self, values: Values) -> tuple[Any, ...]:
        return (self, *sorted(values.items()))

    def _fetched(self, cursor: Any) -> Sequence[Sequence[Any]]:
        """Return the rows for which *cursor* was sent."""
        self._note_names(cursor)
        return cursor.fetchall()  # type: ignore[no-any-return]

    def _note_names(self, cursor: Any) -> None:
        if not self._names and cursor.description:
            self._names = tuple(column[0] for column in cursor.description)

    def _execute(self, connection: Connection, values: Values) -> Any:
        """Return the driver's cursor after the statement ran, or was sent."""
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            made = self._built.compile(dialect=dialect, column_keys=self._columns)
            self._compiled[dialect.name] = str(made), made.params, getattr(made, "positiontup", None)
        statement, constants, order = self._compiled[dialect.name]
        given = {**constants, **values}
        cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
        cursor.execute(statement, given if order is None else [given[name] for name in order])
        return cursor


def constant(value: str | int) -> ColumnElement[Any]:
    """Return *value*, one of rmfab's own, as a part of a statement's text.

    PostgreSQL plans a statement once for all values if it knows what does not change (postgresql.org/docs/15/
    sql-prepare.html): with LIMIT $1, it would plan it each time.
    """
    return literal_column(str(value) if isinstance(value, int) else f"'{value}'")


Asked = tuple[Statement, Values]
"""A statement, with the values for its names."""


@contextmanager
def foresee(connection: Connection, asked: Iterable[Asked]) -> Iterator[None]:
    """Ask a server at once what is asked until the block ends, or the first change.

    It may be asked in vain. A file is not asked: it is not a network away.
    """
    if not _is_remote(connection):
        yield
        return
    with _at_once(connection):
        cursors = {statement._key(values): statement._execute(connection, values) for statement, values in asked}
    info = connection.info  # of a connection that is lost in the block, it cannot be asked for any more
    before = info.get(_AHEAD)
    info[_AHEAD] = (before or {}) | {key: key[0]._fetched(cursor) for key, cursor in cursors.items()}
    try:
        yield
    finally:
        if info.pop(_AHEAD, None) and before:
            info[_AHEAD] = before


def write(connection: Connection, changes: Iterable[Asked]) -> list[int]:
    """Run *changes* in order, on a server in one round trip; return how many rows each changed."""
    connection.info.pop(_AHEAD, None)
    with _at_once(connection):
        cursors = [statement._execute(connection, values) for statement, values in changes]
    return [cursor.rowcount for cursor in cursors]


@lru_cache
def of_text(statement: str) -> Statement:
    """Return *statement*, SQL with `:names` that every engine understands, built once."""
    return Statement(text(statement))


def _at_once(connection: Connection) -> Any:
    """Return a block in which statements are sent to a server without waiting for each answer."""
    if not _is_remote(connection):
        return nullcontext()
    return connection.connection.driver_connection.pipeline()  # type: ignore[union-attr]


def _is_remote(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"
