"""The main program of a worker process: reads tasks from stdin, runs one at a time, and writes each result to stdout.

It ignores SIGINT, because ^C reaches all processes of the terminal and the parent handles it. SIGTERM and SIGHUP end
it, unless the parent was started with them ignored (nohup). A thread always reads stdin: when the parent dies, the pipe
closes and the worker ends, even in the middle of a task. This module imports little, because each worker waits for it.
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
    """Write one message with *data* to the other side."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Return the next message. Raise EOFError if the other side has ended, even in the middle of a message."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def hold(make: Callable[[Any], Any], order: object) -> None:
    """Make the worker of this process, which it keeps for all chunks."""
    _Held.worker = make(order)


def on_held(method: Callable[[Any, Any], Any], chunk: object) -> Any:
    """Call *method* of this process's worker on *chunk*."""
    return method(_Held.worker, chunk)


def main() -> None:
    """Serve the parent until an empty message ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks_stream, results = _own_streams()
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(tasks_stream, tasks), daemon=True).start()
    while task := tasks.get():
        send(results, _outcome(task))
    os._exit(0)  # not sys.exit: the interpreter's shutdown fails while the thread reads


class _Held:
    worker: Any = None


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has ended")
    return data


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Move stdin and stdout to other file descriptors, so that a library that prints cannot corrupt the results."""
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
    """Run a task. Return a message of whether it succeeded, and its result or error."""
    try:
        function, arguments, options = pickle.loads(task)  # noqa: S301 - written by our parent
        return pickle.dumps((True, function(*arguments, **options)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - the parent handles every error
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    if not isinstance(error, RmfabError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)  # noqa: S301 - pickled in the line before
    except Exception:  # noqa: BLE001 - the error cannot be pickled and unpickled
        stand_in = RuntimeError(f"{type(error).__name__} in a worker")
        stand_in.add_note("".join(traceback.format_exception(error)))
        return pickle.dumps((False, stand_in))
    return data
