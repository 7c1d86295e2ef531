"""A ledger in a file: how it is stored, and every way in which it can be unavailable."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Pool, event
from sqlalchemy import event as sqlalchemy_event

from rmfab.errors import IntegrityError, LedgerError
from rmfab.ledger.sql import sqlite_errors
from rmfab.ledger.sql.sqlite import SqliteDatabase
from rmfab.ledger.sql.statement import Statement
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, STATION, beneath, cause_of, claim, fill, fresh, make, now, order

POSIX = os.name == "posix"


def test_only_the_owner_reads_it(tmp_path):
    """The file and SQLite's files next to it have mode 0600, whatever the umask."""
    old = os.umask(0)
    try:
        with fresh(tmp_path):
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert set(modes) == {"ledger.sqlite", *(f"ledger.sqlite-{end}" for end in ("wal", "shm", "queue"))}
    assert not POSIX or set(modes.values()) == {0o600}


def test_commits_are_durable(tmp_path):
    """Every connection uses WAL, synchronous=FULL (2) and foreign keys."""
    fresh(tmp_path).close()
    with beneath(tmp_path) as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_copy_without_wal_gets_it_again(tmp_path):
    """A ledger that lost WAL in a different tool gets it again when it is opened."""
    with fresh(tmp_path), sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy"),))
    connection.close()
    with Ledger.open(tmp_path / "copy", create=False), beneath(tmp_path, "copy") as opened:
        assert opened.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_no_ledger_where_none_is(tmp_path):
    """A ledger is created only on request, and an empty file is not a ledger."""
    assert cause_of(Ledger.open, tmp_path / "l", create=False) == "ledger-missing"
    assert not (tmp_path / "l").exists()
    (tmp_path / "empty").touch()
    assert cause_of(Ledger.open, tmp_path / "empty", create=False) == "ledger-missing"
    assert cause_of(Ledger.open, tmp_path / "no" / "l", create=True) == "ledger-missing"
    with Ledger.open(tmp_path / "empty", create=True) as ledger:
        assert ledger.batches() == ()


def test_odd_paths_are_paths(tmp_path):
    """Special characters in the folder's name are handled as part of the path."""
    folder = tmp_path / "a ?b#c%20ü&mode=ro"
    folder.mkdir()
    with fresh(folder) as ledger:
        claim(ledger, 1)
    assert (folder / FILE).exists()


def test_other_files_are_no_ledgers(tmp_path):
    """A different program's database, and a file that is not a database, are refused."""
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE photos (id)")
    connection.close()
    (tmp_path / "text").write_bytes(b"not a database, but long enough to have a header of some kind" * 100)
    assert cause_of(Ledger.open, tmp_path / "other", create=True) == "ledger-foreign"
    assert cause_of(Ledger.open, tmp_path / "text", create=True) == "ledger-corrupt"


