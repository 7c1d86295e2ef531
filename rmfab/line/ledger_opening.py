"""The opening of a run's ledger: while the first board is reset, as importing SQLAlchemy takes as long as a reset.

By then, everything that could refuse the run was read without it (`rmfab.ledger.inquiry`). Nothing is written to a
board before the ledger is open: its claim must be recorded first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from rmfab.board.esp.door import esptool
from rmfab.errors import RmfabError
from rmfab.ledger.sql.outage import Watcher

if TYPE_CHECKING:
    from rmfab.line.line_ledger import LineLedger


class LedgerOpening:
    """Opens the ledger with *open_ledger*, once: by `open_meanwhile` or on first use; usable from every thread."""

    def __init__(self, open_ledger: Callable[[], LineLedger]) -> None:
        self._open = open_ledger
        self._turn = threading.Lock()
        self._ledger: LineLedger | None = None
        self._guards: ExitStack | None = None
        self._watcher: Watcher | None = None
        self._begun = threading.Lock()

    @property
    def ledger(self) -> LineLedger:
        """The ledger. Raise LedgerError or IntegrityError if it cannot be opened; the next use tries it again."""
        with self._turn:
            if self._ledger is None:
                ledger = self._open()
                if self._guards is not None:
                    self._guards.enter_context(ledger.guarded(self._watcher))
                self._ledger = ledger
            return self._ledger

    def open_meanwhile(self) -> None:
        """Open the ledger in a thread of its own, if this is the first call."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._try, name="open the ledger", daemon=True).start()

    def _try(self) -> None:
        with suppress(RmfabError):  # whoever uses the ledger or the board next meets the same error
            esptool()  # first, what the board waits for: both imports at once would take turns
            _ = self.ledger

    @contextmanager
    def guarded(self, watcher: Watcher) -> Iterator[None]:
        """Until the block ends, look for damage in the background of a ledger that is opened in it.

        *watcher*: see `Ledger.guarded`.
        """
        with self._turn:
            self._guards, self._watcher = ExitStack(), watcher
        try:
            yield
        finally:
            with self._turn:
                self._guards.close()
                self._guards = self._ledger = None
