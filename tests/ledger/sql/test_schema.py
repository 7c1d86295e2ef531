"""The schema, its migrations and the cost of importing them."""

import hashlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, select, update
from sqlalchemy.exc import IntegrityError

from rmfab.errors import InputError
from rmfab.ledger.host import PoolHost
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.sql import migrations, schema
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.store import Ledger
from tests.ledger.sql.describing import described
from tests.ledger.test_late_serials import claim as claim_late
from tests.ledger.test_late_serials import late
from tests.ledger.workshop import FILE, STATION, beneath, cause_of, claim, fresh, now


def test_a_new_ledger_has_the_schema_that_all_migrations_make(tmp_path):
    """Created at once or migrated from the first revision, a ledger has the same tables, indexes and constraints."""
    fresh(tmp_path, size=1).close()
    with beneath(tmp_path) as connection, migrated(tmp_path / "migrated") as other:
        assert described(connection) == described(other)
        for one in (connection, other):
            context = MigrationContext.configure(one, opts={"compare_type": True})
            assert compare_metadata(context, schema.metadata) == []
            assert context.get_current_revision() == HEAD


@contextmanager
def migrated(path):
    """Create a database by running every migration; yield a connection to it."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrations.upgrade(connection, HEAD)
        yield connection
    engine.dispose()


def test_head_is_the_newest_script(tmp_path):
    """HEAD is the last migration; otherwise every ledger would be migrated at every start."""
    fresh(tmp_path, size=1).close()
    with beneath(tmp_path) as connection:
        assert MigrationContext.configure(connection).get_current_revision() == HEAD
    assert migrations.knows(HEAD)
    assert not migrations.knows("9999")


def test_an_up_to_date_ledger_loads_no_alembic(tmp_path):
    """Opening a ledger with the current schema does not import Alembic."""
    fresh(tmp_path, size=1).close()
    code = (
        "import sys; from pathlib import Path; from rmfab.ledger.store import Ledger;"
        f"Ledger.open(Path({str(tmp_path / FILE)!r}), create=False).batches();"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("revision", ["0001", "0003"])
def test_an_older_ledger_is_brought_up_to_date(tmp_path, revision):
    """A ledger of an earlier revision keeps its id, its content, and the numbers and hashes of its events."""
    with fresh(tmp_path) as ledger:
        claim(ledger, 1)
        ledger.void("LMP-000005", reason="lost", station="other", ts=now())
    hashes = as_before_0004(tmp_path / FILE, tmp_path / "old", revision)
    assert len(hashes) == 3
    host = PoolHost(tmp_path / "state", "m")
    with (
        Ledger.open(tmp_path / "old", create=False, host=host) as old,
        Ledger.open(tmp_path / FILE, create=False) as new,
    ):
        assert old.id == new.id
        assert list(old.identities("lamp-0001")) == list(new.identities("lamp-0001"))
        assert old.check() == ()
        assert old.pool_standing().unclaimed
    with beneath(tmp_path, "old") as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == HEAD
        assert {row.hash for row in connection.execute(select(schema.event))} == hashes
        assert inspect(connection).get_table_names().count("station") == 0


def test_an_older_ledger_gives_nothing_before_someone_says_that_it_is_the_only_copy(tmp_path):
    """Its first claim is refused; its steps are recorded; as the only copy it goes on in the same chains."""
    with fresh(tmp_path) as ledger:
        claim(ledger, 1)
    as_before_0004(tmp_path / FILE, tmp_path / "old", "0003")
    with Ledger.open(tmp_path / "old", create=False, host=PoolHost(tmp_path / "state", "m")) as old:
        assert cause_of(claim, old, 2) == "not-pool-holder"
        old.labelled(["LMP-000001"], station=STATION, ts=now())
        old.adopt(AdoptionReason.ONLY_COPY, station=STATION, ts=now())
        assert claim(old, 2).identity.serial == "LMP-000002"
        assert old.check() == ()
    with beneath(tmp_path, "old") as connection:
        assert len(connection.execute(select(schema.chain)).all()) == 1


def test_only_one_copy_of_an_older_ledger_is_the_only_copy(tmp_path):
    """Once one copy was adopted on a host, a second one is refused there, and not asked for."""
    with fresh(tmp_path) as ledger:
        claim(ledger, 1)
    host = PoolHost(tmp_path / "state", "m")
    for name in ("one", "two"):
        as_before_0004(tmp_path / FILE, tmp_path / name, "0003")
    with Ledger.open(tmp_path / "one", create=False, host=host) as one:
        one.adopt(AdoptionReason.ONLY_COPY, station=STATION, ts=now())
    with Ledger.open(tmp_path / "two", create=False, host=host) as two:
        assert cause_of(claim, two, 2) == "not-pool-holder"
        assert not two.pool_standing().unclaimed


def test_late_serials_outlive_the_migration_to_handovers(tmp_path):
    """A ledger of revision 0005 keeps the serials that came with boards, and still gives each to one live unit only."""
    with Ledger.open(tmp_path / FILE, create=True) as ledger:
        late(ledger)
        claim_late(ledger, 1, "LMP-a")
        ledger.void("LMP-a", reason="dead", station=STATION, ts=now())
        claim_late(ledger, 1, "LMP-a")
        claim_late(ledger, 2, "LMP-b")
        identities = list(ledger.identities("lamp-0001"))
    with older(tmp_path / FILE, tmp_path / "old", "0005", ("meta", "batch", "chunk", "identity", "chain", "event")):
        pass
    with Ledger.open(tmp_path / "old", create=False) as old:
        assert list(old.identities("lamp-0001")) == identities
        assert old.identity_by_serial("LMP-a").name == "lamp-0001#2"
        assert (old.check(), old.rebuild()) == ((), 0)
        with pytest.raises(InputError, match="serial LMP-b belongs to a different unit"):
            claim_late(old, 3, "LMP-b")
    with beneath(tmp_path, "old") as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        take = update(schema.identity).where(schema.identity.c.serial == "lamp-0001#4").values(given_serial="LMP-b")
        with pytest.raises(IntegrityError, match="given_serial"):
            connection.execute(take)


@contextmanager
def older(source, target, revision, tables):
    """Write the *tables* of the ledger *source* to *target* with the schema of *revision*; yield a connection to it."""
    engine = create_engine(f"sqlite:///{target}")
    with engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(target)) as old, old:
        old.row_factory = sqlite3.Row
        old.execute("ATTACH ? AS new", (str(source),))
        for table in tables:
            columns = ", ".join(row["name"] for row in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        yield old


def as_before_0004(source, target, revision):
    """Write the ledger *source* to *target* as versions before schema 0004 did; return the hashes of its events."""
    with older(source, target, revision, ("meta", "batch", "chunk", "identity")) as old:
        old.execute("DELETE FROM main.meta WHERE name = 'holder'")
        ledger = old.execute("SELECT value FROM main.meta WHERE name = 'ledger_id'").fetchone()[0]
        heads = {}
        for row in old.execute("SELECT * FROM new.event ORDER BY id").fetchall():
            station = row["station"]
            first = (0, hashlib.sha256(f"rmfab ledger {ledger} station {station}".encode()).hexdigest())
            seq, prev = heads.setdefault(station, first)
            if seq == 0:
                old.execute("INSERT INTO main.station VALUES (?, 0, '')", (station,))
            columns = {name: row[name] for name in dict(row) if name != "chain"}
            columns |= {"seq": seq + 1, "prev_hash": prev}
            covered = {name: columns[name] for name in columns if name not in ("id", "prev_hash", "hash")}
            text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
            columns["hash"] = hashlib.sha256((prev + text).encode()).hexdigest()
            heads[station] = (seq + 1, columns["hash"])
            marks = ", ".join("?" * len(columns))
            old.execute(f"INSERT INTO main.event ({', '.join(columns)}) VALUES ({marks})", list(columns.values()))
        for station, (seq, last) in heads.items():
            old.execute("UPDATE main.station SET last_seq = ?, last_hash = ? WHERE name = ?", (seq, last, station))
        return {row[0] for row in old.execute("SELECT hash FROM main.event")}
