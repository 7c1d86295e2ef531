"""Claims of many stations on one PostgreSQL server, against psycopg alone with the two statements that a claim needs.

A station is a process with a host's record of its own. psycopg takes the lowest free identity (UPDATE of a row that a
subselect found with SKIP LOCKED, by the terms with which rmfab finds it) and writes one event, in one transaction;
rmfab also judges the pool, looks the board up, compares the unit with its events, and writes three events of a hash
chain and the host's record. The server is Debian's, in a temporary folder, with fsync.

Stations and server share the cores here. On machines of their own, stations share only the server, and that is what
limits many of them. So the most stations are measured a second time with a server that gets half a core: that is
judged. It takes root on Linux; without, the first measurement is judged, in which the stations limit themselves.

Both crews of stations are there from the beginning and take turns, so that other work on the machine slows both.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claims import TS, end, make, refuse_wrong, release, start, steps
from benchmarks.cpu_share import cpu_group
from rmfab.cli import NEW_OBJECTS
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.host import PoolHost
from rmfab.ledger.store import Ledger
from tests.postgres import Server, running_server

STATIONS = (1, 8, 64)
TARGET = 0.5
_WARM = 8
"""The claims of each station that are not counted, on both sides: a line runs for a shift, with statements that driver
and server have prepared by then."""
_TURNS = 6
_SERVER_SHARE = 0.5
"""So little that stations on two cores keep it busy, both those of psycopg alone and ours."""

_RAW = """
import sys, time, psycopg
address, first, count, name, warm = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
with psycopg.connect(address, autocommit=True) as link:
    link.execute("INSERT INTO chain VALUES (%s, %s, true, 0, '')", (name, name))
    def claim(board):
        mac = "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in board.to_bytes(3, "big"))
        with link.transaction():
            (serial,) = link.execute(
                "UPDATE identity SET state = 'claimed', mac = %s, attempts = 1, claimed_ts = 'now' WHERE id = ("
                "SELECT id FROM identity WHERE batch_id = 1 AND state BETWEEN 'generated' AND 'generated' "
                "ORDER BY state, position LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING serial", (mac,)).fetchone()
            link.execute(
                "INSERT INTO event (chain, station, seq, ts, kind, serial, mac, details, prev_hash, hash) "
                "VALUES (%s, %s, %s, 'now', 'claim', %s, %s, '{}', '', '')",
                (name, name, board, serial, mac))
    boards = iter(range(first, first + warm + count))
    for _ in range(warm):
        claim(next(boards))
    print("ready", flush=True)
    for line in sys.stdin:
        began, cpu = time.monotonic(), time.process_time()
        for _ in range(int(line)):
            claim(next(boards))
        print(began, time.monotonic(), time.process_time() - cpu, flush=True)
