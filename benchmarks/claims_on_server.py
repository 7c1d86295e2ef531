"""Claims of many stations on one PostgreSQL server, against psycopg alone with the two statements that a claim needs.

A station is a process with a host's record of its own. psycopg takes the lowest free identity (UPDATE of a row that a
subselect found with SKIP LOCKED, by the terms with which rmfab finds it) and writes one event, in one transaction;
rmfab also judges the pool, looks the board up, compares the unit with its events, and writes three events of a hash
chain and the host's record. The server is Debian's, in a temporary folder, with fsync.

Stations and server share the cores here. On machines of their own, stations share only the server: the ratio of its CPU
time per claim tells what one server can carry.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claims import TS, end, make, refuse_wrong, release, start, steps
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.host import PoolHost
from rmfab.ledger.store import Ledger
from tests.postgres import Server, running_server

STATIONS = (1, 8, 64)
TARGET = 0.5
_WARM = 8
"""The claims of each station that are not counted, on both sides: a line runs for a shift, with statements that driver
and server have prepared by then."""

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
    for board in range(first, first + warm):
        claim(board)
    print("ready", flush=True); sys.stdin.readline()
    began, cpu = time.monotonic(), time.process_time()
    for board in range(first + warm, first + warm + count):
        claim(board)
    print(began, time.monotonic(), time.process_time() - cpu, flush=True)
    sys.stdin.readline()
"""


@dataclass(frozen=True)
class Rate:
    """What stations did together: claims *per_second*, and the CPU milliseconds per claim of *station* and *server*."""

    per_second: float
    station: float
    server: float


def measure(count: int) -> int:
    """Measure *count* claims with each number of stations; return 1 if the target is missed with the most of them."""
    ratio = 0.0
    with running_server(durable=True) as server:
        for stations in STATIONS:
            each = max(1, count // stations)
            raw = rate(server, f"raw{stations}", stations, each, raw_job)
            ours = rate(server, f"ours{stations}", stations, each, our_job)
            refuse_wrong(server.url(f"ours{stations}"), (each + _WARM) * stations)
            ratio = ours.per_second / raw.per_second
            print(
                f"{stations:2} stations: {ours.per_second:6.1f} claims per second, "
                f"psycopg alone {raw.per_second:6.1f}: {ratio:.2f} of it (target {TARGET})"
            )
            print(
                f"   CPU per claim: station {ours.station:.2f} ms, server {ours.server:.2f} ms; psycopg alone "
                f"{raw.station:.2f} ms, {raw.server:.2f} ms: the server carries {raw.server / ours.server:.2f} of it, "
                f"both {(raw.station + raw.server) / (ours.station + ours.server):.2f}",
                flush=True,
            )
    return int(ratio < TARGET)


def rate(
    server: Server, database: str, stations: int, each: int, job: Callable[[str, int, int, Path], list[str]]
) -> Rate:
    """Return what *stations* processes do, which run what *job* returns, with *each* so many claims."""
    server.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    make(server.url(database), stations * (each + _WARM))
    server.execute("ANALYZE", database)
    folder = Path(tempfile.mkdtemp(prefix="rmfab-stations-"))
    url, boards = server.url(database), each + _WARM
    try:
        processes = start([job(url, n * boards, each, folder / f"bench-{n}") for n in range(stations)], {})
        before = server.cpu_seconds()
        times = release(processes)
        busy = server.cpu_seconds() - before  # the stations are still connected: a shift ends once
        end(processes)
    finally:
        shutil.rmtree(folder)
    claims = stations * each
    seconds = max(ended for _, ended, _ in times) - min(began for began, _, _ in times)
    return Rate(claims / seconds, 1e3 * sum(cpu for _, _, cpu in times) / claims, 1e3 * busy / claims)


def raw_job(address: str, first: int, count: int, state: Path) -> list[str]:
    """Return the arguments of a station that uses psycopg alone."""
    return ["-c", _RAW, address, str(first), str(count), state.name, str(_WARM)]


def our_job(address: str, first: int, count: int, state: Path) -> list[str]:
    """Return the arguments of a station that uses rmfab."""
    return ["-m", "benchmarks.claims_on_server", address, str(first), str(count), str(state)]


def work(address: str, first: int, count: int, state: Path) -> None:
    """Claim for *count* boards, as the line of the station named as the folder *state* does."""
    state.mkdir()
    with Ledger.open(address, create=False, host=PoolHost(state, state.name)) as ledger:
        for board in range(first, first + _WARM):
            claim(ledger, board, state.name)
        print("ready", flush=True)
        sys.stdin.readline()
        began, cpu = time.monotonic(), time.process_time()
        for board in range(first + _WARM, first + _WARM + count):
            claim(ledger, board, state.name)
        print(began, time.monotonic(), time.process_time() - cpu, flush=True)
        sys.stdin.readline()


def claim(ledger: Ledger, board: int, station: str) -> None:
    """Bind an identity to board number *board*, with the steps around the claim."""
    mac = "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in board.to_bytes(3, "big"))
    ledger.claim(mac, Wish("lamp"), station=station, ts=TS, slot="A1", around=steps(mac))


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
