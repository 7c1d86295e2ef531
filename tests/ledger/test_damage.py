"""A damaged ledger: no write that touches the damage succeeds, and a line stops before its next claim."""

import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from rmfab.errors import InputError, IntegrityError, LedgerError
from rmfab.ledger.claim_terms import Around, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.host import this_host
from rmfab.ledger.sql.quick_check import QuickCheck
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.tampering import PAGE, page_of
from tests.ledger.workshop import FILE, STATION, cause_of, fresh, mac, make, now, order, record
from tests.pools import hold

pytestmark = pytest.mark.slow


def step(serial, name="flash", **more):
    return Event(now(), EventKind.STEP, serial=serial, step=name, outcome=Outcome.PASS, **more)


WRITES = {
    "claim": lambda ledger: ledger.claim(mac(9), Wish("lamp"), station=STATION, ts=now()),
    "claim again": lambda ledger: ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now()),
    "record": lambda ledger: ledger.record(STATION, [step("LMP-000001", state=State.FLASHED)]),
    "verdict": lambda ledger: ledger.record(STATION, [Event(now(), EventKind.UNIT, mac=mac(7), outcome=Outcome.ERROR)]),
    "void": lambda ledger: ledger.void("LMP-000001", reason="lost", station=STATION, ts=now()),
    "label": lambda ledger: ledger.labelled(["LMP-000001"], station=STATION, ts=now()),
    "check": lambda ledger: ledger.checked(STATION, [Event(now(), EventKind.CHECK, serial="LMP-000001")]),
    "admit": lambda ledger: ledger.rewrap({1: b"new"}, recipients=["one"], station=STATION, ts=now()),
    "accept": lambda ledger: ledger.accept(
        STATION, Event(now(), EventKind.RELEASE, details={"product": "lamp"}), after=None
    ),
    "generate": lambda ledger: make(ledger, "lamp-0002", 3),
    "continue": lambda ledger: ledger.add_chunk(
        ledger.batch("lamp-0003"), 0, b"key", [record(f"LMP-{n:06d}") for n in (4, 5)]
    ),
    "rebuild": lambda ledger: ledger.rebuild(),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A ledger whose tables have one page each: three identities, one of them claimed, and an open batch."""
    folder = tmp_path_factory.mktemp("sound")
    with fresh(folder, size=3) as ledger:
        detect = Event(now(), EventKind.STEP, step="detect", outcome=Outcome.PASS)
        ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now(), around=Around((detect,)))
        ledger.record(STATION, [step("LMP-000001", state=State.FLASHED)])
        ledger.begin_batch(order("lamp-0003", 2), now())
    return folder / FILE


def state_of(path):
    """Return the folder with the record that makes the copy *path* one that gives identities."""
    return path.with_suffix(".state")


def opened(path):
    """Open a copy, on a host with a record of it."""
    return Ledger.open(path, create=False, host=this_host(state_of(path)))


@pytest.fixture
def damaged(sound, tmp_path):
    """Return a function that makes a copy of the ledger and changes bytes of it."""

    def make_damaged(at, octets):
        path = tmp_path / f"{len(os.listdir(tmp_path))}.db"  # noqa: PTH208
        shutil.copy(sound, path)
        hold(sound, state_of(path))
        with path.open("r+b") as file:
            file.seek(at)
            file.write(octets)
        return path

    return make_damaged


def written(path):
    """Return the numbers of the pages in the ledger's WAL (sqlite.org/fileformat2.html#walformat)."""
    wal = Path(f"{path}-wal").read_bytes()
    return {int.from_bytes(wal[at : at + 4]) for at in range(32, len(wal), 24 + PAGE)}


