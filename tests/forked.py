"""Processes at low cost: they are forked from one that has imported everything they need.

In place of rmfab stands a small program, SHIM. It passes its arguments, environment, folder and standard streams to
that process through a socket, and every signal to the fork, and ends as the fork ends. `ForkedBoards` does the same for
the child process of `rmfab.virtual.serve`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rmfab.virtual.bench import serving
from tests.line.zygote import preload
from tests.patience import PATIENCE, until
from tests.terminal import ROOT, environment

SHIM = """#!{python} -IS
import json, os, signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({socket!r})
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(link, [len(request).to_bytes(4, "big")], [0, 1, 2])
link.sendall(request)
answers = link.makefile()
fork = int(answers.readline())
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), lambda number, _: os.kill(fork, number))
code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def forked_commands() -> Iterator[str]:
    """Yield the program that stands for `rmfab`: a script. The process that it asks ends with the block."""
    with _forking("commands") as address:
        yield SHIM.format(python=sys.executable, socket=address)


@contextmanager
def _forking(what: str) -> Iterator[str]:
    """Yield the address of a process that forks *what*, a key of `_KINDS`. It ends with the block."""
    # Not below a test's folder: the path of a socket has less than 108 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="rmfab-") as short:
        address = Path(short) / "forks"
        command = [sys.executable, "-m", "tests.forked", str(address), what]
        with subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE) as process:
            until(address.exists, f"the process that forks {what} does not listen")
            yield str(address)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE)


START_CHILD = serving.start_child
"""What rmfab does for its users."""


def fork_boards() -> None:
    """Let `rmfab.virtual.serve` of this process fork its child: hundreds of tests serve boards."""
    serving.start_child = ForkedBoards  # type: ignore[assignment]


@functools.cache
def _boards() -> str:
    """Return the address of the process that forks boards; it ends with this one."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(_forking("boards"))


class ForkedBoards:
    """What `rmfab.virtual.bench.serving.serve` asks of the process that it starts."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        link = socket.socket(socket.AF_UNIX)
        link.connect(_boards())
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        request = json.dumps([[], str(Path.cwd()), dict(environment)]).encode()
        socket.send_fds(link, [len(request).to_bytes(4, "big")], [theirs_in, theirs_out, 2])
        link.sendall(request)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")
        self._link, self._answers = link, link.makefile()
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        """Return how the process ended. Raise TimeoutExpired if it has not after *timeout* seconds."""
        if not select.select([self._link], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("rmfab.virtual", timeout or 0.0)
        with self._link, self._answers:
            return int(self._answers.readline())

    def kill(self) -> None:
        """End the process."""
        os.kill(self.pid, signal.SIGKILL)


def serve(path: str, main: Callable[[], None]) -> Callable[[], None] | None:
    """Fork a process for each request until stdin is closed. Return, in a fork, what runs *main*, else None."""
    choice = selectors.DefaultSelector()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{path}.new")
        listening.listen(16)
        os.rename(f"{path}.new", path)  # noqa: PTH104 - it listens before anyone finds it
        choice.register(listening, selectors.EVENT_READ)
        choice.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in choice.select():
                if key.fileobj == 0:
                    return None
                if key.fileobj is listening:
                    link, _ = listening.accept()
                    work = _fork(link, choice, main)
                    if work is not None:
                        return work
                else:
                    choice.unregister(key.fileobj)
                    _tell_end(key.fd, *key.data)


def _fork(link: socket.socket, choice: selectors.BaseSelector, main: Callable[[], None]) -> Callable[[], None] | None:
    """Fork a process for the request on *link*; return what it runs, in the fork."""
    size, streams, _, _ = socket.recv_fds(link, 4, 3)
    argv, folder, variables = json.loads(link.makefile("rb").read(int.from_bytes(size, "big")))
    pid = os.fork()
    if pid == 0:
        choice.close()
        link.close()
        return lambda: _live(main, argv, folder, variables, streams)
    for stream in streams:
        os.close(stream)
    link.sendall(b"%d\n" % pid)
    choice.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, link))
    return None


def _tell_end(handle: int, pid: int, link: socket.socket) -> None:
    os.close(handle)
    _, status = os.waitpid(pid, 0)
    with link:
        link.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _live(
    main: Callable[[], None], argv: list[str], folder: str, variables: dict[str, str], streams: list[int]
) -> None:
    """Run *main* with the arguments, folder, environment and streams of a request.

    Taking down all modules, as Python does at its end, would cost more than most commands.
    """
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["rmfab", *argv]
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    for written in (sys.stdout, sys.stderr):
        written.flush()
    os._exit(code)


def _command() -> Callable[[], None]:
    """Import what commands need; return the console script."""
    from rmfab.cli import run
    from rmfab.operations import disk_sync

    preload()
    # `doctor` would judge the disk of the machine that runs the tests: it may be slow, or /tmp may be in memory.
    disk_sync._MEMORY = ()
    disk_sync.fsync_seconds = lambda *_: 0.003
    return run


def _board() -> Callable[[], None]:
    """Import what boards need; return what runs them."""
    from rmfab.virtual import bench, chip, firmware
    from rmfab.virtual.__main__ import main

    for package in (bench, chip, firmware):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return main


_KINDS = {"commands": _command, "boards": _board}


if __name__ == "__main__":
    address, kind = sys.argv[1:]
    main = _KINDS[kind]()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = serve(address, main)
    if work is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
