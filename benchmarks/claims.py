"""Claims with their records, by 1, 4 and 16 processes on one ledger, against the fsyncs of the same disk.

A claim here is everything that a line records of a board until the first byte is written: the step detect, the claim
and its step. It is measured alone, as one transaction of the ledger, against one fsync: that of a file that grows by
one page of a database; and as a line does it, with the host's record, against two: that one, and that of a page which
is overwritten in a second file. Everything is measured twice: on the disk as it is, and with a disk that needs 5 ms
more for each fsync, as a worn SSD or a hard disk does; for that, a shared library in front of the C library's fsync and
fdatasync is compiled with `cc` and preloaded (Linux).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.claim_terms import Around, Claim, Wish
from rmfab.ledger.claims import claim, claim_event
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.host import STATE_ENVIRONMENT, this_host
from rmfab.ledger.inquiry import PATIENCE
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.store import Ledger

PROCESSES = (1, 4, 16)
TARGET = 2.0
FLAT = 0.8  # of the rate of one process
PAGE = 4096
TS = "2026-01-31T12:00:00.000Z"

_SLOW_FSYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int slow(const char *name, int fd) {
    int (*original)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    usleep(atoi(getenv("FSYNC_MICROSECONDS")));
    return original(fd);
}
int fsync(int fd) { return slow("fsync", fd); }
int fdatasync(int fd) { return slow("fdatasync", fd); }
"""


def main(argv: list[str] | None = None) -> int:
    """Print the rates and ratios; return 1 if a target is missed with slow fsyncs (or, without `cc`, on the disk)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=480, help="claims in each measurement (480)")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure (a temporary one)")
    parser.add_argument("--delay", type=int, default=5, help="milliseconds that a slow fsync takes longer (5)")
    parser.add_argument("--work", nargs=3, metavar=("LEDGER", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--postgres", action="store_true", help="stations on one PostgreSQL server, not a file")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.postgres:
        from benchmarks import claims_on_server

        return claims_on_server.measure(options.count)
    if options.work:
        work(Path(options.work[0]), int(options.work[1]), int(options.work[2]), alone=options.alone)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        os.environ[STATE_ENVIRONMENT] = str(Path(folder) / "state")  # the host's record: on the disk that is measured
        slow = slow_fsync(Path(folder), options.delay)
        met = measure(Path(folder) / "disk", options.count, {}, "this disk")
        if slow is not None:
            met = measure(Path(folder) / "slow", options.count, slow, f"{options.delay} ms more per fsync")
    return 0 if met else 1


def slow_fsync(folder: Path, milliseconds: int) -> dict[str, str] | None:
    """Return the environment in which an fsync takes *milliseconds* longer, None if it cannot be made here."""
    compiler = shutil.which("cc") if sys.platform == "linux" else None
    if compiler is None:
        print("no cc: only this disk is measured")
        return None
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(_SLOW_FSYNC)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "FSYNC_MICROSECONDS": str(1000 * milliseconds)}


def measure(folder: Path, count: int, extra: dict[str, str], label: str) -> bool:
    """Measure *count* claims of each kind with each number of processes; return whether the targets are met."""
    folder.mkdir()
    met = True
    for fsyncs, kind in ((1, "ledger alone"), (2, "ledger and record")):
        print(f"{label}, {kind}: target {TARGET}x of {'one fsync' if fsyncs == 1 else 'two fsyncs'}")
        rates, ratios = [], []
        for processes in PROCESSES:
            path = folder / f"{fsyncs}-{processes}.db"
            rate, floor = measure_one(path, count // processes, processes, fsyncs, extra)
            rates.append(rate)
            ratios.append(1 / rate / floor)
            print(
                f"  {processes:2} processes: {rate:7.1f} claims per second, {1e3 / rate:6.2f} ms each, "
                f"floor {1e3 * floor:5.2f} ms: {ratios[-1]:.2f}x",
                flush=True,
            )
        met &= max(ratios) <= TARGET and min(rates) >= FLAT * rates[0]
    return met


def measure_one(path: Path, each: int, processes: int, fsyncs: int, extra: dict[str, str]) -> tuple[float, float]:
    """Return the rate of claims, *each* by so many *processes*, and the seconds of their *fsyncs*, 1 or 2."""
    number = each + 1
    make(path, number * processes)
    syncs = [["-c", _FSYNC, str(path.with_suffix(".floor")), "100", str(fsyncs)]]
    alone = ["--alone"] if fsyncs == 1 else []
    jobs = [
        ["-m", "benchmarks.claims", *alone, "--work", str(path), str(n * number), str(number)] for n in range(processes)
    ]
    before = run(syncs, extra)[0]
    seconds = max(run(jobs, extra))
    floor = statistics.mean([before, run(syncs, extra)[0]])  # before and after: the disk has other users
    refuse_wrong(path, number * processes)
    return each * processes / seconds, floor


_FSYNC = f"""
import os, statistics, sys, time
path, count, fsyncs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
grows = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
stays = os.open(path + "-record", os.O_WRONLY | os.O_CREAT)
print("ready", flush=True); sys.stdin.readline()
times = []
for _ in range(count):
    start = time.perf_counter(); os.write(grows, bytes({PAGE})); os.fdatasync(grows)
    if fsyncs == 2:
        os.pwrite(stays, bytes({PAGE}), 0); os.fsync(stays)
    times.append(time.perf_counter() - start)
