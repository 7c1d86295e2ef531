"""The policy of a run over chunks, for any executor: how many are submitted, their order, and their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from itertools import islice
from typing import Generic, TypeVar

from rmfab.errors import StationError

C = TypeVar("C")
R = TypeVar("R")


def chunked(items: Iterable[C], size: int) -> Iterator[list[C]]:
    """Yield *items* in lists of *size*, the last possibly shorter. *items* is consumed lazily."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def feed(submit: Callable[[C], Future[R]], chunks: Iterable[C], ahead: int, *, ordered: bool) -> Iterator[tuple[C, R]]:
    """Submit *chunks*, at most *ahead* at a time, and yield each with its result, in order or as they finish.

    A chunk's error is raised instead of its result. An error of the iterable *chunks* is raised after the results of
    all chunks before it. Raise StationError if a worker died. Closing the iterator cancels the chunks that have not
    started.
    """
    source = _Source(chunks)
    under_way: dict[Future[R], C] = {}
    try:
        while True:
            for chunk in source.take(ahead - len(under_way)):
                under_way[_sound(submit, chunk)] = chunk
            if not under_way:
                break
            future = next(iter(under_way)) if ordered else _first_done(under_way)
            yield under_way.pop(future), _sound(future.result)
        source.settle()
    finally:
        for future in under_way:
            future.cancel()


class _Source(Generic[C]):
    """An iterable whose error is kept until all chunks before it are done."""

    def __init__(self, chunks: Iterable[C]) -> None:
        self._chunks = iter(chunks)
        self._error: Exception | None = None

    def take(self, count: int) -> Iterator[C]:
        """Yield at most *count* chunks."""
        try:
            yield from islice(self._chunks, count if self._error is None else 0)
        except Exception as error:  # noqa: BLE001 - raised by `settle`; ^C is raised immediately
            self._error = error

    def settle(self) -> None:
        """Raise the error that ended the chunks."""
        if self._error is not None:
            raise self._error


def _first_done(under_way: Iterable[Future[R]]) -> Future[R]:
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    return done.pop()


def _sound(call: Callable[..., R], *arguments: object) -> R:
    try:
        return call(*arguments)
    except BrokenExecutor as error:
        hint = "run the command again; the machine may be out of memory"
        raise StationError(str(error) or "a worker process died", hint=hint) from error
