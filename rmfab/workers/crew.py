"""A crew: workers that each hold something from their first chunk to their last, such as a document or a CA.

A worker is made from an order, which is sent to each process once and not with every chunk. A `Secret` is not pickled:
orders and chunks carry plain values, through a pipe that nobody else reads. Processes find a worker's class by name, so
it must be in a module that can be imported.

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
"""Chunks under way per worker process, so that no worker waits for its next one."""


def cores() -> int:
    """How many processes can run at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_crew(make: Callable[[Order], W], order: Order, jobs: int) -> Crew[W]:
    """A crew of *jobs* processes, each with a worker made from *order*; with one job, a worker in this process."""
    if jobs == 1:
        return Crew(InlineExecutor(), 1, make(order))
    from rmfab.workers.processes import ProcessExecutor  # workers import this module too and do not need it

    return Crew(ProcessExecutor(jobs, hold, (make, order)), jobs * CHUNKS_AHEAD)


class Crew(Generic[W]):
    """Runs methods of its workers over chunks, at most *ahead* of them at a time.

    *worker* is None when each process of *executor* holds one.
    """

    def __init__(self, executor: Executor, ahead: int, worker: W | None = None) -> None:
        self._executor = executor
        self._ahead = ahead
        self._worker = worker

    def run(self, method: Callable[[W, C], R], chunks: Iterable[C], *, ordered: bool = True) -> Iterator[tuple[C, R]]:
        """Each chunk with its result, in the order of *chunks* or as they finish.

        Raises what *method* and *chunks* raise, and StationError if a worker dies.
        """

        def submit(chunk: C) -> Future[R]:
            if self._worker is not None:
                return self._executor.submit(method, self._worker, chunk)
            return self._executor.submit(on_held, method, chunk)

        return feed(submit, chunks, self._ahead, ordered=ordered)

    def close(self) -> None:
        """Ends the workers when they have finished their current chunks; the other chunks are dropped."""
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
