"""Identities without cryptography, for tests of the ledger: every field is derived from the serial."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from rmfab.errors import IntegrityError, LedgerError
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.claim_terms import Claim, Wish
from rmfab.ledger.host import this_host
from rmfab.ledger.records import Batch
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.store import Ledger

FILE = "ledger.sqlite"
STATION = "bench"
UNIQUE_KEY = "ab" * 32


def now(second: int = 0) -> str:
    """Return a ledger time."""
    return f"2026-01-31T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000Z"


def mac(number: int) -> str:
    """Return the MAC of board *number*."""
    return "24:0a:c4:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big"))


def digest(text: str) -> str:
    """Return 64 hex digits derived from *text*."""
    return hashlib.sha256(text.encode()).hexdigest()


def record(serial: str, **changes: object) -> SealedRecord:
    """Return a record with unique fields that are all derived from its serial."""
    fields: dict[str, object] = {
        "serial": serial,
        "node_id": f"node-{serial}",
        "certificate_serial": digest(f"certificate {serial}")[:40],
        "certificate": f"DER of {serial}".encode() * 8,
        "pop_tag": digest(f"pop {serial}"),
        "random_sha256": digest(f"random {serial}"),
        "service_name": f"PROV_{digest(serial)[:10]}",
        "sealed_key": b"\x01key",
        "sealed_random": b"\x00random",
        "sealed_sec2": None,
        "sealed_extra": None,
    }
    return SealedRecord(**(fields | changes))  # type: ignore[arg-type]


def order(name: str | None = "lamp-0001", size: int = 10, **changes: object) -> BatchOrder:
    """Return the order of a batch."""
    fields: dict[str, object] = {
        "name": name,
        "prefix": "lamp",
        "product": "lamp",
        "size": size,
        "policy": {"key": "ecdsa-p256"},
        "unique_key": UNIQUE_KEY,
        "serial_of": lambda n: f"LMP-{n:06d}",
        "chunk_size": 4,
    }
    return BatchOrder(**(fields | changes))  # type: ignore[arg-type]


def fill(ledger: Ledger, batch: Batch, prefix: str = "LMP-") -> None:
    """Write all missing chunks of *batch*."""
    for plan in ledger.missing_chunks(batch):
        numbers = range((batch.first_n or 1) + plan.first, (batch.first_n or 1) + plan.first + plan.count)
        records = [record(f"{prefix}{n:06d}") for n in numbers]
        assert ledger.add_chunk(batch, plan.number, f"key {plan.number}".encode(), records) == ()


def make(ledger: Ledger, name: str | None = "lamp-0001", size: int = 10, **changes: object) -> Batch:
    """Make a batch and close it."""
    batch = ledger.begin_batch(order(name, size, **changes), now())
    fill(ledger, batch)
    return ledger.close_batch(batch, STATION, now())


def fresh(place: Path | str, size: int = 10, **changes: object) -> Ledger:
    """Create a ledger with one closed batch, in the folder *place* or the database with that address."""
    ledger = Ledger.open(at(place), create=True)
    make(ledger, size=size, **changes)
    return ledger


def at(place: Path | str) -> Path | str:
    """Return the location of the ledger of *place*: in a folder, the usual file."""
    return place / FILE if isinstance(place, Path) and place.is_dir() else place


@contextmanager
def beneath(place: Path | str, name: str = FILE) -> Iterator[Connection]:
    """Open the database of a ledger, in the folder *place* or at that address, bypassing the rules."""
    location = place / name if isinstance(place, Path) and place.is_dir() else place
    database = open_database(location, create=False, patience=1, state=this_host().state)
    with database.reading() as connection:
        yield connection
    database.dispose()


def claim(ledger: Ledger, board: int) -> Claim:
    """Claim the lowest free identity for board *board*, or the one that it already has."""
    return ledger.claim(mac(board), Wish("lamp"), station=STATION, ts=now())


def cause_of(call: Callable[..., object], *arguments: object, **named: object) -> str | None:
    """Return the cause of the error that *call* raises."""
    with pytest.raises((LedgerError, IntegrityError)) as caught:
        call(*arguments, **named)
    return caught.value.cause