@pytest.mark.parametrize("name", WRITES)
def test_damaged_pages(sound, damaged, name):
    """With the head of any page overwritten, a write either fails with a cause, or has not written that page."""
    touched = 0
    for page in range(2, sound.stat().st_size // PAGE + 1):
        path = damaged((page - 1) * PAGE, b"\x77" * 16)
        try:
            ledger = opened(path)
        except (LedgerError, IntegrityError):
            continue
        with ledger:
            try:
                WRITES[name](ledger)
            except (LedgerError, IntegrityError, InputError):
                touched += 1
                continue
            assert page not in written(path), f"{name} wrote the damaged page {page}"
    assert touched, "no page was damaged that this write needs"


def replaced(path, owner, text, changed):
    """Return the place of the only page of the table or index *owner*, and its bytes with *changed* for *text*."""
    at = page_of(path, owner)
    data = path.read_bytes()[at : at + PAGE]
    assert data[0] in (10, 13), "a leaf: sqlite.org/fileformat2.html#b_tree_pages"
    assert text in data
    return at, data.replace(text, changed)


@pytest.mark.parametrize(
    ("owner", "text", "changed", "writes"),
    [
        ("identity", b"24:0a:c4:00:00:01", b"24:0a:c4:00:00:02", ("claim again", "record", "void", "label")),
        ("identity", b"LMP-000001", b"LMP-000007", ("claim again", "record", "void", "label")),
        ("identity", b"flashed", b"flasheD", ("claim again", "record", "void", "label")),
        ("identity", b"flashed", b"claimed", ("claim again", "record", "void", "label")),
        ("ix_identity_mac", b"24:0a:c4:00:00:01", b"24:0a:c4:00:00:02", ("claim again",)),
        ("uq_identity_live_mac", b"24:0a:c4:00:00:01", b"24:0a:c4:00:00:02", ("claim again",)),
        ("event", b"detect", b"deTect", ("claim again", "record", "void", "label")),
        ("event", b"again", b"agaiN", ("claim again", "record", "void", "label")),
        ("ix_event_serial", b"LMP-000001", b"LMP-000000", ("claim again", "record", "void", "label")),
    ],
)
def test_changed_values(sound, damaged, owner, text, changed, writes):
    """A value that was changed inside a sound page, which SQLite does not notice, stops the writes of its unit."""
    change = replaced(sound, owner, text, changed)
    for name in writes:
        with opened(damaged(*change)) as ledger, pytest.raises((IntegrityError, InputError)):
            WRITES[name](ledger)


def test_a_changed_head(sound, damaged):
    """If the last hash of a station was changed, nothing is added to its chain."""
    with sqlite3.connect(sound) as connection:
        (head,) = connection.execute("SELECT last_hash FROM chain").fetchone()
    connection.close()
    change = replaced(sound, "chain", head.encode(), b"0" * len(head))
    for name in ("claim", "claim again", "record", "verdict", "void", "label", "admit", "accept", "generate"):
        with opened(damaged(*change)) as ledger:
            assert cause_of(WRITES[name], ledger) == "ledger-corrupt"


def await_finding(ledger):
    """Wait for the end of the check in the background, which finds something."""
    while ledger._database._check.finding is None:
        threading.Event().wait(0.01)


def test_damage_found_in_the_background(sound, damaged):
    """Damage that the line's own writes do not touch is found meanwhile, and stops the next claim; nothing is bound."""
    path = damaged(page_of(sound, "ix_event_trust"), b"\x77" * 16)
    with opened(path) as ledger:
        ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        with ledger.guarded():
            await_finding(ledger)
            assert cause_of(WRITES["claim"], ledger) == "ledger-corrupt"
            assert cause_of(WRITES["claim again"], ledger) == "ledger-corrupt"
            ledger.record(STATION, [step("LMP-000001", state=State.FLASHED)])
        assert ledger.free("lamp") == 2


def test_a_sound_ledger_is_guarded(sound, damaged):
    """The check finds nothing in a sound ledger, again and again, while stations write to it; its thread ends."""
    path = damaged(0, b"")
    checks = 0

    def connect():
        nonlocal checks
        checks += 1
        return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, check_same_thread=False)

    with opened(path) as ledger, QuickCheck(connect, every=0.001) as check:
        while checks < 5:
            ledger.record(STATION, [step("LMP-000001", state=State.FLASHED)])
        assert check.finding is None
    assert not check._thread.is_alive()


def test_a_check_is_interrupted(tmp_path):
    """The end of the block does not wait for a check that runs: it interrupts it."""
    path = tmp_path / "large.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE large (x)")
        connection.executemany("INSERT INTO large VALUES (zeroblob(1000))", [()] * 20000)
    connection.close()
    ended = []

    class Slow(sqlite3.Connection):
        """A connection whose check starts over until it is interrupted."""

        def execute(self, statement):
            try:
                while True:
                    super().execute(statement).fetchone()
            except sqlite3.OperationalError as error:
                ended.append(error.sqlite_errorname)
                raise

    with QuickCheck(lambda: sqlite3.connect(path, check_same_thread=False, factory=Slow)) as check:
        while check._connection is None:
            threading.Event().wait(0.01)
    assert ended == ["SQLITE_INTERRUPT"]
    assert check.finding is None
