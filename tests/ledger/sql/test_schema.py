"""The schema, its migrations and what importing costs."""

import subprocess
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect

from rmfab.ledger import migrations, schema
from tests.ledger.workshop import fresh


def test_migrations_make_the_metadata(tmp_path):
    """A ledger that the migrations made has exactly the tables, columns, indexes and constraints of schema.py."""
    ledger = fresh(tmp_path, size=1)
    with ledger._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrations_make_the_checks(tmp_path):
    """Check constraints, which Alembic does not compare, are the same too."""
    ledger = fresh(tmp_path, size=1)
    seen = inspect(ledger._engine)
    for table in schema.metadata.sorted_tables:
        ours = {(c.name, str(c.sqltext)) for c in table.constraints if isinstance(c, CheckConstraint)}
        assert ours == {(c["name"], c["sqltext"]) for c in seen.get_check_constraints(table.name)}


def test_head_is_the_newest_script():
    """HEAD names the last migration, or every ledger would be migrated at every start."""
    assert migrations.head() == schema.HEAD
    assert migrations.knows(schema.HEAD)
    assert not migrations.knows("9999")


def test_an_up_to_date_ledger_loads_no_alembic(tmp_path):
    """Opening a ledger of the current schema does not import Alembic."""
    fresh(tmp_path, size=1).close()
    code = (
        "import sys; from pathlib import Path; from rmfab.ledger.store import Ledger;"
        f"Ledger.open(Path({str(tmp_path / 'ledger.sqlite')!r}), create=False).batches();"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
