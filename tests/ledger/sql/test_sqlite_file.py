"""A ledger's file from elsewhere: SQL that somebody put into it does not run."""

import pytest

from rmfab.errors import IntegrityError
from rmfab.ledger.host import this_host
from rmfab.ledger.reader import LedgerReader
from rmfab.ledger.restore import restore
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.glance import glance
from rmfab.ledger.sql.revision import TABLES
from rmfab.ledger.store import Ledger
from tests.ledger.tampering import change
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
