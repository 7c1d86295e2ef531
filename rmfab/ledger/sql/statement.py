"""Statements that every claim runs: compiled once per engine, and run by the driver.

SQLAlchemy takes longer to build a statement, and to pass it to the driver and its rows back, than most databases take
to run it. And a server is a network away: `foresee` asks it in one round trip what a transaction will ask, and what
`change` changes goes with the next question, or with COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, literal_column, text
from sqlalchemy.sql.expression import ClauseElement

_AHEAD = "rmfab_ahead"
_PARAMETERS = {"sqlite": "qmark", "postgresql": "numeric_dollar"}
"""How a value is written in a statement, by engine."""
_ONE_ROW = "WITH changed AS ({} RETURNING 1) SELECT 1 / count(*) FROM changed"
Values = Mapping[str, Any]


class Statement:
    """A statement with named values, for every engine; *columns* are those that an INSERT or UPDATE sets.

    Its values and rows have types that every driver knows: int, float, str, bytes. The driver's errors are raised as
    they are; `Database` explains them.
    """

    def __init__(self, built: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._built = built
        self._columns = columns
        self._compiled: dict[str, tuple[str, Values, Sequence[str]]] = {}
        self._names: tuple[str, ...] = ()

    def tuples(self, connection: Connection, values: Values) -> Iterable[Sequence[Any]]:
        """Run it, and return its rows; those of a file are read one by one."""
        ahead = connection.info.get(_AHEAD)
        if ahead:
            found: Iterable[Sequence[Any]] | None = ahead.get(self._key(values))
            if found is not None:
                return found
        (answer,) = _run(connection, [(self, values)])
        return answer  # type: ignore[no-any-return]

    def rows(self, connection: Connection, values: Values) -> Iterator[Values]:
        """Run it, and yield its rows by the names of their columns."""
        found = self.tuples(connection, values)
        return (dict(zip(self._names, row, strict=True)) for row in found)

    def first(self, connection: Connection, values: Values) -> Values | None:
        """Run it, and return its first row, None if there is none."""
        return next(self.rows(connection, values), None)

    def _key(self, values: Values) -> tuple[Any, ...]:
        return (self, *values.items())

    def _note_names(self, answer: Any) -> None:
        if not self._names and answer.description:
            self._names = tuple(column[0] for column in answer.description)

    def _question(self, dialect: Dialect, values: Values) -> tuple[str, Sequence[Any]]:
        """Return what a driver runs: the text for its engine, and *values* in the order in which they are in it."""
        if dialect.name not in self._compiled:
            positional = type(dialect)(paramstyle=_PARAMETERS[dialect.name])  # type: ignore[call-arg]
            made = self._built.compile(dialect=positional, column_keys=self._columns)
            self._compiled[dialect.name] = str(made), made.params, made.positiontup  # type: ignore[attr-defined]
        statement, constants, order = self._compiled[dialect.name]
        given = {**constants, **values}
        return statement, list(map(given.__getitem__, order))


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
    info = connection.info  # of a connection that is lost in the block, it cannot be asked for any more
    before = info.get(_AHEAD)
    ahead = before or {}
    keys = {statement._key(values): (statement, values) for statement, values in asked} if is_remote(connection) else {}
    new = {key: one for key, one in keys.items() if key not in ahead}
    info[_AHEAD] = ahead | dict(zip(new, _run(connection, new.values()), strict=True))
    try:
        yield
    finally:
        if info.pop(_AHEAD, None) is not None and before is not None:
            info[_AHEAD] = before


class MissingRow(Exception):
    """A row that was to be changed does not exist."""


def change(connection: Connection, additions: Iterable[Asked], updates: Iterable[Asked]) -> None:
    """Run *additions*, then *updates*, each of which changes the one row of a key; if that is missing, all fails.

    In a file, this raises MissingRow. A server runs them with what it is asked next, or with COMMIT, and divides by 0.
    """
    connection.info.pop(_AHEAD, None)
    if not is_remote(connection):
        _run(connection, additions)
        if any(answer.rowcount != 1 for answer in _run(connection, updates)):
            raise MissingRow
        return
    link = driver(connection)
    for statement, values in additions:
        link.later(statement._question(connection.dialect, values))
    for statement, values in updates:
        made, given = statement._question(connection.dialect, values)
        link.later((_ONE_ROW.format(made), given))


def answered(connection: Connection, asked: Asked, rows: Sequence[Sequence[Any]]) -> None:
    """Note the answer to *asked* until the block of `foresee` ends, or the first change."""
    statement, values = asked
    ahead = connection.info.get(_AHEAD)
    if ahead is not None:
        ahead[statement._key(values)] = rows


@lru_cache
def of_text(statement: str) -> Statement:
    """Return *statement*, SQL with `:names` that every engine understands, built once."""
    return Statement(text(statement))


def driver(connection: Connection) -> Any:
    """Return the driver's own connection."""
    return connection.connection.driver_connection


def _run(connection: Connection, asked: Iterable[Asked]) -> list[Any]:
    """Run what is *asked* in order, on a server in one round trip; return a cursor of the driver for each."""
    asked = list(asked)
    if not asked:
        return []
    questions = [statement._question(connection.dialect, values) for statement, values in asked]
    link = driver(connection)
    answers = link.at_once(questions) if is_remote(connection) else [link.execute(*one) for one in questions]
    for (statement, _), answer in zip(asked, answers, strict=True):
        statement._note_names(answer)
    return answers


def is_remote(connection: Connection) -> bool:
    """Return whether the database is a server: a network away."""
    return connection.dialect.name == "postgresql"
