"""The life of a worker process: it reads tasks from its stdin, does one at a time and writes each result to its stdout.

It ignores ^C, which reaches the whole terminal and is its parent's to answer; SIGTERM and SIGHUP end it, unless its
parent was started with them ignored (nohup). A thread reads all the time, so that the end of the pipe, which is the
death of the parent, ends the worker in the middle of a task too. Imports little: every worker waits for it.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, BinaryIO

from rmfab.errors import RmfabError

_LENGTH = struct.Struct("!Q")


def send(stream: BinaryIO, data: bytes) -> None:
    """Writes one message of *data* to the other side."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """The next message of the other side. Raises EOFError where it ended, in the middle of a message too."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def hold(make: Callable[[Any], Any], order: object) -> None:
    """Makes what this process holds from its first chunk to its last."""
    _Held.worker = make(order)


def on_held(method: Callable[[Any, Any], Any], chunk: object) -> Any:
    """*method* of what this process holds, on *chunk*."""
    return method(_Held.worker, chunk)


def main() -> None:
    """Serves the parent until it says that no more tasks come: an empty message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks_stream, results = _own_streams()
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(tasks_stream, tasks), daemon=True).start()
    while task := tasks.get():
        send(results, _outcome(task))
    os._exit(0)  # the thread still reads, and must not be met at the interpreter's own end


class _Held:
    worker: Any = None


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has ended")
    return data


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout under other numbers: what a library prints must not come between the results."""
    streams = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nowhere, number)
    os.close(nowhere)
    return streams


def _read(stream: BinaryIO, tasks: SimpleQueue[bytes]) -> None:
    try:
        while True:
            tasks.put(receive(stream))
    except (EOFError, OSError):
        os._exit(1)


def _outcome(task: bytes) -> bytes:
    """Whether the task was done, and its result or its error."""
    try:
        function, arguments, options = pickle.loads(task)  # noqa: S301 - what our parent wrote
        return pickle.dumps((True, function(*arguments, **options)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - every error is the parent's to judge
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    if not isinstance(error, RmfabError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)  # noqa: S301 - what was pickled here
    except Exception:  # noqa: BLE001 - an error of a library that does not travel
        told = RuntimeError(f"{type(error).__name__} in a worker")
        told.add_note("".join(traceback.format_exception(error)))
        return pickle.dumps((False, told))
    return data
