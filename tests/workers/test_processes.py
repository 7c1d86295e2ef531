"""The process executor implements `concurrent.futures`, and its workers end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, wait
from functools import partial
from pathlib import Path

import pytest

from rmfab.workers import processes
from rmfab.workers.inline import InlineExecutor
from rmfab.workers.processes import ProcessExecutor
from tests.patience import PATIENCE, until
from tests.terminal import environment

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@pytest.fixture(params=[InlineExecutor, partial(ProcessExecutor, 2)], ids=["inline", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """The inline executor and the process executor."""
    with request.param() as made:
        yield made


def ended(worker: Path) -> bool:
    """Return whether a process has ended. A zombie has."""
    try:
        return (worker / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_an_executor(executor: Executor) -> None:
    """`submit` accepts positional and keyword arguments, `map` keeps the order, the future has the error."""
    assert executor.submit(int, "ff", base=16).result() == 255
    assert list(executor.map(divmod, range(20), [7] * 20)) == [divmod(number, 7) for number in range(20)]
    error = executor.submit(int, "x").exception()
    assert isinstance(error, ValueError)
    assert executor.submit(int, "7").result() == 7


def test_shutdown_does_what_was_submitted() -> None:
    """Without `cancel_futures`, all tasks finish before the workers end; afterwards `submit` is rejected."""
    executor = ProcessExecutor(2)
    futures = [executor.submit(pow, 2, number) for number in range(30)]
    executor.shutdown()
    assert [future.result(timeout=0) for future in futures] == [2**number for number in range(30)]
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(int)
    executor.shutdown()


def test_shutdown_cancels() -> None:
    """With `cancel_futures`, tasks that have not started are cancelled; an endless task is killed."""
    patience, processes.PATIENCE = processes.PATIENCE, 0.2
    try:
        executor = ProcessExecutor(1)
        first = executor.submit(time.sleep, 1000)
        others = [executor.submit(int) for _ in range(3)]
        until(first.running)
        executor.shutdown(cancel_futures=True)
    finally:
        processes.PATIENCE = patience
    assert [future.cancelled() for future in others] == [True] * 3
    assert isinstance(first.exception(timeout=0), BrokenExecutor)


def test_workers_start_as_they_are_needed() -> None:
    """Tasks in sequence need one process; an executor without tasks starts none."""
    with ProcessExecutor(4) as executor:
        assert executor._workers == []
        pids = set()
        for _ in range(5):
            pids.add(executor.submit(os.getpid).result())
            until(lambda: not executor._unfinished)
        assert len(pids) == 1
    ProcessExecutor(3).shutdown()


@posix
def test_all_futures_hear_of_a_death() -> None:
    """A worker that is killed breaks the executor: all futures end, and `submit` is rejected."""
    executor = ProcessExecutor(2)
    futures = [executor.submit(time.sleep, 0.2) for _ in range(10)]
    killed = executor.submit(os.getpid).result()
    os.kill(killed, signal.SIGSTOP)  # so that not all is done before it dies
    until(lambda: any(future.running() for future in futures) or all(future.done() for future in futures))
    more = [executor.submit(time.sleep, 0.1) for _ in range(10)]
    until(lambda: any(future.running() for future in (*futures, *more)))
    os.kill(killed, signal.SIGKILL)
    done, waiting = wait(more, timeout=PATIENCE)
    assert not waiting
    assert any(isinstance(future.exception(), BrokenExecutor) for future in done)
    with pytest.raises(BrokenExecutor, match="a worker process died"):
        executor.submit(int)
    executor.shutdown(cancel_futures=True)


@posix
@pytest.mark.parametrize("size", [100, 1 << 16, 1 << 24])
def test_killed_while_it_writes(size: int) -> None:
    """If a worker dies in the middle of a result, no future waits forever."""
    for number in range(5):
        executor = ProcessExecutor(2)
        pid = executor.submit(os.getpid).result()
        futures = [executor.submit(bytes, size) for _ in range(20)]
        time.sleep(0.002 * number)
        os.kill(pid, signal.SIGKILL)
        _, waiting = wait(futures, timeout=PATIENCE)
        assert not waiting
        executor.shutdown(cancel_futures=True)


@posix
def test_signals_of_a_worker() -> None:
    """A worker ignores ^C; SIGTERM and SIGHUP end it, even if its parent handles them."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with ProcessExecutor(1) as executor:
            handlers = list(executor.map(signal.getsignal, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
            assert handlers == [signal.SIG_IGN, signal.SIG_DFL, signal.SIG_DFL]
            pid = executor.submit(os.getpid).result()
            os.kill(pid, signal.SIGINT)
            assert executor.submit(os.getpid).result() == pid
            os.kill(pid, signal.SIGTERM)
            with pytest.raises(BrokenExecutor):
                executor.submit(time.sleep, 1000).result()
    finally:
        signal.signal(signal.SIGTERM, before)


PARENT = """
import os, sys, time
from rmfab.workers.processes import ProcessExecutor
executor = ProcessExecutor(2)
for name in sys.argv[1:]:
    executor.submit(os.mkdir, name)
    executor.submit(time.sleep, 1000)
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc as Linux has it")
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """If the parent is killed, its workers end in the middle of their tasks."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "one"), str(tmp_path / "two")]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        until(lambda: len(children.read_text().split()) == 2 and (tmp_path / "one").exists())
        workers = [Path("/proc") / pid for pid in children.read_text().split()]
        parent.kill()
        parent.wait()
        until(lambda: all(ended(worker) for worker in workers))


def test_an_end_without_shutdown() -> None:
    """A program that does not call `shutdown` still ends, and so do its workers."""
    program = "from rmfab.workers.processes import ProcessExecutor as E; print(E(2).submit(pow, 2, 5).result())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.stdout, done.stderr, done.returncode) == ("32\n", "", 0)
