"""The schema, its migrations and the cost of importing them."""

import sqlite3
import subprocess
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect

from rmfab.ledger.sql import migrations, schema
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, beneath, fresh


def test_migrations_make_the_metadata(tmp_path):
    """The migrations create exactly the tables, columns, indexes and constraints of schema.py."""
    fresh(tmp_path, size=1).close()
    with beneath(tmp_path) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrations_make_the_checks(tmp_path):
    """The check constraints, which Alembic does not compare, are the same too."""
    fresh(tmp_path, size=1).close()
    with beneath(tmp_path) as connection:
        seen = inspect(connection)
        for table in schema.metadata.sorted_tables:
            ours = {(c.name, str(c.sqltext)) for c in table.constraints if isinstance(c, CheckConstraint)}
            assert ours == {(c["name"], c["sqltext"]) for c in seen.get_check_constraints(table.name)}


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


def test_an_older_ledger_is_brought_up_to_date(tmp_path):
    """A ledger of the first revision is upgraded, and keeps its id and its content."""
    with fresh(tmp_path) as ledger:
        before = ledger.id, list(ledger.identities("lamp-0001"))
    with sqlite3.connect(tmp_path / FILE) as connection:
        for index in ("ix_event_release", "ix_event_flash", "ix_event_trust"):
            connection.execute(f"DROP INDEX {index}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.close()
    with Ledger.open(tmp_path / FILE, create=False) as ledger:
        assert (ledger.id, list(ledger.identities("lamp-0001"))) == before
        assert ledger.check() == ()
    with beneath(tmp_path) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == HEAD
