"""SQLite's quick_check in the background, while a line works.

It reads the whole file on its own connection and finds pages and indexes whose structure is damaged
(sqlite.org/pragma.html#pragma_quick_check); a changed value inside a sound page is for `rmfab.ledger.audit`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

EVERY_SECONDS = 600.0
"""The time from the end of one check to the start of the next, in seconds."""

_OPCODES = 1000  # of SQLite's virtual machine, between two looks at whether the check is still wanted


class QuickCheck:
    """Checks from the start of the block to its end; *finding* is the first damage found, None so far."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], every: float = EVERY_SECONDS) -> None:
        self.finding: str | None = None
        self._connect = connect
        self._every = every
        self._stop = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="ledger quick_check", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Interrupt a check that runs."""
        self._stop.set()
        while self._thread.is_alive():
            with suppress(sqlite3.ProgrammingError):  # closed meanwhile
                if self._connection is not None:
                    self._connection.interrupt()
            self._thread.join(0.01)

    def _run(self) -> None:
        while self.finding is None and not self._stop.is_set():
            self.finding = self._check()
            self._stop.wait(self._every)

    def _check(self) -> str | None:
        """Return what is damaged, None if nothing is, or if the file cannot be read now: that is for the next write."""
        try:
            self._connection = self._connect()
            try:
                self._connection.set_progress_handler(self._stop.is_set, _OPCODES)
                (said,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            finally:
                self._connection.close()
        except sqlite3.Error as error:
            damaged = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
            return str(error) if damaged else None
        return None if said == "ok" else str(said)
