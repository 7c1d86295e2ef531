"""The interface to the database, and that nothing bypasses it."""

import re
import subprocess
import sys
from pathlib import Path

import rmfab.ledger

ROOM = Path(rmfab.ledger.__file__).parent
ENGINE = re.compile(r"sqlite3|sqlite_|psycopg|PRAGMA|BEGIN|\.dialect\b|create_engine")


def test_no_rule_names_an_engine():
    """No module above `ledger/sql/` uses an engine's own SQL, creates an engine, or checks which engine is in use."""
    named = {
        (path.name, line.strip())
        for path in ROOM.glob("*.py")
        for line in path.read_text().splitlines()
        if ENGINE.search(line)
    }
    assert named == set()


def test_values_need_no_database():
    """The values that other rooms use can be imported without SQLAlchemy."""
    code = (
        "import sys, rmfab.ledger.records, rmfab.ledger.standing, rmfab.ledger.events;"
        "print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
