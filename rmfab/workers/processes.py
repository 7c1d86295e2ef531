"""The executor for long jobs: processes, each a new interpreter with its own pipe.

Not `multiprocessing`: its pools share locks and one pipe for results, so a process killed while it writes leaves the
others and the caller waiting forever; and a spawned one runs the caller's main module again. Here a worker that
dies, at any moment, ends its own pipe and nothing else.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from rmfab.signals import undisturbed
from rmfab.workers.worker_process import receive, send

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE = 5.0
"""Seconds that a worker gets to finish its task when nobody wants the result any more."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from rmfab.workers.worker_process import main; main()"


class ProcessExecutor(Executor):
    """At most *count* processes, started as tasks come; each runs *initializer* once, before its first task.

    When a worker dies or its *initializer* fails, the executor is broken: every future that waits fails with
    BrokenExecutor or the initializer's error, and so does every later `submit`.
    """

    def __init__(
        self, count: int, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        self._count = count
        self._beginning = None if initializer is None else _Task(Future(), initializer, initargs, {})
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._workers: list[tuple[_Worker, threading.Thread]] = []
        self._lock = threading.RLock()
        self._unfinished = 0
        self._broken: BaseException | None = None
        self._closed = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """The future of a task, which runs as soon as a worker is free."""
        future: Future[R] = Future()
        with undisturbed(), self._lock:
            if self._broken is not None:
                raise self._broken
            if self._closed:
                raise RuntimeError("this executor was shut down")
            if self._unfinished >= len(self._workers) < self._count:
                self._start()
            self._unfinished += 1
            future.add_done_callback(self._finished)
            self._tasks.put(_Task(future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers when all tasks are done; with *cancel_futures*, when those that have started are.

        They then get 5 seconds (PATIENCE).
        """
        with undisturbed():
            with self._lock:
                self._closed = True
                if cancel_futures:
                    for task in self._drained():
                        task.future.cancel()
                self._dismiss()
            for worker, thread in self._workers if wait else ():
                thread.join(PATIENCE if cancel_futures else None)
                worker.kill()
                thread.join()

    def _start(self) -> None:
        worker = _Worker()
        thread = threading.Thread(target=self._attend, args=(worker,), daemon=True)
        self._workers.append((worker, thread))
        thread.start()

    def _attend(self, worker: _Worker) -> None:
        """Hands tasks to *worker*, one at a time. Each worker has a thread here that does this."""
        try:
            if self._beginning is not None:
                worker.do(self._beginning)
            while (task := self._tasks.get()) is not None:
                if task.future.set_running_or_notify_cancel():
                    _settle(task, worker)
        except BaseException as error:  # noqa: BLE001 - the futures carry it
            self._break(error)
        finally:
            worker.end()

    def _break(self, error: BaseException) -> None:
        with self._lock:
            self._broken = self._broken or error
            waiting = self._drained()
            self._dismiss()
        for task in waiting:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(self._broken)

    def _drained(self) -> list[_Task]:
        """The tasks that no worker has started, taken from the queue."""
        found = []
        with suppress(Empty):
            while True:
                if (task := self._tasks.get_nowait()) is not None:
                    found.append(task)
        return found

    def _dismiss(self) -> None:
        for _ in self._workers:
            self._tasks.put(None)

    def _finished(self, _: Future[Any]) -> None:
        with self._lock:
            self._unfinished -= 1


@dataclass(frozen=True)
class _Task:
    """A call and the future that waits for it."""

    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def _settle(task: _Task, worker: _Worker) -> None:
    """Gives *task* its result or its error. Raises BrokenExecutor if *worker* died."""
    try:
        result = worker.do(task)
    except BaseException as error:
        task.future.set_exception(error)
        if isinstance(error, BrokenExecutor):
            raise
    else:
        task.future.set_result(result)


class _Worker:
    """A worker process, seen from its parent."""

    def __init__(self) -> None:
        # -P: the current folder is not searched. The worker finds its modules where this process does.
        command = [sys.executable, "-P", "-c", _PROGRAM, *sys.path]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise BrokenExecutor(f"a worker process cannot be started: {error.strerror or error}") from error
        self._tasks = cast("BinaryIO", self._process.stdin)
        self._results = cast("BinaryIO", self._process.stdout)

    def do(self, task: _Task) -> Any:
        """The result of *task*. Raises its error, or BrokenExecutor if the process dies."""
        data = pickle.dumps((task.function, task.arguments, task.options), pickle.HIGHEST_PROTOCOL)
        try:
            send(self._tasks, data)
            answer = receive(self._results)
        except (EOFError, OSError) as error:
            raise BrokenExecutor("a worker process died") from error
        done, result = pickle.loads(answer)  # noqa: S301 - what our own worker wrote
        if not done:
            raise result
        return result

    def kill(self) -> None:
        """Ends the process, even in the middle of its task."""
        self._process.kill()

    def end(self) -> None:
        """Lets the process end, and waits for it."""
        with suppress(OSError):
            send(self._tasks, b"")
        for stream in (self._tasks, self._results):
            with suppress(OSError):
                stream.close()
        self._process.wait()
