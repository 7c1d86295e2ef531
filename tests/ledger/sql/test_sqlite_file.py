"""A ledger's file from elsewhere: SQL that somebody put into it does not run."""

import os
import struct
from pathlib import Path

import pytest

from rmfab.errors import IntegrityError
from rmfab.ledger.host import this_host
from rmfab.ledger.reader import LedgerReader
from rmfab.ledger.restore import restore
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.glance import glance
from rmfab.ledger.sql.revision import TABLES
from rmfab.ledger.sql.sqlite_file import is_ledger
from rmfab.ledger.store import Ledger
from tests.ledger.tampering import PAGE, change
from tests.ledger.workshop import FILE, fresh

FOREIGN = {
    "trigger": ("CREATE TRIGGER other AFTER INSERT ON event BEGIN UPDATE identity SET state = 'void'; END",),
    "trigger on a batch": ("CREATE TRIGGER other BEFORE UPDATE ON batch BEGIN DELETE FROM event; END",),
    "view": ("ALTER TABLE meta RENAME TO other", "CREATE VIEW meta AS SELECT * FROM other"),
    "view of batches": ("ALTER TABLE batch RENAME TO other", "CREATE VIEW batch AS SELECT a.* FROM other a, other b"),
    "virtual table": ("ALTER TABLE chain RENAME TO other", "CREATE VIRTUAL TABLE chain USING rtree(id, a, b)"),
}


@pytest.fixture
def file(tmp_path):
    """The file of a ledger with three identities."""
    fresh(tmp_path, size=3).close()
    return tmp_path / FILE


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_sql_of_a_file(file, tmp_path, statements):
    """A file whose own SQL would run with rmfab's is a damaged ledger, whoever opens it; it is not put in place."""
    change(file, "PRAGMA legacy_alter_table = ON", *statements)
    with pytest.raises(IntegrityError, match=r"contains the (trigger|view|virtual table) '\w+'") as caught:
        Ledger.open(file, create=False)
    assert caught.value.cause == "ledger-corrupt"
    assert caught.value.where == str(file)
    assert LedgerReader.open(file, this_host()) is None
    assert glance(file, "SELECT 1", {}) is None
    target = tmp_path / "restored.db"
    with pytest.raises(IntegrityError, match="contains the"):
        restore(file, target)
    assert not target.exists()


def test_a_view_beside_the_tables(file):
    """A view of somebody's own is not asked, and does not matter."""
    change(file, "CREATE VIEW mine AS SELECT serial FROM identity")
    with Ledger.open(file, create=False) as ledger:
        assert list(ledger.check(1)) == []


def test_the_tables_of_a_ledger():
    """Every table that rmfab asks is one that must be a table."""
    assert set(schema.metadata.tables) | {"alembic_version"} == TABLES


def test_a_huge_value(file):
    """A value that no ledger contains is not read: the ledger is damaged."""
    change(file, "UPDATE meta SET value = printf('%.*c', 70000000, 'a') WHERE name = 'ledger_id'")
    with pytest.raises(IntegrityError) as caught:
        Ledger.open(file, create=False)
    assert caught.value.cause == "ledger-corrupt"


def test_sql_in_a_file_cannot_call_everything(file):
    """SQL of the file that is left, such as that of an index, calls no function that reaches beyond the database."""
    with Ledger.open(file, create=False) as ledger, ledger._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA trusted_schema").scalar() == 0


def names_in_journal(file, victim):
    """Write a hot rollback journal of *file* that names *victim* as the journal of several databases."""
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">IIIII", 0, 7, file.stat().st_size // PAGE, 512, PAGE)
    name = str(victim).encode()
    place = struct.pack(">I", (1 << 30) // PAGE + 1)
    end = place + name + struct.pack(">II", len(name), sum(name)) + magic
    Path(f"{file}-journal").write_bytes(head.ljust(512, b"\0") + end)


@pytest.mark.parametrize("through", ["a file", "a link"])
def test_a_journal_that_names_a_file(file, tmp_path, through):
    """A journal that makes SQLite delete a file of somebody else is refused before SQLite sees it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    names_in_journal(file, victim)
    shown = file
    if through == "a link":
        shown = tmp_path / "link.db"
        shown.symlink_to(file)
    assert not is_ledger(shown)
    assert LedgerReader.open(shown, this_host()) is None
    with pytest.raises(IntegrityError, match="names a file of somebody else") as caught:
        Ledger.open(shown, create=False)
    assert caught.value.cause == "ledger-corrupt"
    with pytest.raises(IntegrityError, match="names a file of somebody else"):
        restore(shown, tmp_path / "restored.db")
    assert victim.read_text() == "precious"


def test_a_journal_of_the_ledger_that_is_replaced(file, tmp_path):
    """What is restored does not get the journal of the ledger that was there: that goes with it."""
    victim, backup = tmp_path / "victim", tmp_path / "backup.db"
    victim.write_text("precious")
    with Ledger.open(file, create=False) as ledger:
        ledger.backup(backup)
    names_in_journal(file, victim)
    kept = restore(backup, file)
    assert victim.read_text() == "precious"
    assert Path(f"{kept}-journal").exists()
    with Ledger.open(file, create=False) as ledger:
        assert ledger.check() == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_a_pipe_in_place_of_a_journal(file):
    """A pipe with the name of the journal does not make a command wait for ever."""
    os.mkfifo(f"{file}-journal")
    with pytest.raises(IntegrityError, match="journal is not a file"):
        Ledger.open(file, create=False)
