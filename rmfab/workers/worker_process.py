"""The life of a worker process: it reads tasks from its stdin, does one at a time and writes each result to its stdout.

It ignores SIGINT: ^C reaches every process on the terminal, and the parent handles it. SIGTERM and SIGHUP end it,
unless the parent was started with them ignored (nohup). A thread reads stdin all the time: when the parent dies the
pipe ends, and so does the worker, even in the middle of a task. This module imports little because every worker waits
for it.
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
    """The next message. Raises EOFError when the other side has ended, even in the middle of a message."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def hold(make: Callable[[Any], Any], order: object) -> None:
    """Makes the worker that this process holds from its first chunk to its last."""
    _Held.worker = make(order)


def on_held(method: Callable[[Any, Any], Any], chunk: object) -> Any:
    """Calls *method* of the worker that this process holds on *chunk*."""
    return method(_Held.worker, chunk)


def main() -> None:
    """Serves the parent until an empty message ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks_stream, results = _own_streams()
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(tasks_stream, tasks), daemon=True).start()
    while task := tasks.get():
        send(results, _outcome(task))
    os._exit(0)  # the thread still reads, which the interpreter's shutdown does not survive


class _Held:
    worker: Any = None


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has ended")
    return data


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout under other numbers, so that a library that prints cannot corrupt the results."""
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
    """Whether the task succeeded, with its result or its error."""
    try:
        function, arguments, options = pickle.loads(task)  # noqa: S301 - what our parent wrote
        return pickle.dumps((True, function(*arguments, **options)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - the parent judges every error
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    if not isinstance(error, RmfabError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)  # noqa: S301 - what was pickled here
    except Exception:  # noqa: BLE001 - an error that cannot be pickled and made again
        stand_in = RuntimeError(f"{type(error).__name__} in a worker")
        stand_in.add_note("".join(traceback.format_exception(error)))
        return pickle.dumps((False, stand_in))
    return data
