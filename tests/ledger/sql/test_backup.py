"""Backups: complete, consistent, private, and without overwriting files."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rmfab.errors import InputError, LedgerError
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, STATION, fresh, mac, now
from tests.patience import PATIENCE


def test_a_backup_is_a_ledger(tmp_path):
    """The copy is complete and can be used as a ledger, in WAL mode and readable only by its owner."""
    with fresh(tmp_path) as ledger:
        ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        ledger.backup(tmp_path / "copy")
        there = list(ledger.identities("lamp-0001"))
    assert os.name != "posix" or (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    with Ledger.open(tmp_path / "copy", create=False) as copy:
        assert copy.id == ledger.id
        assert list(copy.identities("lamp-0001")) == there
        assert copy.check() == ()
        copy.adopt(AdoptionReason.LOSS, station=STATION, ts=now())
        assert copy.claim(mac(1), Wish("lamp"), station=STATION, ts=now()).again
    with sqlite3.connect(tmp_path / "copy") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_backup_while_stations_work(tmp_path):
    """Stations can claim while the copy is made; the copy is one consistent snapshot."""
    with fresh(tmp_path, size=400) as ledger:
        started, enough = threading.Event(), threading.Event()

        def work():
            for board in range(400):
                ledger.claim(mac(board), Wish("lamp"), station=STATION, ts=now())
                if board == 20:
                    started.set()
                if enough.is_set() and board > 60:
                    return

        worker = threading.Thread(target=work)
        worker.start()
        started.wait(PATIENCE)
        for number in range(3):
            ledger.backup(tmp_path / f"copy{number}")
        enough.set()
        worker.join()
        for number in range(3):
            with Ledger.open(tmp_path / f"copy{number}", create=False) as copy:
                assert copy.check() == ()
                claimed = [identity for identity in copy.identities("lamp-0001") if identity.mac]
                assert len(claimed) >= 20
                assert [identity.position for identity in claimed] == list(range(len(claimed)))


def test_a_backup_replaces_nothing(tmp_path):
    """An existing file is not overwritten."""
    with fresh(tmp_path) as ledger:
        target = tmp_path / "copy"
        target.write_bytes(b"precious")
        with pytest.raises(InputError) as caught:
            ledger.backup(target)
        assert caught.value.cause == "exists"
        assert target.read_bytes() == b"precious"


def test_a_backup_that_fails_leaves_nothing(tmp_path):
    """If the copy cannot be written, there is an error and no file."""
    with fresh(tmp_path) as ledger:
        before = sorted(tmp_path.iterdir())
        with pytest.raises((InputError, LedgerError)):
            ledger.backup(tmp_path / "no such folder" / "copy")
        assert sorted(tmp_path.iterdir()) == before


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from rmfab.ledger.sql import sqlite
from rmfab.ledger.store import Ledger
copied = sqlite._copy
def dies(engine, copy):
    copied(engine, copy)
    os.kill(os.getpid(), signal.SIGKILL)
sqlite._copy = dies
Ledger.open(Path(sys.argv[2]), create=False).backup(Path(sys.argv[3]))
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_killed_backup_leaves_nothing_for_long(tmp_path):
    """kill -9 during a backup leaves no partial backup; the next one in the folder removes what it left."""
    fresh(tmp_path).close()
    backups = tmp_path / "backups"
    backups.mkdir()
    arguments = [Path(__file__).parents[3], tmp_path / FILE, backups / "monday.db"]
    done = subprocess.run([sys.executable, "-c", _KILLED, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = backups.iterdir()
    assert left.name.startswith(".monday.db.")
    with Ledger.open(tmp_path / FILE, create=False) as ledger:
        ledger.backup(backups / "tuesday.db")
    assert [path.name for path in backups.iterdir()] == ["tuesday.db"]
