"""Tests of ^C, SIGTERM and kill -9 at any moment: exit 130, no orphan, nothing lost, the same command continues."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import rmfab
from rmfab.workspace.workspace import open_workspace
from tests.patience import PATIENCE, until
from tests.terminal import Terminal, copied, environment, words

CHUNKS = 5
COUNT = CHUNKS * 500  # the size of a chunk of `generate`
TRIES = 20
PACKAGE = str(Path(rmfab.__file__).parent)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="process groups as Linux has them")]


def alive(group: int) -> list[int]:
    """Return the processes of a process group that still run, without zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def chunks(ledger: Path) -> int:
    """Return the number of chunks in the ledger."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=PATIENCE) as connection:
        (count,) = connection.execute("SELECT count(*) FROM chunk").fetchone()
    connection.close()
    return int(count)


def begun(folder: Path, *argv: str) -> subprocess.Popen[str]:
    """Start a rmfab process in its own process group, as a shell does."""
    return subprocess.Popen(
        words("-C", folder, *argv),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def state(pid: int) -> str:
    """Return the state of a process as `ps` shows it: T if it is stopped, Z if it has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def in_the_middle(
    begin: Callable[[], tuple[Path, subprocess.Popen[str]]],
    reached: Callable[[Path, subprocess.Popen[str]], bool],
    unfinished: Callable[[Path], bool],
) -> tuple[Path, subprocess.Popen[str]]:
    """Return a folder and a command that has *reached* its work there, and that SIGSTOP holds while *unfinished*.

    Signals to it count once it gets SIGCONT. A command that was too fast for this process is started again.
    """
    for _ in range(TRIES):
        folder, process = begin()
        if held(folder, process, reached) and unfinished(folder):
            return folder, process
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, signal.SIGKILL)  # a worker that is held cannot see the end of its parent
        process.communicate(timeout=PATIENCE)
        leave_nothing(process)
    raise AssertionError(f"the command ended {TRIES} times before it could be stopped")


def held(folder: Path, process: subprocess.Popen[str], reached: Callable[[Path, subprocess.Popen[str]], bool]) -> bool:
    """Stop a command once it has *reached* its work; False if it ended first."""
    until(lambda: process.poll() is not None or reached(folder, process), "the command does not get to its work")
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGSTOP)
    until(lambda: state(process.pid) in "TZ", "the command was not stopped")
    return state(process.pid) == "T"


def leave_nothing(process: subprocess.Popen[str]) -> None:
    """Wait until no process of the command's group runs."""
    until(lambda: alive(process.pid) == [], "processes stayed")


@pytest.mark.parametrize("how", ["^C", "^C^C", "SIGINT", "SIGTERM", "SIGKILL"])
def test_a_batch_that_is_cut_short(terminal: Terminal, workshop: Path, tmp_path: Path, how: str) -> None:
    """Wherever `generate` is interrupted, no process stays, the batch stays invisible, and the same command ends it."""
    words_of_it = ("generate", "--count", str(COUNT), "--batch", "big", "--jobs", "2")
    names = (f"lamp-{number}" for number in range(TRIES))

    def begin() -> tuple[Path, subprocess.Popen[str]]:
        folder = copied(workshop / "lamp", tmp_path / next(names))
        return folder, begun(folder, *words_of_it)

    lamp, process = in_the_middle(
        begin, lambda folder, _: chunks(folder / "ledger.db") > 2, lambda folder: chunks(folder / "ledger.db") < CHUNKS
    )
    if how.startswith("^C"):
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(getattr(signal, how))
    process.send_signal(signal.SIGCONT)
    if how == "^C^C":
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == (-signal.SIGKILL if how == "SIGKILL" else 130)
    until(lambda: alive(process.pid) == [], f"processes stayed: {alive(process.pid)}")
    if how != "SIGKILL":
        assert told == "rmfab: interrupted; run the same command again to continue\n"
    standing = chunks(lamp / "ledger.db")
    assert "big (open)" in terminal.well("-C", lamp, "status", "big")
    terminal("-C", lamp, "build", "big", "-o", "out").refused(3)
    assert terminal.well("-C", lamp, *words_of_it) == "big\n"
    with open_workspace(lamp).ledger as ledger:
        assert sum(1 for _ in ledger.chunks("big")) == CHUNKS > standing - 1
        serials = [one.serial for one in ledger.identities("big")]
        assert serials == [f"LMP-{number:06d}" for number in range(4, COUNT + 4)]


@pytest.mark.parametrize(
    "argv", [("generate", "--count", "9000"), ("--help",), ("status",), ("demo", "--dir", "d")], ids=" ".join
)
def test_interrupted_at_any_moment(lamp: Path, argv: tuple[str, ...]) -> None:
    """^C at moments spread over a command's start ends it with 130 and one line, or comes too late.

    While Python itself starts or ends, it dies of the signal, which a shell also shows as 130, or exits with 1 and a
    traceback of its own (Python/initconfig.c, Lib/site.py, Modules/main.c), in which no code of rmfab stands.
    """
    for number in range(5):
        process = begun(lamp, *argv)
        time.sleep(0.12 + 0.11 * number)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
        starting = process.returncode == 1 and "KeyboardInterrupt" in told and PACKAGE not in told
        assert starting or process.returncode in (130, 0, -signal.SIGINT), told
        if process.returncode == 130:
            assert "Traceback" not in told
            assert told.splitlines()[-1] == "rmfab: interrupted; run the same command again to continue"
        until(lambda process=process: alive(process.pid) == [], "processes stayed")


def test_two_generates_at_once(lamp: Path) -> None:
    """Two batches made in one ledger at the same time have no serial, PoP or name in common."""
    both = [begun(lamp, "generate", "--count", "1200", "--batch", name) for name in ("one", "two")]
    for process in both:
        out, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, told
        assert out.strip() in ("one", "two")
    with open_workspace(lamp).ledger as ledger:
        made = [one for name in ("one", "two") for one in ledger.identities(name)]
        assert len({one.serial for one in made}) == 2400
        assert len({one.record.pop_tag for one in made}) == 2400
        assert ledger.check() == ()


def test_two_of_the_same_at_once(lamp: Path) -> None:
    """The same command run twice at once makes one complete batch."""
    both = [begun(lamp, "generate", "--count", "1200", "--batch", "one") for _ in range(2)]
    for process in both:
        out, told = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (0, "one\n"), told
    with open_workspace(lamp).ledger as ledger:
        assert sum(1 for _ in ledger.identities("one")) == 1200
        assert ledger.check() == ()
