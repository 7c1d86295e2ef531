"""A crew: workers that each keep something for all their chunks, such as a document or a CA.

A worker is made from an order, which is sent to each process once instead of with each chunk. A `Secret` cannot be
pickled, so orders and chunks contain plain values; the pipe to the worker is private to the two processes. A worker's
class must be in a module that can be imported, because processes import it by name.

    with open_crew(Packer, product, jobs) as crew:
        for chunk, images in crew.run(Packer.pack, chunks):
            ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Generic, Self, TypeVar

from rmfab.workers.feeding import feed
from rmfab.workers.inline import InlineExecutor
from rmfab.workers.worker_process import hold, on_held

Order = TypeVar("Order")
W = TypeVar("W")
C = TypeVar("C")
R = TypeVar("R")

CHUNKS_AHEAD = 3
"""Chunks submitted per worker process, so that no worker waits for the next one."""


def cores() -> int:
    """Return the number of processes that can run at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_crew(make: Callable[[Order], W], order: Order, jobs: int) -> Crew[W]:
    """Return a crew of *jobs* processes, each with a worker made from *order*. One job runs in this process."""
    if jobs == 1:
        return Crew(InlineExecutor(), 1, make(order))
    from rmfab.workers.processes import ProcessExecutor  # workers also import this module, but do not need it

    return Crew(ProcessExecutor(jobs, hold, (make, order)), jobs * CHUNKS_AHEAD)


class Crew(Generic[W]):
    """A crew that runs methods of its workers over chunks, with at most *ahead* chunks submitted at a time.

    *worker* is None if each process of *executor* has one.
    """

    def __init__(self, executor: Executor, ahead: int, worker: W | None = None) -> None:
        self._executor = executor
        self._ahead = ahead
        self._worker = worker

    def run(self, method: Callable[[W, C], R], chunks: Iterable[C], *, ordered: bool = True) -> Iterator[tuple[C, R]]:
        """Yield each chunk with its result, in the order of *chunks* if *ordered*, else as they finish.

        Raise the errors of *method* and *chunks*, and StationError if a worker dies.
        """

        def submit(chunk: C) -> Future[R]:
            if self._worker is not None:
                return self._executor.submit(method, self._worker, chunk)
            return self._executor.submit(on_held, method, chunk)

        return feed(submit, chunks, self._ahead, ordered=ordered)

    def close(self) -> None:
        """Let the workers finish their current chunks, drop the others, and end the workers."""
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
