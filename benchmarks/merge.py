"""The merge of a factory's return, against writing the same events with Python's sqlite3 and hashing them.

A unit here has ten events: what the line records of a board from the first look to the label. The return is a file as
`rmfab return` writes it; the merge runs in a process of its own, whose memory is measured for a tenth of the units too.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, update

from benchmarks.claims import TS, make, record
from benchmarks.flat_memory import in_process, is_flat, most_memory
from rmfab.exchange.parcel import RETURN, open_parcel
from rmfab.exchange.pending import pending_parcel
from rmfab.exchange.return_file import document_of, event_blocks, read_blocks, read_document
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.chains import append
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.handovers import Terms
from rmfab.ledger.host import PoolHost
from rmfab.ledger.receipts import Receipt, Return
from rmfab.ledger.records import BatchOrigin
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key

SECONDS = 60.0
EVENTS = 10
_UNTIL = "2099-01-01T00:00:00.000Z"
_GROUP = 500
_STEPS = ("detect", "claim", "flash", "readback", "boot", "identify", "provision")


def main(argv: list[str] | None = None) -> int:
    """Print times, ratios and memory; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=50_000, help="units in the return (50000)")
    parser.add_argument("--merge", nargs=2, type=Path, metavar=("FOLDER", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.merge:
        print(*merge(*options.merge), most_memory())
        return 0
    measured = []
    for units in (options.units // 10, options.units):
        with tempfile.TemporaryDirectory() as folder:
            size = prepare(Path(folder), units)
            seconds, cpu, memory = in_process("benchmarks.merge", "--merge", folder, Path(folder) / "return")
            floor, floor_cpu = raw(Path(folder) / "raw.db", units)
            print(
                f"{units:7} units, {size / 1e6:5.1f} MB: {seconds:5.1f} s, {cpu:5.1f} s of CPU (target {SECONDS:.0f} s "
                f"for 50000), raw {floor:5.1f} s, {floor_cpu:5.1f} s of CPU: {cpu / floor_cpu:.1f}x, {memory:.0f} MB"
            )
            measured.append((seconds, memory))
    (_, small), (seconds, large) = measured
    flat = is_flat(small, large)
    return 0 if seconds <= SECONDS * options.units / 50_000 and flat else 1


def prepare(folder: Path, units: int) -> int:
    """Make an owner's ledger that handed *units* identities over, and the return of all of them; return its size."""
    signer = make_key(SigningKeyKind.ED25519)
    (folder / "key").write_bytes(signer.key.private_bytes_raw())  # type: ignore[union-attr]
    make(folder / "owner.db", units)
    terms = Terms("factory", "f", "age1", signer.public.pem, _UNTIL)
    with Ledger.open(folder / "owner.db", create=False) as owner:
        owner.exchange.hand_over("lamp-0001", units, terms, station="bench", ts=TS, write=lambda *_: None)
        pool = owner.id
    with Ledger.open(folder / "factory.db", create=True, host=PoolHost(folder / "state", "m")) as factory:
        origin = BatchOrigin(pool, "lamp-0001", 1, _UNTIL)
        order = BatchOrder(origin.local_name, "", "lamp", units, origin.policy, "ab" * 32, None, _GROUP)
        factory.exchange.receive(order, _chunks(units), Receipt(origin, "o", {}, "{}", ts=TS), station="line")
        _work(folder, factory.id, units, origin.local_name)
        return _return(folder / "return", factory, signer)


def merge(folder: Path, file: Path) -> tuple[float, float]:
    """Merge *file*, signed by the key in *folder*; return the seconds, and those of CPU."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = KeySigner(Ed25519PrivateKey.from_private_bytes((folder / "key").read_bytes())).public
    with Ledger.open(folder / "owner.db", create=False) as owner:
        began, cpu = time.perf_counter(), time.process_time()
        with open_parcel(file, RETURN) as parcel:
            told = read_document(parcel.verify(key), parcel.envelope.payload).told
            merged = owner.exchange.merge(told, read_blocks(parcel, told.spans), station="bench", ts=TS)
        seconds = time.perf_counter() - began, time.process_time() - cpu
        if merged.units != owner.batch("lamp-0001").size:
            raise RuntimeError(f"{merged.units} units were merged")
    return seconds


def raw(path: Path, units: int) -> tuple[float, float]:
    """Return the seconds that Python's sqlite3 takes for as many events with a hash of each, and those of CPU."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, chain, seq, serial, mac, body, hash)")
    for columns in ("chain, seq", "serial, id", "mac, id"):
        connection.execute(f"CREATE INDEX ix_{columns.split(',')[0]} ON event ({columns})")
    body, digest = "x" * 300, ""
    began, cpu = time.perf_counter(), time.process_time()
    with connection:
        for unit in range(units):
            rows = []
            for event in range(EVENTS + 1):
                digest = hashlib.sha256((digest + body).encode()).hexdigest()
                rows.append(("c", unit * (EVENTS + 1) + event, f"LMP-{unit:06d}", _mac(unit), body, digest))
            connection.executemany("INSERT INTO event (chain, seq, serial, mac, body, hash) VALUES (?,?,?,?,?,?)", rows)
    seconds = time.perf_counter() - began, time.process_time() - cpu
    connection.close()
    return seconds


def _return(target: Path, factory: Ledger, signer: KeySigner) -> int:
    with pending_parcel(target, RETURN, signer, force=False) as parcel:

        def write(made: Return, rows: Iterator[Any]) -> None:
            for name, data in event_blocks(rows, made.spans):
                parcel.add(name, data)
            parcel.complete(document_of(factory.id, "line", made, factory.exchange.receipts()), "")

        factory.exchange.make_return(unused=False, station="line", ts=TS, write=write)
        parcel.publish()
    return target.stat().st_size


def _work(folder: Path, ledger_id: str, units: int, batch: str) -> None:
    """Write what a line writes of every unit, many units per transaction."""
    database = open_database(folder / "factory.db", create=False, patience=30, state=folder / "state")
    with database.writing() as connection:
        for first in range(0, units, _GROUP):
            numbers = range(first, min(first + _GROUP, units))
            append(connection, ledger_id, "line", [event for n in numbers for event in _events(n, batch)])
            _bind(connection, numbers)
    database.dispose()


def _bind(connection: Connection, numbers: range) -> None:
    table = schema.identity
    standing = {"state": State.VERIFIED.value, "attempts": 1, "claimed_ts": TS, "flashed_ts": TS, "verified_ts": TS}
    standing |= {"labelled_count": 1, "labelled_ts": TS}
    rows = [{"of_serial": _serial(number), "mac": _mac(number)} for number in numbers]
    connection.execute(
        update(table).where(table.c.serial == bindparam("of_serial")).values(mac=bindparam("mac"), **standing), rows
    )


def _events(number: int, batch: str) -> Iterator[Event]:
    unit: dict[str, Any] = {"batch": batch, "serial": _serial(number), "mac": _mac(number), "slot": "A1"}
    yield Event(TS, EventKind.CLAIM, state=State.CLAIMED, details={"again": False, "restored": False}, **unit)
    for step in _STEPS:
        state = State.FLASHED if step == "readback" else None
        details = {"baud": 921600, "chip": "ESP32-C3", "digest": f"{number:064x}"}
        yield Event(
            TS, EventKind.STEP, step=step, outcome=Outcome.PASS, state=state, seconds=1.25, details=details, **unit
        )
    yield Event(TS, EventKind.UNIT, outcome=Outcome.PASS, state=State.VERIFIED, seconds=17.5, **unit)
    yield Event(TS, EventKind.LABEL, details={"form": "pdf"}, **unit)


def _chunks(units: int) -> Iterator[tuple[bytes, list[Any]]]:
    for first in range(0, units, _GROUP):
        yield b"key", [record(number + 1) for number in range(first, min(first + _GROUP, units))]


def _serial(number: int) -> str:
    return f"LMP-{number + 1:06d}"


def _mac(number: int) -> str:
    return "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big"))


if __name__ == "__main__":
    sys.exit(main())