def test_a_newer_ledger_is_not_touched(tmp_path):
    """An unknown schema revision is refused before anything is written."""
    fresh(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(LedgerError, match="newer rmfab") as caught:
        Ledger.open(tmp_path / FILE, create=True)
    assert caught.value.cause == "ledger-newer"


def test_a_locked_ledger(tmp_path):
    """While a different program holds the lock, writing fails after the given patience; reading still works."""
    fresh(tmp_path).close()
    with Ledger.open(tmp_path / FILE, create=False, patience=0.2) as ledger:
        holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert cause_of(claim, ledger, 1) == "ledger-locked"
        assert ledger.free("lamp") == 10
        holder.execute("ROLLBACK")
        holder.close()
        assert claim(ledger, 1).identity.serial == "LMP-000001"


_KILLED_CREATION = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from rmfab.ledger.sql import sqlite
from rmfab.ledger.store import Ledger
step, wrapped = {step!r}, getattr(sqlite, {step!r})
def dies(*arguments, **options):
    if {after}:
        wrapped(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(sqlite, step, dies)
Ledger.open(Path({path!r}), create=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not POSIX, reason="kill -9")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["_make_engine", "_use_wal", "needs_upgrade", "upgrade_schema"])
def test_a_creation_that_is_killed_leaves_no_ledger(tmp_path, step, after):
    """kill -9 at any step of the creation leaves no ledger; the next creation succeeds and removes the leftovers."""
    path = tmp_path / FILE
    code = _KILLED_CREATION.format(root=str(Path(__file__).parents[3]), path=str(path), step=step, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not path.exists()
    assert cause_of(Ledger.open, path, create=False) == "ledger-missing"
    with Ledger.open(path, create=True) as ledger:
        assert ledger.batches() == ()
        assert {file.name for file in tmp_path.iterdir()} == {FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-queue"}


def test_an_empty_ledger_is_completed(tmp_path):
    """A file without tables, as an interrupted creation of older versions left it, becomes a ledger on request."""
    for name, wal in (("empty", False), ("wal", True)):
        path = tmp_path / name
        path.touch()
        if wal:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
            assert path.stat().st_size == 4096
        assert cause_of(Ledger.open, path, create=False) == "ledger-missing"
        with Ledger.open(path, create=True) as ledger:
            assert make(ledger, size=4).closed
            assert ledger.check() == ()


def test_creations_at_once_make_one_ledger(tmp_path):
    """Several threads that create the same ledger all open the same one."""
    found = []

    def create():
        with Ledger.open(tmp_path / FILE, create=True) as ledger:
            found.append(ledger.id)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (6, 1)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not POSIX, reason="needs POSIX resource limits")
def test_a_creation_on_a_full_disk(tmp_path):
    """If the disk is full, no ledger and no temporary file appear, and the error names the ledger's path."""
    code = f"""
import resource, sys
from pathlib import Path
from rmfab.errors import LedgerError
from rmfab.ledger.store import Ledger
from rmfab.ledger.sql import migrations
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    Ledger.open(Path({str(tmp_path / FILE)!r}), create=True)
except LedgerError as error:
    print(error.cause, error.where)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cause, where = done.stdout.split()
    assert cause in ("ledger-io", "ledger-full")
    assert where == str(tmp_path / FILE)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_waited_for(tmp_path):
    """A lock that is released in time is not an error."""
    with fresh(tmp_path) as ledger:
        holder = sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, holder.rollback).start()
        assert claim(ledger, 1).identity.serial == "LMP-000001"
        holder.close()


def test_a_full_disk_writes_nothing(tmp_path):
    """If the disk is full, the transaction is rolled back and the ledger stays sound; free space is all it needs."""
    fresh(tmp_path).close()

    def shrink(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 2}")

    sqlalchemy_event.listen(Pool, "connect", shrink)
    try:
        with Ledger.open(tmp_path / FILE, create=False) as ledger:
            batch = ledger.begin_batch(order("second", size=400, chunk_size=400), now())
            with pytest.raises(LedgerError) as caught:
                fill(ledger, batch)
            assert caught.value.cause == "ledger-full"
            assert ledger.check() == ()
            assert len(list(ledger.chunks("lamp-0001"))) == 3
            assert claim(ledger, 1).identity.serial == "LMP-000001"
    finally:
        sqlalchemy_event.remove(Pool, "connect", shrink)
    with Ledger.open(tmp_path / FILE, create=False) as ledger:
        assert make(ledger, "second", size=400, chunk_size=400).closed
        assert ledger.check() == ()


_UNTIL_FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from rmfab.errors import LedgerError
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import claim
ledger = Ledger.open(Path({path!r}), create=False)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
for board in range(400):
    try:
        print(claim(ledger, board).identity.serial, flush=True)
    except LedgerError as error:
        print(error.cause, flush=True)
        break
"""


@pytest.mark.skipif(not POSIX, reason="needs POSIX resource limits")
def test_a_disk_that_takes_no_more_loses_nothing(tmp_path):
    """If the system refuses a write midway, exactly the claims that were returned are in the ledger."""
    fresh(tmp_path, size=400).close()
    path = tmp_path / FILE
    code = _UNTIL_FULL.format(root=str(Path(__file__).parents[3]), path=str(path), limit=path.stat().st_size + 4096)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *given, cause = done.stdout.split()
    assert cause in ("ledger-io", "ledger-full"), done.stderr
    assert given
    with Ledger.open(path, create=False) as ledger:
        assert [identity.serial for identity in ledger.identities("lamp-0001") if identity.mac] == given
        assert ledger.check() == ()


@pytest.mark.skipif(not POSIX, reason="Windows does not delete open files")
@pytest.mark.parametrize("how", ["deleted", "replaced", "replaced by its own backup"])
def test_a_ledger_that_goes_under_a_running_line(tmp_path, how):
    """No claim or verdict is returned from a file that is no longer at the ledger's path; the old file has none."""
    with fresh(tmp_path, size=8) as ledger:
        claim(ledger, 1)
        path = tmp_path / FILE
        ledger.backup(tmp_path / "backup")
        if how == "deleted":
            path.unlink()
        elif how == "replaced":
            (tmp_path / "other").mkdir()
            fresh(tmp_path / "other", size=8).close()
            (tmp_path / "other" / FILE).replace(path)
        else:
            (tmp_path / "backup").replace(path)
        assert cause_of(claim, ledger, 2) == "ledger-replaced"
        with pytest.raises(IntegrityError):
            ledger.record("bench", [])
        assert len([one for one in ledger.identities("lamp-0001") if one.mac]) == 1


_READ_ONLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from rmfab.errors import LedgerError
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import claim, fresh
with fresh(Path({warm!r})) as ledger:  # import all that a claim needs while it is still readable
    claim(ledger, 1)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    ledger = Ledger.open(Path({path!r}), create=False)
    print(ledger.free("lamp"))
    claim(ledger, 1)
except LedgerError as error:
    print(error.cause)
"""


@pytest.mark.skipif(not POSIX, reason="needs POSIX file modes")
@pytest.mark.parametrize("folder_mode", [0o777, 0o555])
def test_a_read_only_ledger(tmp_path, folder_mode):
    """A read-only ledger can be read, also in a read-only folder, and is reported at the first write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fresh(folder).close()
        (folder / FILE).chmod(0o444)
        folder.chmod(folder_mode)
        code = _READ_ONLY.format(root=str(Path(__file__).parents[3]), path=str(folder / FILE), warm=str(tmp_path))
        done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
        folder.chmod(0o700)
    assert done.stdout.split() == ["10", "ledger-read-only"], done.stderr


def test_the_database_has_one_clock(tmp_path):
    """The database returns the time in UTC, to the millisecond, from the clock of the host with the file."""
    fresh(tmp_path).close()
    database = SqliteDatabase.open(tmp_path / FILE, create=False, patience=1)
    earliest = datetime.now(UTC)
    with database.reading() as connection:
        told = database.now(connection)
    database.dispose()
    assert earliest - timedelta(milliseconds=1) <= told <= datetime.now(UTC)


def test_dangling_references_are_damage(tmp_path):
    """A row that refers to a missing row is found by the engine and named."""
    with fresh(tmp_path) as ledger:
        with sqlite3.connect(tmp_path / FILE) as connection:
            connection.execute("DELETE FROM chunk WHERE number = 2")
        connection.close()
        found = {(finding.where, finding.what) for finding in ledger.check() if finding.kind == "database"}
    assert found == {(f"table identity, row {row}", "refers to a missing row in table chunk") for row in (9, 10)}


def test_an_interrupt_in_a_statement_stays_one(tmp_path, monkeypatch):
    """^C while a statement runs, by SQLAlchemy or the driver, ends its transaction as an interrupt."""
    ledger = fresh(tmp_path)
    database = ledger._database

    def interrupt(_cursor, statement, _parameters, _context):
        if statement.startswith("UPDATE chunk"):
            raise KeyboardInterrupt

    event.listen(database._engine, "do_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ledger.rewrap({1: b"other"}, recipients=(), station=STATION, ts=now())
    event.remove(database._engine, "do_execute", interrupt)
    asked = Statement._question

    def interrupted(self, dialect, values):
        if "prev_hash_0" in values:
            raise KeyboardInterrupt
        return asked(self, dialect, values)

    with monkeypatch.context() as patched:
        patched.setattr(Statement, "_question", interrupted)
        with pytest.raises(KeyboardInterrupt):
            claim(ledger, 1)
    assert claim(ledger, 1).identity.serial == "LMP-000001"
    assert ledger.check() == ()
    ledger.close()


def test_names_of_result_codes():
    """Each result code that has a cause is one that SQLite has."""
    assert [prefix for prefix, *_ in sqlite_errors._CAUSES if not hasattr(sqlite3, prefix)] == []
