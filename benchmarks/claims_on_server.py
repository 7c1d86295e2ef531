"""Claims of many stations on one PostgreSQL server, against psycopg alone with the two statements that a claim needs.

A station is a process with a host's record of its own. psycopg takes the lowest free identity (UPDATE of a row that a
subselect found with SKIP LOCKED) and writes one event, in one transaction; rmfab also judges the pool, looks the board
up, compares the unit with its events, and writes three events of a hash chain and the host's record. The server is
Debian's, in a temporary folder, with fsync.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.claims import TS, make, refuse_wrong, run, steps
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.host import PoolHost
from rmfab.ledger.store import Ledger
from tests.postgres import Server, running_server

STATIONS = (1, 8, 64)
TARGET = 0.5
_WARM = 8_000_000  # the number of the first board that is not counted

_RAW = """
import sys, time, psycopg
address, first, count, name = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with psycopg.connect(address, autocommit=True) as link:
    link.execute("INSERT INTO chain VALUES (%s, %s, true, 0, '')", (name, name))
    print("ready", flush=True); sys.stdin.readline()
    start = time.monotonic()
    for board in range(first, first + count):
        mac = "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in board.to_bytes(3, "big"))
        with link.transaction():
            (serial,) = link.execute(
                "UPDATE identity SET state = 'claimed', mac = %s, attempts = 1, claimed_ts = 'now' WHERE id = ("
                "SELECT id FROM identity WHERE batch_id = 1 AND state = 'generated' ORDER BY position LIMIT 1 "
                "FOR UPDATE SKIP LOCKED) RETURNING serial", (mac,)).fetchone()
            link.execute(
                "INSERT INTO event (chain, station, seq, ts, kind, serial, mac, details, prev_hash, hash) "
                "VALUES (%s, %s, %s, 'now', 'claim', %s, %s, '{}', '', '')",
                (name, name, board, serial, mac))
    print(start, time.monotonic())
"""


def measure(count: int) -> int:
    """Measure *count* claims with each number of stations; return 1 if the target is missed with the most of them."""
    ratio = 0.0
    with running_server(durable=True) as server:
        for stations in STATIONS:
            each = max(1, count // stations)
            raw = rate(server, f"raw{stations}", stations, each, raw_job)
            ours = rate(server, f"ours{stations}", stations, each, our_job)
            with_rules = server.url(f"ours{stations}")
            refuse_wrong(with_rules, (each + 1) * stations)
            ratio = ours / raw
            print(
                f"{stations:2} stations on one server".ljust(40)
                + f" {ours:7.1f} claims per second, psycopg alone {raw:7.1f}: {ratio:.2f} of it (target {TARGET})"
            )
    return int(ratio < TARGET)


def rate(server: Server, database: str, stations: int, each: int, job: object) -> float:
    """Return the claims per second of *stations* processes, which run what *job* returns."""
    server.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    make(server.url(database), stations * (each + 1))
    server.execute("ANALYZE", database)
    folder = Path(tempfile.mkdtemp(prefix="rmfab-stations-"))
    try:
        jobs = [job(server.url(database), n * each, each, folder / f"bench-{n}") for n in range(stations)]  # type: ignore[operator]
        return stations * each / max(run(jobs, {}))
    finally:
        shutil.rmtree(folder)


def raw_job(address: str, first: int, count: int, state: Path) -> list[str]:
    """Return the arguments of a station that uses psycopg alone."""
    return ["-c", _RAW, address, str(first), str(count), state.name]


def our_job(address: str, first: int, count: int, state: Path) -> list[str]:
    """Return the arguments of a station that uses rmfab."""
    return ["-m", "benchmarks.claims_on_server", address, str(first), str(count), str(state)]


def work(address: str, first: int, count: int, state: Path) -> None:
    """Claim for *count* boards, as the line of the station named as the folder *state* does."""
    state.mkdir()
    with Ledger.open(address, create=False, host=PoolHost(state, state.name)) as ledger:
        claim(ledger, _WARM + first, state.name)  # the first builds its statements: a line runs for a shift
        print("ready", flush=True)
        sys.stdin.readline()
        start = time.monotonic()
        for board in range(first, first + count):
            claim(ledger, board, state.name)
        print(start, time.monotonic())


def claim(ledger: Ledger, board: int, station: str) -> None:
    """Bind an identity to board number *board*, with the steps around the claim."""
    mac = "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in board.to_bytes(3, "big"))
    ledger.claim(mac, Wish("lamp"), station=station, ts=TS, slot="A1", around=steps(mac))


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