"""


@dataclass
class Crew:
    """*stations* that work in turns: how long they took, and the CPU time of theirs and of the *server* meanwhile."""

    server: Server
    processes: Sequence[subprocess.Popen[str]]
    claims: int = 0
    seconds: float = 0.0
    busy: float = 0.0
    busy_server: float = 0.0

    def work(self, each: int) -> None:
        """Let every station claim for *each* so many boards."""
        before = self.server.cpu_seconds()
        times = release(self.processes, f"{each}\n")
        self.busy_server += self.server.cpu_seconds() - before  # they are still connected: a shift ends once
        self.claims += each * len(self.processes)
        self.seconds += max(ended for _, ended, _ in times) - min(began for began, _, _ in times)
        self.busy += sum(cpu for _, _, cpu in times)

    @property
    def rate(self) -> float:
        """Claims per second."""
        return self.claims / self.seconds

    @property
    def cpu(self) -> tuple[float, float]:
        """The CPU milliseconds per claim of a station, and of the server."""
        return 1e3 * self.busy / self.claims, 1e3 * self.busy_server / self.claims


def measure(count: int) -> int:
    """Measure *count* claims with each number of stations; return 1 if the target is missed with the most of them."""
    with running_server(durable=True) as server:
        ratios = [compare(server, stations, count) for stations in STATIONS]
    try:
        with cpu_group(_SERVER_SHARE) as group, running_server(durable=True) as server:
            group.add(server.processes())
            print(f"with {_SERVER_SHARE:g} of a core for the server:")
            ratios.append(compare(server, STATIONS[-1], count))
    except OSError as error:
        print(f"this host cannot limit what the server gets: {error}")
    return int(ratios[-1] < TARGET)


def compare(server: Server, stations: int, count: int) -> float:
    """Measure *count* claims of *stations* on *server*; return the ratio of our rate to that of psycopg alone."""
    each = _TURNS * max(1, count // stations // _TURNS)
    with (
        crew(server, f"raw{stations}", stations, each, raw_job) as raw,
        crew(server, f"ours{stations}", stations, each, our_job) as ours,
    ):
        for _ in range(_TURNS):
            raw.work(each // _TURNS)
            ours.work(each // _TURNS)
    refuse_wrong(server.url(f"ours{stations}"), (each + _WARM) * stations)
    tell(stations, ours, raw)
    return ours.rate / raw.rate


def tell(stations: int, ours: Crew, raw: Crew) -> None:
    """Print what two crews of *stations* did."""
    (station, server), (raw_station, raw_server) = ours.cpu, raw.cpu
    print(
        f"{stations:2} stations: {ours.rate:6.1f} claims per second, psycopg alone {raw.rate:6.1f}: "
        f"{ours.rate / raw.rate:.2f} of it (target {TARGET})"
    )
    print(
        f"   CPU per claim: station {station:.2f} ms, server {server:.2f} ms; psycopg alone {raw_station:.2f} ms, "
        f"{raw_server:.2f} ms: the server carries {raw_server / server:.2f} of it, both "
        f"{(raw_station + raw_server) / (station + server):.2f}; load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


@contextmanager
def crew(
    server: Server, database: str, stations: int, each: int, job: Callable[[str, int, int, Path], list[str]]
) -> Iterator[Crew]:
    """Yield *stations* processes, which run what *job* returns, for *each* so many claims in a new *database*."""
    server.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    make(server.url(database), stations * (each + _WARM))
    server.execute("ANALYZE", database)
    folder = Path(tempfile.mkdtemp(prefix="rmfab-stations-"))
    url, boards = server.url(database), each + _WARM
    try:
        processes = start([job(url, n * boards, each, folder / f"bench-{n}") for n in range(stations)], {})
        yield Crew(server, processes)
        end(processes)
    finally:
        shutil.rmtree(folder)


def raw_job(address: str, first: int, count: int, state: Path) -> list[str]:
    """Return the arguments of a station that uses psycopg alone."""
    return ["-c", _RAW, address, str(first), str(count), state.name, str(_WARM)]


def our_job(address: str, first: int, count: int, state: Path) -> list[str]:
    """Return the arguments of a station that uses rmfab."""
    return ["-m", "benchmarks.claims_on_server", address, str(first), str(count), str(state)]


def work(address: str, first: int, count: int, state: Path) -> None:
    """Claim for *count* boards, as the line of the station named as the folder *state* does."""
    state.mkdir()
    gc.set_threshold(NEW_OBJECTS)  # as every command of rmfab does
    with Ledger.open(address, create=False, host=PoolHost(state, state.name)) as ledger:
        boards = iter(range(first, first + _WARM + count))
        for _ in range(_WARM):
            claim(ledger, next(boards), state.name)
        print("ready", flush=True)
        for line in sys.stdin:
            began, cpu = time.monotonic(), time.process_time()
            for _ in range(int(line)):
                claim(ledger, next(boards), state.name)
            print(began, time.monotonic(), time.process_time() - cpu, flush=True)


def claim(ledger: Ledger, board: int, station: str) -> None:
    """Bind an identity to board number *board*, with the steps around the claim."""
    mac = "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in board.to_bytes(3, "big"))
    ledger.claim(mac, Wish("lamp"), station=station, ts=TS, slot="A1", around=steps(mac))


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
