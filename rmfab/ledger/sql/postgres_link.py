"""The connection to a PostgreSQL server, by psycopg: the one module that opens it.

A network that neither delivers nor refuses (a switch without power, a firewall that forgot the connection) lets libpq
wait for an answer for as long as TCP does, which may be hours, and the limits of the server do not help. So every wait
for the server has a deadline here: at its end the socket is shut down, and the wait fails as on any lost connection.
The deadline must be longer than the server may take to answer, which waits for locks itself. So a wait that takes long
asks a second question: whether a new connection can be made. If not, the network is frozen, and all long waits end.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from rmfab.ledger.sql.postgres_pipeline import COMMIT, Prepared, Question, ServerAnswer
from rmfab.ledger.sql.server_address import ServerAddress

_DEFAULTS: Mapping[str, str] = {
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    # After a failover the old server answers too, but read-only; and a replica lags behind.
    "target_session_attrs": "read-write",
}
"""What libpq uses unless the address says something else: notice within half a minute that the server is gone."""
SUSPICIOUS = 5.0
"""A server that takes longer to answer, in seconds, is asked for a new connection meanwhile."""


class LinkWatch:
    """Ends every wait for a server that takes longer than *seconds*; usable from every thread.

    A wait that takes longer than `SUSPICIOUS` ends as soon as *reaches*, which is called in the background, says that
    the server cannot be reached: it does not just take its time.
    """

    def __init__(self, seconds: float, reaches: Callable[[], bool]) -> None:
        self.seconds = seconds
        self._reaches = reaches
        self._waits: dict[object, tuple[float, int]] = {}
        self._asked = -math.inf
        self._changing = threading.RLock()  # the garbage collector may close this in the thread that has it
        self._closing = threading.Condition(self._changing)
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def waiting(self, descriptor: int) -> Iterator[None]:
        """Shut the socket *descriptor* down if the block does not end in time."""
        key = object()
        with self._changing:
            self._waits[key] = (time.monotonic(), descriptor)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger link", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changing:  # after this, the descriptor may be closed and given to someone else
                del self._waits[key]

    def close(self) -> None:
        """End the thread that watches."""
        with self._closing:
            self._closed = True
            self._closing.notify()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():  # the garbage collector runs in any thread
            thread.join()

    def _run(self) -> None:
        while self._sleep():
            now = time.monotonic()
            self._end(now - self.seconds)
            if self._is_suspicious(now):
                self._asked = now
                if not self._reaches():
                    self._end(now - SUSPICIOUS)

    def _sleep(self) -> bool:
        """Wait until a wait may have to end; return whether this watch is still open."""
        with self._closing:
            if not self._closed:
                # Whoever begins to wait does not wake this thread: that would cost each statement a switch.
                self._closing.wait(min(SUSPICIOUS, self.seconds) / 4)
            return not self._closed

    def _is_suspicious(self, now: float) -> bool:
        """Return whether a wait takes long, and the server was not asked for as long."""
        with self._changing:
            oldest = min((began for began, _ in self._waits.values()), default=now)
        return now - max(oldest, self._asked) >= SUSPICIOUS

    def _end(self, before: float) -> None:
        """Shut down the sockets of all waits that began *before* that time."""
        now = time.monotonic()
        with self._changing:
            for key, (began, descriptor) in list(self._waits.items()):
                if began <= before:
                    self._waits[key] = (now, descriptor)
                    _shut_down(descriptor)


def _shut_down(descriptor: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as link:
        link.shutdown(socket.SHUT_RDWR)


Heard = Callable[[ServerAnswer], None]
"""Is given the answer to a statement that was put off."""


class Link(psycopg.Connection[Any]):
    """A connection whose waits end in time, and on which statements can be put off until the next round trip."""

    watch: LinkWatch | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._prepared_here = Prepared(self)
        self._later: list[tuple[Question, Heard | None]] = []

    def later(self, question: Question, heard: Heard | None = None) -> None:
        """Run *question* before whatever is run next, in the same round trip. An error of it is raised then."""
        self._later.append((question, heard))

    def at_once(self, questions: Sequence[Question]) -> list[ServerAnswer]:
        """Run *questions* in one round trip, after what was put off. See `Prepared.run`."""
        before, self._later = self._later, []
        answers = self._prepared_here.run([*(question for question, _ in before), *questions])
        for (_, heard), answer in zip(before, answers, strict=False):
            if heard is not None:
                heard(answer)
        return answers[len(before) :]

    def catch_up(self) -> None:
        """Run what was put off."""
        if self._later:
            self.at_once(())

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """Return a cursor; what was put off comes first."""
        self.catch_up()
        return super().cursor(*arguments, **named)

    def commit(self) -> None:
        """Commit, in the same round trip as what was put off."""
        if self._later:
            self.at_once([COMMIT])
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().commit()

    def rollback(self) -> None:
        """Roll back; what was put off is not run."""
        self._later.clear()
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """Wait as psycopg does, for as long as the watch allows."""
        if self.watch is None or self.pgconn.socket < 0:
            return super().wait(gen, *arguments, **named)
        with self.watch.waiting(self.pgconn.socket):
            return super().wait(gen, *arguments, **named)


def connect(address: ServerAddress, watch: LinkWatch, name: str, settings: Mapping[str, str]) -> Link:
    """Open a connection that starts no transactions itself. *name* is shown in pg_stat_activity; *settings* are
    parameters of the session.

    Raise psycopg.Error.
    """
    given = {key: value for key, value in _DEFAULTS.items() if key not in address.parameters}
    link = Link.connect(address.url, autocommit=True, application_name=name, **given)  # type: ignore[arg-type]
    link.watch = watch
    # If psycopg prepared statements itself, it would discard all of the connection after a ROLLBACK, ours as well.
    link.prepare_threshold = None
    try:
        if settings:
            calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
            link.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])
    except BaseException:
        link.close()
        raise
    return link


def reaches(address: ServerAddress) -> bool:
    """Return whether a new connection gets an answer within a few seconds, be it a refusal.

    After a refusal, such as that of a server that stops or has no connection left, the others end by themselves.
    """
    given = {key: value for key, value in _DEFAULTS.items() if key not in address.parameters}
    given["connect_timeout"] = _DEFAULTS["connect_timeout"]
    try:
        psycopg.connect(address.url, autocommit=True, **given).close()  # type: ignore[arg-type]
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    return True
