"""A crew of workers: the same chunks of work done in this process or in several, a bounded number under way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import Any, Protocol

from rmfab.errors import StationError
from rmfab.signals import undisturbed

CHUNKS_AHEAD = 3
"""Chunks that wait for each worker, so that none ever waits for its next."""


class Crew(Protocol):
    """Runs a method of a worker over chunks and yields each chunk with its result, in any order."""

    def run(self, method: str, chunks: Iterable[list[Any]]) -> Iterator[tuple[list[Any], Any]]:
        """Does all chunks. An error of a worker is raised here and ends the run."""
        ...

    def close(self) -> None:
        """Ends the workers; chunks that have not begun are dropped."""
        ...


def serve_parent() -> None:
    """Makes this process a worker: ^C, which reaches the whole terminal, is the parent's; it dies with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


class Inline:
    """A crew of one, in this process."""

    def __init__(self, worker: Callable[[Any], Any], order: object) -> None:
        self._worker = worker(order)

    def run(self, method: str, chunks: Iterable[list[Any]]) -> Iterator[tuple[list[Any], Any]]:
        """Does the chunks in their order."""
        work = getattr(self._worker, method)
        for chunk in chunks:
            yield chunk, work(chunk)

    def close(self) -> None:
        """Nothing to end."""


class Processes:
    """A crew of *count* processes, each with its own worker made from the *order*."""

    def __init__(self, worker: Callable[[Any], Any], order: object, count: int) -> None:
        self._ahead = count * CHUNKS_AHEAD
        # Spawned on every platform: a fork copies locks that a thread of ours may hold.
        self._pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (worker, order))

    def run(self, method: str, chunks: Iterable[list[Any]]) -> Iterator[tuple[list[Any], Any]]:
        """Does the chunks as workers become free. Raises StationError where a worker dies."""
        under_way: dict[Future[Any], list[Any]] = {}
        source = iter(chunks)
        exhausted = False
        while not exhausted or under_way:
            while not exhausted and len(under_way) < self._ahead:
                chunk = next(source, None)
                if chunk is None:
                    exhausted = True
                else:
                    under_way[self._submit(method, chunk)] = chunk
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield under_way.pop(future), _result(future)

    def _submit(self, method: str, chunk: list[Any]) -> Future[Any]:
        try:
            with undisturbed():
                return self._pool.submit(_work, method, chunk)
        except BrokenProcessPool as error:
            raise _dead() from error

    def close(self) -> None:
        """Ends the processes once the chunks that they are at are done."""
        with undisturbed():
            self._pool.shutdown(wait=True, cancel_futures=True)


_worker: Any = None


def _begin(worker: Callable[[Any], Any], order: object) -> None:
    global _worker  # noqa: PLW0603  a process of the pool has no other place that lasts from chunk to chunk
    serve_parent()
    _worker = worker(order)


def _work(method: str, chunk: list[Any]) -> Any:
    return getattr(_worker, method)(chunk)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _dead() from error


def _dead() -> StationError:
    return StationError("a worker process died", hint="the machine may be out of memory; run the command again")
