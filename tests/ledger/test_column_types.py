"""A ledger's file whose columns contain values of types that no ledger has: one flipped bit makes bytes of a text."""

import json
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest

from rmfab.errors import IntegrityError, RmfabError
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.counts import count_at_once
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.host import this_host
from rmfab.ledger.reader import LedgerReader
from rmfab.ledger.sql import schema
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.tampering import change
from tests.ledger.workshop import FILE, STATION, fresh, mac, now

VALUES = ("CAST({0} AS BLOB)", "x'00FF'", "NULL", "-7.5", "'{{\"handover\": []}}'")
NULLABLE = (" NOT NULL, ", ", ")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A ledger with three identities, one of them claimed and flashed, without the constraints of its columns."""
    folder = tmp_path_factory.mktemp("sound")
    with fresh(folder, size=3) as ledger:
        ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        flash = Event(
            now(), EventKind.STEP, serial="LMP-000001", step="flash", outcome=Outcome.PASS, state=State.FLASHED
        )
        ledger.record(STATION, [flash])
    file = folder / FILE
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table'", NULLABLE)
        connection.commit()
    return file


def ask_reader(file):
    """Ask as a command does that opens no `Ledger`."""
    reader = LedgerReader.open(file, this_host())
    if reader is not None:
        try:
            reader.batch("lamp-0001")
            reader.free("lamp", None)
        finally:
            reader.close()


QUESTIONS = (
    lambda ledger: [ledger.wrapped_key(one.chunk) for one in ledger.find("LMP-000001")],
    lambda ledger: ledger.history("LMP-000001"),
    lambda ledger: [event.details for one in ledger.histories() for event in one.events],
    lambda ledger: ledger.hint_for_unknown("LMP-1"),
    lambda ledger: json.dumps([one.head.hash for one in ledger.chain_heads()]),
    lambda ledger: ledger.check(),
    lambda ledger: ledger.rebuild(),
)
"""The last one changes the ledger."""


def ask_ledger(file):
    """Ask a `Ledger` everything: what one question ends with does not keep it from the next."""
    with Ledger.open(file, create=False) as ledger:
        for ask in QUESTIONS:
            with suppress(RmfabError):
                ask(ledger)


WORKS = (lambda file: count_at_once(file, None), ask_reader, ask_ledger)


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("table", schema.metadata.tables.values(), ids=lambda table: table.name)
def test_a_value_of_the_wrong_type(sound, tmp_path, table, value):
    """Whatever is in a column, reading the ledger works or ends with an error of rmfab's, and a check ends."""
    for column in table.columns:
        file = tmp_path / f"{column.name}.db"
        shutil.copy(sound, file)
        row = f"WHERE rowid = (SELECT min(rowid) FROM {table})"
        statement = f"UPDATE {table} SET {column.name} = {value.format(column.name)} {row}"
        try:
            change(file, "PRAGMA ignore_check_constraints = ON", statement)
        except sqlite3.Error:  # the number of a row, and what is unique
            continue
        for work in WORKS:
            with suppress(RmfabError):
                work(file)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE meta SET value = CAST(value AS BLOB) WHERE name = 'ledger_id'", "entry 'ledger_id' is not a text"),
        ("UPDATE batch SET name = '../../other'", "invalid name"),
        ("UPDATE batch SET size = NULL", "invalid size"),
        ("UPDATE batch SET chunk_size = 0", "invalid size"),
        ("UPDATE batch SET policy = '[]'", "policy of a batch is no JSON object"),
        ("UPDATE batch SET policy = printf('%.*c', 100000, '[')", "policy of a batch is no JSON object"),
        ("UPDATE batch SET policy = '{origin}'", "invalid origin"),
    ],
)
def test_what_is_wrong(sound, tmp_path, statement, said):
    """The error says what is wrong: the ledger is damaged."""
    file = tmp_path / FILE
    shutil.copy(sound, file)
    origin = json.dumps({"pool": 1, "batch": "a", "handover": "b", "until": "c"})
    change(file, statement.format(origin=origin))
    with pytest.raises(IntegrityError, match=said) as caught, Ledger.open(file, create=False) as ledger:
        ledger.batches()
    assert caught.value.cause == "ledger-corrupt"
