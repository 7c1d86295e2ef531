"""Group commit: work of several threads that arrives while a transaction is written shares the next one.

The first thread leads: it opens the transaction and runs what waits by then. Each caller returns after the commit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from rmfab.ledger.sql.outage import Unsettled

T = TypeVar("T")


class GroupCommit:
    """Transactions that *writing* opens; it waits for the lock until a deadline, *patience* seconds after the call."""

    def __init__(self, writing: Callable[[float], AbstractContextManager[Connection]], patience: float) -> None:
        self._writing = writing
        self._patience = patience
        self._waiting: list[_Work] = []
        self._changing = threading.Lock()
        self._leading = threading.Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in a transaction, return its result when that is durable, or raise its error.

        If any work of a group fails, or its commit, nothing of the group was written, and each runs again in its own
        transaction. So *work* may run twice, and must change nothing but the database. An Unsettled is raised to all.
        """
        mine = _Work(work, time.monotonic() + self._patience)
        with self._changing:
            self._waiting.append(mine)
        try:
            with self._leading:
                if not mine.done:
                    self._lead(mine)
        finally:
            self._forget([mine])
        return cast("T", mine.result())

    def _lead(self, mine: _Work) -> None:
        """Run *mine* and, in the same transaction, what waits when it starts."""
        group = [mine]
        try:
            with self._writing(mine.deadline) as connection:
                group = self._group(mine)
                values = [one.run(connection) for one in group]
        except Exception as error:  # noqa: BLE001 - raised by `result`, in the thread whose work it is
            for one in group:
                if len(group) == 1 or isinstance(error, Unsettled):
                    one.fail(error)
                else:
                    self._run_alone(one)
        else:
            for one, value in zip(group, values, strict=True):
                one.succeed(value)
        self._forget(group)

    def _group(self, mine: _Work) -> list[_Work]:
        """Return *mine* and what waits. The main thread leads nobody: ^C could leave open whether it was written."""
        if threading.current_thread() is threading.main_thread():
            return [mine]
        with self._changing:
            return list(self._waiting)

    def _run_alone(self, one: _Work) -> None:
        try:
            with self._writing(one.deadline) as connection:
                value = one.run(connection)
        except Exception as error:  # noqa: BLE001 - as above
            one.fail(error)
        else:
            one.succeed(value)

    def _forget(self, group: list[_Work]) -> None:
        with self._changing:
            self._waiting = [one for one in self._waiting if one not in group]


class _Work:
    """The work of one caller, and what became of it."""

    def __init__(self, work: Callable[[Connection], Any], deadline: float) -> None:
        self.run = work
        self.deadline = deadline
        self.done = False
        self._value: Any = None
        self._error: Exception | None = None

    def succeed(self, value: Any) -> None:
        self._value, self.done = value, True

    def fail(self, error: Exception) -> None:
        self._error, self.done = error, True

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value