print(0.0, statistics.median(times))
"""


def run(jobs: list[list[str]], extra: dict[str, str]) -> list[float]:
    """Run *jobs* at once and return the seconds from the common start to the end of each (times of CLOCK_MONOTONIC)."""
    processes = start(jobs, extra)
    times = release(processes)
    end(processes)
    began = min(started for started, _ in times)
    return [ended - began for _, ended in times]


def start(jobs: list[list[str]], extra: dict[str, str]) -> list[subprocess.Popen[str]]:
    """Start *jobs*, and return them when each has printed `ready`."""
    processes = [
        subprocess.Popen(
            [sys.executable, *job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | extra,
            cwd=Path(__file__).parents[1],
        )
        for job in jobs
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return processes


def release(processes: Sequence[subprocess.Popen[str]], line: str = "\n") -> list[tuple[float, ...]]:
    """Let *processes* go on, which wait for a *line*; return what each prints, the times of its start and end first."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
    return [tuple(map(float, process.stdout.readline().split())) for process in processes if process.stdout is not None]


def end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until *processes* have ended; those that read once more find no line."""
    for process in processes:
        process.communicate()


def work(path: Path, first: int, count: int, *, alone: bool) -> None:
    """Claim for *count* boards, as a line does; *alone*: only the transaction, without the host's record.

    The first claim of a process, in which SQLAlchemy compiles the statements, is not measured.
    """
    with Ledger.open(path, create=False) as ledger:
        database = open_database(path, create=False, patience=PATIENCE, state=this_host().state)

        def bind(board: int) -> None:
            mac = "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in board.to_bytes(3, "big"))
            wish, around = Wish("lamp"), steps(mac)
            if alone:
                event = claim_event(mac, "A1", TS)
                database.commit(lambda connection: claim(connection, ledger.id, wish, event, "bench", None, around))
            else:
                ledger.claim(mac, wish, station="bench", ts=TS, slot="A1", around=around)

        bind(first)
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        for board in range(first + 1, first + count):
            bind(board)
        print(began, time.monotonic())
        database.dispose()


def steps(mac: str) -> Around:
    """Return the steps around the claim of *mac*."""

    def claimed(made: Claim) -> Event:
        return step("claim", mac, {"again": made.again, "restored": made.restored, "batch": made.identity.batch})

    return Around((step("detect", mac, {"baud": 921600, "chip": "ESP32-C3", "mac": mac, "revision": "v0.4"}),), claimed)


def step(name: str, mac: str, details: dict[str, object]) -> Event:
    """Return the event of a step that passed."""
    return Event(TS, EventKind.STEP, mac=mac, slot="A1", step=name, outcome=Outcome.PASS, seconds=1.0, details=details)


def make(path: Path | str, count: int) -> None:
    """Make a ledger with a batch of *count* identities, without cryptography."""
    order = BatchOrder(
        name="lamp-0001",
        prefix="lamp",
        product="lamp",
        size=count,
        policy={},
        unique_key="ab" * 32,
        serial_of=lambda n: f"LMP-{n:06d}",
    )
    with Ledger.open(path, create=True) as ledger:
        batch = ledger.begin_batch(order, TS)
        for plan in ledger.missing_chunks(batch):
            numbers = range(plan.first + 1, plan.first + 1 + plan.count)
            ledger.add_chunk(batch, plan.number, b"key", [record(number) for number in numbers])
        ledger.close_batch(batch, "bench", TS)


def record(number: int) -> SealedRecord:
    """Return a record of the usual size."""
    return SealedRecord(
        serial=f"LMP-{number:06d}",
        node_id=f"node{number:018d}",
        certificate_serial=f"{number:040x}",
        certificate=bytes(500),
        pop_tag=f"{number:064x}",
        random_sha256=f"{number:064x}",
        service_name=f"PROV_{number:06x}",
        sealed_key=bytes(160),
        sealed_random=bytes(80),
        sealed_sec2=bytes(400),
        sealed_extra=None,
    )


def refuse_wrong(path: Path | str, count: int) -> None:
    """Raise RuntimeError unless *count* identities are bound and the ledger is sound."""
    with Ledger.open(path, create=False) as ledger:
        bound = len({identity.mac for identity in ledger.identities("lamp-0001") if identity.mac})
        findings = ledger.check()
    if bound != count or findings:
        raise RuntimeError(f"{bound} of {count} identities are bound: {findings}")


if __name__ == "__main__":
    sys.exit(main())
