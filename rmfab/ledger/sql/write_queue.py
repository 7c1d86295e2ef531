"""The queue of one host's writers at a ledger's file: a lock file beside the ledger, held during each transaction.

SQLite lets a writer sleep and try again, at intervals that grow to 0.1 s (sqlite3.c, sqliteDefaultBusyCallback), so
that many writers leave the file idle for most of the time. Here the kernel wakes the next one. The queue only saves
time: SQLite's own lock excludes the writers, also those that do not queue, and a host on which the lock file cannot be
created or locked works without it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = "-queue"


class NoTurn(Exception):
    """The turn did not come in time."""


class WriteQueue:
    """The queue at the file *ledger*; *mode* is who may read it, as for the ledger."""

    def __init__(self, ledger: Path, mode: int) -> None:
        self._path = f"{ledger}{_SUFFIX}"
        self._mode = mode & 0o666

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Wait for this process's turn, which ends with the block. Raise NoTurn at *deadline* (monotonic)."""
        place = self._place()
        if place is None:
            yield
            return
        place.wait(deadline)
        try:
            yield
        finally:
            place.leave()

    def _place(self) -> _Place | None:
        """Open the lock file. Return None where there is none: the queue is not needed."""
        if sys.platform == "win32":
            return None
        try:
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            return _Place(os.open(self._path, flags, self._mode))
        except OSError:
            return None


class _Place:
    """One wait in the queue. It has its own *descriptor*, so that a wait that was given up cannot end a later one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._granted = threading.Event()
        self._given_up = False
        self._deciding = threading.Lock()

    def wait(self, deadline: float) -> None:
        """Return when it is this place's turn. Raise NoTurn at *deadline*."""
        if self._lock(wait=False):
            return
        left = deadline - time.monotonic()
        if left <= 0:
            os.close(self._descriptor)
            raise NoTurn
        # flock has no time limit, and in the main thread it would hold up ^C: a different thread waits.
        threading.Thread(target=self._wait_in_kernel, name="ledger queue", daemon=True).start()
        try:
            self._granted.wait(left)
        except BaseException:
            if not self._give_up():
                self.leave()
            raise
        if self._give_up():
            raise NoTurn

    def leave(self) -> None:
        """Let the next one in."""
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a forked process may hold a copy of the descriptor
        os.close(self._descriptor)

    def _give_up(self) -> bool:
        """Leave the descriptor to the waiting thread, unless it is this place's turn. Return whether it was left."""
        with self._deciding:
            self._given_up = not self._granted.is_set()
            return self._given_up

    def _wait_in_kernel(self) -> None:
        self._lock(wait=True)
        with self._deciding:
            if not self._given_up:
                self._granted.set()
                return
        os.close(self._descriptor)

    def _lock(self, *, wait: bool) -> bool:
        """Lock the file; return False if a different process has it. True as well on a file system without locks."""
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True
