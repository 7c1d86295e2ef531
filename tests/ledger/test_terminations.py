"""Many stations on one server, whose connections end at random moments, and which are killed themselves."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmfab.ledger.events import EventKind
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import fresh, mac

pytestmark = [pytest.mark.peers, pytest.mark.slow]

_STATION = """
import sys
from pathlib import Path
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.host import PoolHost
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import mac, now
address, number, count, state = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
state.mkdir(exist_ok=True)
with Ledger.open(address, create=False, host=PoolHost(state, state.name)) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    with ledger.guarded(Watcher(lambda: True, lambda text: None)):
        for board in range(number * count, number * count + count):
            claim = ledger.claim(mac(board), Wish("lamp"), station=state.name, ts=now())
            print(board, claim.identity.serial, flush=True)
"""


def start(address, stations, count, folder):
    """Start a process for each of *stations*; they claim as soon as all are there."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _STATION, address, str(number), str(count), folder / f"bench-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for number in range(stations)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    return workers


def told_by(worker):
    """Return what a station printed until it ended: serials by board."""
    worker.stdin.close()
    text = worker.stdout.read()
    worker.stdout.close()
    worker.wait()
    return dict(re.findall(r"^(\d+) (LMP-\d{6})$", text, re.MULTILINE))


@contextmanager
def terminating(server, database):
    """End the connection of a random station after each claim of any; yield how many were ended."""
    stop, ended = threading.Event(), []
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity "
        f"WHERE datname = '{database}' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS one"
    )

    def claimed():
        return server.execute("SELECT sum(last_seq) FROM chain", database)

    def work():
        before = None
        while not stop.wait(0.01):
            # A machine that is too slow to claim between two ends would never come to an end.
            if (now := claimed()) != before:
                before = now
                ended.extend(server.execute(terminate))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("killed", [False, True], ids=["terminated", "killed"])
def test_stations_whose_connections_end(server, databases, tmp_path, killed):
    """Each board gets one identity, no identity is given twice, every claim that was returned is in the ledger, and no
    claim is recorded twice; a station that is killed goes on with the same command."""
    stations, count = int(os.environ.get("RMFAB_TEST_STATIONS", "8")), 20
    address = databases()
    fresh(address, size=stations * count).close()
    name = address.partition("?")[0].rpartition("/")[2]
    told = {}
    chance = random.Random(7)
    workers = start(address, stations, count, tmp_path)
    with terminating(server, name) as ended:
        for worker in chance.sample(workers, stations // 2) if killed else ():
            told |= dict([worker.stdout.readline().split() for _ in range(chance.randrange(1, 4))])
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            told |= told_by(worker)
    assert ended
    if killed:
        workers = start(address, stations, count, tmp_path)
        with terminating(server, name):
            for worker in workers:
                again = told_by(worker)
                assert all(told.setdefault(board, serial) == serial for board, serial in again.items())
    assert [worker.returncode for worker in workers] == [0] * stations
    assert len(told) == len(set(told.values())) == stations * count
    with Ledger.open(address, create=False) as ledger:
        assert {one.mac: one.serial for one in ledger.identities("lamp-0001")} == {
            mac(int(board)): serial for board, serial in told.items()
        }
        assert ledger.check() == ()
        for serial in told.values():
            claims = [one.event.details["again"] for one in ledger.history(serial) if one.event.kind is EventKind.CLAIM]
            assert claims in ([[False]] if not killed else [[False], [False, True]])
