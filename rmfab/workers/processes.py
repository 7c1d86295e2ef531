"""The executor for long jobs: processes, each a new interpreter with a separate pipe.

It does not use `multiprocessing`: those pools share locks and one pipe for results, so if a process is killed while it
writes, the others and the caller hang; and a spawned process runs the caller's main module again. Here, a worker that
dies at any moment closes its own pipe only.
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
"""Seconds for a worker to finish its task when the result is no longer needed."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from rmfab.workers.worker_process import main; main()"


class ProcessExecutor(Executor):
    """An executor of at most *count* processes, started on demand. Each runs *initializer* once, before its first task.

    When a worker dies or its *initializer* fails, the executor is broken: all waiting futures fail with BrokenExecutor
    or the initializer's error, and so does each later `submit`.
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
        """Return the future of a task. It runs as soon as a worker is free."""
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
        """End the workers after all tasks; with *cancel_futures*, after the tasks that have started.

        With *cancel_futures*, each worker gets 5 s (PATIENCE) to finish its task.
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
        """Send tasks to *worker*, one at a time. Each worker has one thread that runs this."""
        try:
            if self._beginning is not None:
                worker.do(self._beginning)
            while (task := self._tasks.get()) is not None:
                if task.future.set_running_or_notify_cancel():
                    _settle(task, worker)
        except BaseException as error:  # noqa: BLE001 - the futures raise it
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
        """Remove the tasks that have not started from the queue, and return them."""
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
    """A call and its future."""

    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def _settle(task: _Task, worker: _Worker) -> None:
    """Set the result or the error of *task*. Raise BrokenExecutor if *worker* died."""
    try:
        result = worker.do(task)
    except BaseException as error:
        task.future.set_exception(error)
        if isinstance(error, BrokenExecutor):
            raise
    else:
        task.future.set_result(result)


class _Worker:
    """A worker process, as its parent sees it."""

    def __init__(self) -> None:
        # -P keeps the working directory out of sys.path. The worker gets the sys.path of this process.
        command = [sys.executable, "-P", "-c", _PROGRAM, *sys.path]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise BrokenExecutor(f"cannot start a worker process: {error.strerror or error}") from error
        self._tasks = cast("BinaryIO", self._process.stdin)
        self._results = cast("BinaryIO", self._process.stdout)

    def do(self, task: _Task) -> Any:
        """Run *task* and return its result. Raise its error, or BrokenExecutor if the process dies."""
        data = pickle.dumps((task.function, task.arguments, task.options), pickle.HIGHEST_PROTOCOL)
        try:
            send(self._tasks, data)
            answer = receive(self._results)
        except (EOFError, OSError) as error:
            raise BrokenExecutor("a worker process died") from error
        done, result = pickle.loads(answer)  # noqa: S301 - written by our own worker
        if not done:
            raise result
        return result

    def kill(self) -> None:
        """Kill the process, even in the middle of its task."""
        self._process.kill()

    def end(self) -> None:
        """Tell the process to end, and wait for it."""
        with suppress(OSError):
            send(self._tasks, b"")
        for stream in (self._tasks, self._results):
            with suppress(OSError):
                stream.close()
        self._process.wait()
