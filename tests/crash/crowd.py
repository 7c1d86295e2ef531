"""Many processes that claim from one ledger at once, while their connections end and some of them are killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rmfab.ledger.store import Ledger
from tests.ledger.workshop import beneath, fresh, mac
from tests.postgres import Server

_STATION = """
import sys
from pathlib import Path
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.host import PoolHost, this_host
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.sql.server_address import is_url
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import mac, now
address, name, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
host = PoolHost(Path(sys.argv[5], name), name) if is_url(address) else this_host()
host.state.mkdir(parents=True, exist_ok=True)
with Ledger.open(address, create=False, host=host) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    with ledger.guarded(Watcher(lambda: True, lambda text: None)):
        for board in range(first, first + count):
            claim = ledger.claim(mac(board), Wish("lamp"), station=name, ts=now())
            print(board, claim.identity.serial, flush=True)
"""
_CHUNK = 500


class Crowd:
    """*stations* processes that claim for *count* boards each, from the ledger at *address* that `run` makes.

    On a server each is a host of its own, with its state below *folder*; a file is one host's.
    """

    def __init__(self, address: Path | str, folder: Path, stations: int, count: int) -> None:
        self._address = address
        self._folder = folder
        self._stations = stations
        self._count = count
        self._told: dict[str, str] = {}

    def make(self) -> None:
        """Make the ledger, with an identity for each board."""
        fresh(self._address, size=self._stations * self._count, chunk_size=_CHUNK).close()

    def claim(self, *, kills: bool) -> None:
        """Claim for all boards; with *kills*, kill half of the processes, and let all claim once more."""
        workers = self._start()
        chance = random.Random(7)
        for worker in chance.sample(workers, self._stations // 2) if kills else ():
            assert worker.stdout is not None
            lines = [worker.stdout.readline() for _ in range(chance.randrange(1, 4))]
            worker.send_signal(signal.SIGKILL)
            self._hear("".join(lines))
        self._end(workers, (0, -signal.SIGKILL) if kills else (0,))
        if kills:
            self._end(self._start(), (0,))

    def judge(self, *, kills: bool) -> None:
        """Assert that each board has one identity, that every claim that was returned is in the ledger, and that each
        is recorded once: with *kills*, once more for those that were claimed again."""
        assert len(self._told) == len(set(self._told.values())) == self._stations * self._count
        with Ledger.open(self._address, create=False) as ledger:
            held = {one.mac: one.serial for one in ledger.identities("lamp-0001")}
            assert held == {mac(int(board)): serial for board, serial in self._told.items()}
            assert ledger.check() == ()
        claims = defaultdict(list)
        with beneath(self._address) as connection:
            query = "SELECT serial, details FROM event WHERE kind = 'claim' ORDER BY id"
            for serial, details in connection.exec_driver_sql(query):
                claims[serial].append(json.loads(details)["again"])
        once, twice = [False], [False, True]
        assert all(one in ([once, twice] if kills else [once]) for one in claims.values())

    def _of(self, number: int) -> tuple[object, ...]:
        """Return the arguments of station *number*."""
        return self._address, f"bench-{number}", number * self._count, self._count, self._folder

    def _start(self) -> list[subprocess.Popen[str]]:
        """Start all processes; they claim as soon as all are there."""
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", _STATION, *map(str, self._of(number))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            )
            for number in range(self._stations)
        ]
        for worker in workers:
            assert worker.stdin is not None
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
        return workers

    def _end(self, workers: Sequence[subprocess.Popen[str]], codes: Sequence[int]) -> None:
        """Hear what *workers* print until they end: none reports a lock, or anything else."""
        for worker in workers:
            assert worker.stdin is not None
            assert worker.stdout is not None
            assert worker.stderr is not None
            worker.stdin.close()
            self._hear(worker.stdout.read())  # `communicate` would lose what the stream has buffered
            wrong = worker.stderr.read()
            worker.stdout.close()
            worker.stderr.close()
            code = worker.wait()
            assert code in codes, wrong
            assert wrong == "", wrong

    def _hear(self, said: str) -> None:
        """Note the identities that a process was given; the same board gets the same one."""
        for board, serial in re.findall(r"^(\d+) (LMP-\d{6})$", said, re.MULTILINE):
            assert self._told.setdefault(board, serial) == serial


@contextmanager
def terminating(server: Server, database: str, pause: float = 0.01) -> Iterator[list[object]]:
    """End the connection of a random station after a claim of any, and then after *pause* seconds or more; yield what
    was ended."""
    stop, ended = threading.Event(), []
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity "
        f"WHERE datname = '{database}' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS one"
    )

    def work() -> None:
        before = None
        while not stop.wait(pause):
            # A machine that is too slow to claim between two ends would never come to an end.
            claims = server.execute("SELECT sum(last_seq) FROM chain", database)
            if claims != before:
                before = claims
                ended.extend(server.execute(terminate))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join()
