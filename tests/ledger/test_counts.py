"""Counting the units of a ledger that is not opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.counts import count_at_once
from tests.ledger.tampering import change
from tests.ledger.workshop import FILE, STATION, fresh, mac, make, now


def test_a_glance_counts_the_same(tmp_path):
    """A glance and the ledger count the same, while a different process writes."""
    with fresh(tmp_path, size=10) as ledger:
        make(ledger, "second", size=3)
        ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        ledger.labelled(["LMP-000001"], station=STATION, ts=now(1))
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert count_at_once(tmp_path / FILE, None) == ledger.counts()
            assert count_at_once(tmp_path / FILE, "second") == ledger.counts("second")
        assert [count.labelled for count in ledger.counts()] == [1, 0]


def test_an_empty_batch_has_zeros(tmp_path):
    """A batch that has no identities yet is counted too, and a ledger without batches has no counts."""
    with fresh(tmp_path, size=1) as ledger:
        change(tmp_path / FILE, "DELETE FROM identity")
        (count,) = ledger.counts()
        assert (count.batch.size, set(count.states.values()), count.labelled) == (1, {0}, 0)
        assert count_at_once(tmp_path / FILE, None) == (count,)
        change(tmp_path / FILE, "DELETE FROM chunk", "DELETE FROM batch")
        assert count_at_once(tmp_path / FILE, None) == ledger.counts() == ()


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE alembic_version SET version_num = '0001'",),
        ("UPDATE alembic_version SET version_num = '9999'",),
        ("DELETE FROM alembic_version",),
        ("DROP TABLE alembic_version",),
        ("DROP TABLE identity",),
    ],
)
def test_another_schema_is_not_for_a_glance(tmp_path, statements):
    """A ledger of a different version is left to what upgrades it, or says that it cannot."""
    fresh(tmp_path, size=1).close()
    change(tmp_path / FILE, *statements)
    assert count_at_once(tmp_path / FILE, None) is None


def test_what_is_not_a_ledger_is_not_for_a_glance(tmp_path):
    """A missing, empty or foreign file, a folder, a URL and an unknown batch are left to what explains them."""
    fresh(tmp_path, size=1).close()
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not a database, but long enough to have a header" * 10)
    for location in ("missing", "empty", "text", "."):
        assert count_at_once(tmp_path / location, None) is None, location
    assert not (tmp_path / "missing").exists()
    assert count_at_once("postgresql://host/db", None) is None
    assert count_at_once(tmp_path / FILE, "LMP-000001") is None
