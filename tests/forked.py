"""Commands at low cost: the `rmfab` of a page is forked from a process that has imported everything.

In place of rmfab stands a small program, SHIM. It passes its arguments, environment, folder and standard streams to
that process through a socket, and every signal to the fork, and ends as the fork ends.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
    # Not below a test's folder: the path of a socket has less than 108 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="rmfab-") as short:
        address = Path(short) / "commands"
        command = [sys.executable, "-m", "tests.forked", str(address)]
        with subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE) as process:
            until(address.exists, "the process that forks commands does not listen")
            yield SHIM.format(python=sys.executable, socket=str(address))
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE)


def serve(path: str) -> Callable[[], None] | None:
    """Fork a process for each command until stdin is closed. Return, in the fork, what it runs; at the end, None."""
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
                    work = _fork(link, choice)
                    if work is not None:
                        return work
                else:
                    choice.unregister(key.fileobj)
                    _tell_end(key.fd, *key.data)


def _fork(link: socket.socket, choice: selectors.BaseSelector) -> Callable[[], None] | None:
    """Fork a process for the request on *link*; return what it runs, in the fork."""
    size, streams, _, _ = socket.recv_fds(link, 4, 3)
    argv, folder, variables = json.loads(link.makefile("rb").read(int.from_bytes(size, "big")))
    pid = os.fork()
    if pid == 0:
        choice.close()
        link.close()
        return lambda: _live(argv, folder, variables, streams)
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


def _live(argv: list[str], folder: str, variables: dict[str, str], streams: list[int]) -> None:
    """Run rmfab as the console script does, with the streams, folder and environment of the shim.

    Taking down all modules, as Python does at its end, would cost more than most commands.
    """
    from rmfab.cli import run

    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["rmfab", *argv]
    try:
        run()
    except SystemExit as end:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(end.code)


if __name__ == "__main__":
    preload()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = serve(sys.argv[1])
    if work is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
