"""Two processes at once, and killed processes: no identity is duplicated or lost."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, claim, fresh, mac, now

pytestmark = pytest.mark.slow

ROOT = str(Path(__file__).parents[2])

_CLAIM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from rmfab.ledger.claim_terms import Around, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import mac, now
ledger = Ledger.open({path!r}, create={create})
print("ready", flush=True)
sys.stdin.readline()
for board in range({first}, {last}):
    made = lambda claim: Event(now(), EventKind.STEP, step="claim", mac=mac(board), outcome=Outcome.PASS)
    detect = Event(now(), EventKind.STEP, step="detect", mac=mac(board), outcome=Outcome.PASS)
    claim = ledger.claim(mac(board), Wish("lamp"), station={station!r}, ts=now(), around=Around((detect,), made))
    serial = claim.identity.serial
    print(board, serial, flush=True)
    ledger.record({station!r}, [Event(now(), EventKind.STEP, serial=serial, step="flash", state=State.FLASHED)])
"""


def start(path, first, last, station, *, create=False):
    code = _CLAIM.format(root=ROOT, path=str(path), first=first, last=last, station=station, create=create)
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    return worker


class Forked:
    """A process that works like one of `start`, forked from this one: it need not import everything again."""

    def __init__(self, path, first, last, station):
        code = _CLAIM.format(root=ROOT, path=str(path), first=first, last=last, station=station, create=False)
        its_input, our_output = os.pipe()
        our_input, its_output = os.pipe()
        self.returncode = None
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.dup2(its_input, 0)
                os.dup2(its_output, 1)
                sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
                exec(code, {})
                os._exit(0)
            finally:
                os._exit(1)
        os.close(its_input)
        os.close(its_output)
        self.stdin, self.stdout = os.fdopen(our_output, "w"), os.fdopen(our_input)

    def send_signal(self, number):
        """Send it a signal."""
        os.kill(self._pid, number)

    def wait(self):
        """Wait for its end; see `returncode`."""
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def go(*workers):
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()


def answers(worker):
    """Return what a worker printed and was not read yet. `communicate` would lose what the stream has buffered."""
    worker.stdin.close()
    text = worker.stdout.read()
    worker.stdout.close()
    worker.wait()
    return dict(re.findall(r"^(\d+) (LMP-\d{6})$", text, re.MULTILINE))


@pytest.mark.parametrize("same_station", [True, False])
def test_two_stations_on_one_ledger(place, same_station):
    """Two processes that claim at once assign no identity twice and lose none, under one station name or two."""
    fresh(place, size=100).close()
    workers = [start(place, n, n + 50, "bench" if same_station else f"bench{n}") for n in (0, 50)]
    go(*workers)
    given = {}
    for worker in workers:
        given |= answers(worker)
        assert worker.returncode == 0
    assert len(given) == 100
    assert sorted(given.values()) == [f"LMP-{n:06d}" for n in range(1, 101)]
    with Ledger.open(place, create=False) as ledger:
        assert {i.mac: i.serial for i in ledger.identities("lamp-0001")} == {mac(int(b)): s for b, s in given.items()}
        assert ledger.free("lamp") == 0
        assert ledger.check() == ()


def test_two_processes_make_one_ledger(place):
    """If several processes create the ledger at once, they all open the same one."""
    workers = [start(place, 0, 0, "bench", create=True) for _ in range(3)]
    go(*workers)
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    with Ledger.open(place, create=False) as ledger:
        assert ledger.check() == ()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_kill_at_any_moment(place):
    """After repeated kills, every claim that was returned persists, and each board gets the same identity again."""
    fresh(place, size=60).close()
    chance = random.Random(5)
    told: dict[str, str] = {}
    for _ in range(7):
        worker = Forked(place, 0, 60, "bench")
        go(worker)
        for _ in range(chance.randrange(1, 12)):
            board, serial = worker.stdout.readline().split()
            assert told.setdefault(board, serial) == serial
        worker.send_signal(signal.SIGKILL)
        told |= {board: told.get(board, serial) for board, serial in answers(worker).items()}
        with Ledger.open(place, create=False) as ledger:
            held = {identity.mac: identity.serial for identity in ledger.identities("lamp-0001") if identity.mac}
            assert {mac(int(board)): serial for board, serial in told.items()}.items() <= held.items()
            assert len(held) <= len(told) + 1
            assert ledger.check() == ()
    worker = Forked(place, 0, 60, "bench")
    go(worker)
    last = answers(worker)
    assert len(set(last.values())) == 60
    assert told.items() <= last.items()
    with Ledger.open(place, create=False) as ledger:
        assert ledger.check() == ()
        assert ledger.rebuild() == 0
        ledger.claim(mac(0), Wish("lamp"), station=STATION, ts=now())


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_sixteen_processes_are_killed(place):
    """Of 16 processes that claim and record at once, half are killed at random moments: the others end well, no
    identity is doubled, every claim that was returned persists with its steps, and the rest can be claimed."""
    fresh(place, size=16 * 12).close()
    chance = random.Random(12)
    workers = [Forked(place, n * 12, n * 12 + 12, "bench") for n in range(16)]
    go(*workers)
    told: dict[str, str] = {}
    killed = chance.sample(workers, 8)
    for worker in killed:
        for _ in range(chance.randrange(0, 3)):
            board, serial = worker.stdout.readline().split()
            told[board] = serial
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        told |= answers(worker)
        assert worker.returncode in ((0, -signal.SIGKILL) if worker in killed else (0,))
    assert len(set(told.values())) == len(told)
    with Ledger.open(place, create=False) as ledger:
        held = {identity.mac: identity.serial for identity in ledger.identities("lamp-0001") if identity.mac}
        assert {mac(int(board)): serial for board, serial in told.items()}.items() <= held.items()
        for serial in held.values():
            steps = [stored.event.step or stored.event.kind.value for stored in ledger.history(serial)]
            assert steps[:3] == ["detect", "claim", "claim"]
        assert ledger.check() == ()
        for board in range(16 * 12):
            assert claim(ledger, board).again == (mac(board) in held)
        assert ledger.free("lamp") == 0
        assert ledger.check() == ()
