"""The queue of one host's writers: it saves time, honours patience, and is not needed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rmfab.ledger.sql.write_queue import NoTurn, WriteQueue
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, beneath, cause_of, claim, fresh
from tests.patience import PATIENCE, Metronome

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no queue on Windows")

_HOLD = """
import fcntl, sys, time
file = open({path!r})
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the queue until it reads a line."""
    fresh(tmp_path).close()
    code = _HOLD.format(path=str(tmp_path / f"{FILE}-queue"))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_holder_that_hangs(holder, tmp_path):
    """After its patience, a writer fails as for a locked ledger, and binds nothing; later it may write again."""
    with Ledger.open(tmp_path / FILE, create=False, patience=1) as ledger:
        assert cause_of(claim, ledger, 1) == "ledger-locked"
        assert ledger.free("lamp") == 10
        holder.communicate(b"\n")
        assert claim(ledger, 1).identity.serial == "LMP-000001"
        assert claim(ledger, 2).identity.serial == "LMP-000002"


def test_a_holder_that_is_killed(holder, tmp_path):
    """The next writer has its turn as soon as the holder is killed."""
    given = []
    with Ledger.open(tmp_path / FILE, create=False, patience=3600) as ledger:
        waiting = threading.Thread(target=lambda: given.append(claim(ledger, 1).identity.serial))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        holder.send_signal(signal.SIGKILL)
        waiting.join(PATIENCE)
    assert given == ["LMP-000001"]


@pytest.mark.slow
def test_patience_of_all_slots(holder, tmp_path):
    """Slots that wait at once fail at once, not one after the other."""
    causes = []
    with Ledger.open(tmp_path / FILE, create=False, patience=2) as ledger:
        slots = [threading.Thread(target=lambda n=n: causes.append(cause_of(claim, ledger, n))) for n in range(16)]
        with Metronome() as clock:
            for slot in slots:
                slot.start()
            for slot in slots:
                slot.join()
            assert clock.time() < 16, "one after the other would take 32 s"
    assert causes == ["ledger-locked"] * 16


@pytest.mark.slow
def test_a_locked_ledger_of_all_slots(tmp_path):
    """The same for a different program that holds SQLite's lock."""
    fresh(tmp_path).close()
    causes = []
    with Ledger.open(tmp_path / FILE, create=False, patience=2) as ledger:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        slots = [threading.Thread(target=lambda n=n: causes.append(cause_of(claim, ledger, n))) for n in range(16)]
        with Metronome() as clock:
            for slot in slots:
                slot.start()
            for slot in slots:
                slot.join()
            assert clock.time() < 16, "one after the other would take 32 s"
        other.close()
    assert causes == ["ledger-locked"] * 16


_INTERRUPTED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import claim
with Ledger.open(Path({path!r}), create=False, patience=3600) as ledger:
    try:
        print("ready", flush=True)
        claim(ledger, 1)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_an_interrupt_while_waiting(holder, tmp_path):
    """^C ends a wait in the queue at once, and binds nothing."""
    code = _INTERRUPTED.format(root=str(Path(__file__).parents[3]), path=str(tmp_path / FILE))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.5)  # it waits by then; if not, the interrupt ends it before that
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"interrupted\n"
    with beneath(tmp_path) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM identity WHERE mac IS NOT NULL").scalar() == 0


@pytest.mark.parametrize("kind", ["folder", "fifo", "link"])
def test_no_lock_file(tmp_path, kind):
    """If the lock file is something else, a writer works without the queue, and does not hang."""
    fresh(tmp_path).close()
    queue = tmp_path / f"{FILE}-queue"
    queue.unlink()
    if kind == "folder":
        queue.mkdir(mode=0o000)
    elif kind == "fifo":
        os.mkfifo(queue)
    else:
        queue.symlink_to(tmp_path / "elsewhere")
    with Ledger.open(tmp_path / FILE, create=False, patience=PATIENCE) as ledger:
        assert claim(ledger, 1).identity.serial == "LMP-000001"
    assert not (tmp_path / "elsewhere").exists()


def test_one_at_a_time(tmp_path):
    """Of 8 threads with a queue each, as 8 processes have, one at a time has its turn, and each gets one."""
    inside, most = 0, []

    def work():
        nonlocal inside
        with WriteQueue(tmp_path / FILE, 0o600).turn(time.monotonic() + PATIENCE):
            inside += 1
            most.append(inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_wait_that_is_given_up_takes_no_turn(tmp_path):
    """The turn of a writer that has given up goes to the next one."""
    first, second = WriteQueue(tmp_path / FILE, 0o600), WriteQueue(tmp_path / FILE, 0o600)
    with first.turn(time.monotonic() + PATIENCE), pytest.raises(NoTurn), second.turn(time.monotonic() + 0.1):
        pytest.fail("two turns at once")
    with second.turn(time.monotonic() + PATIENCE):
        pass
