"""Which ledger may give identities: copies, restores, moves and losses, on one host and on two."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rmfab.errors import IntegrityError
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.host import PoolHost
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.restore import restore
from rmfab.ledger.sql import sqlite as sqlite_engine
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, STATION, claim, fill, fresh, mac, make, now, order
from tests.patience import PATIENCE

STEP = Event(now(), EventKind.STEP, mac=mac(9), step="detect", outcome=Outcome.PASS)
CHANGES = {
    "claim": lambda ledger: claim(ledger, 50),
    "claim-again": lambda ledger: claim(ledger, 1),
    "void": lambda ledger: ledger.void("LMP-000009", reason="lost", station=STATION, ts=now()),
    "record": lambda ledger: ledger.record(STATION, [STEP]),
    "label": lambda ledger: ledger.labelled(["LMP-000001"], station=STATION, ts=now()),
    "generate": lambda ledger: make(ledger, "next"),
    "rewrap": lambda ledger: ledger.rewrap({1: b"key"}, recipients=["age1x"], station=STATION, ts=now()),
    "move": lambda ledger: ledger.move("age1x", station=STATION, ts=now()),
}
"""Everything that changes a ledger."""


def opened(path, host=None):
    return Ledger.open(path, create=False, host=host)


def copied(folder, name="copy"):
    """Copy the ledger of *folder* as a person does: the files, while no one uses them."""
    for path in list(folder.glob(f"{FILE}*")):
        shutil.copy(path, folder / path.name.replace(FILE, name))
    return folder / name


def refused(ledger, change):
    """Assert that *change* is refused, with the cause, and that the ledger is unchanged."""
    before = [one.standing for one in ledger.identities("lamp-0001")], len(ledger.history(mac(9)))
    with pytest.raises(IntegrityError) as caught:
        CHANGES[change](ledger)
    assert caught.value.cause == "not-pool-holder"
    assert ([one.standing for one in ledger.identities("lamp-0001")], len(ledger.history(mac(9)))) == before


@pytest.mark.parametrize("change", CHANGES)
def test_of_two_copies_the_first_to_claim_goes_on(tmp_path, change):
    """The other copy is refused every change, and stays readable and sound."""
    fresh(tmp_path).close()
    copy = copied(tmp_path)
    with opened(tmp_path / FILE) as first, opened(copy) as second:
        given = claim(first, 1).identity
        refused(second, change)
        assert not second.pool_standing().held
        assert second.check() == ()
        assert claim(first, 2).identity.serial != given.serial
        assert first.pool_standing().held


def test_the_copy_may_be_the_one_that_goes_on(tmp_path):
    """What counts is who claims first, not which file is older."""
    fresh(tmp_path).close()
    with opened(copied(tmp_path)) as copy, opened(tmp_path / FILE) as original:
        claim(copy, 1)
        refused(original, "claim")


@pytest.mark.parametrize("taking", ["claim", "void", "generate"])
def test_what_takes_from_the_pool(tmp_path, taking):
    """A claim, a void and a new batch each end giving from all other copies."""
    fresh(tmp_path).close()
    copy = copied(tmp_path)
    with opened(tmp_path / FILE) as first, opened(copy) as second:
        CHANGES[taking](first)
        refused(second, "claim")


def test_events_that_fork_are_found(tmp_path):
    """If two copies record different events under the same number, one claim decides between them."""
    fresh(tmp_path).close()
    copy = copied(tmp_path)
    with opened(tmp_path / FILE) as first, opened(copy) as second:
        first.record(STATION, [STEP])
        claim(second, 1)
        refused(first, "claim")


def test_a_copy_on_a_different_host_gives_nothing(tmp_path):
    """A host without a record of the pool gives nothing, even if the ledger is the newest one."""
    fresh(tmp_path).close()
    with opened(tmp_path / FILE, PoolHost(tmp_path / "other host", "other")) as elsewhere:
        for change in CHANGES:
            refused(elsewhere, change)


def test_a_ledger_with_the_state_of_a_different_machine(tmp_path):
    """Ledger and state folder on a disk that moves to a different machine give nothing: the record names a machine."""
    with Ledger.open(tmp_path / FILE, create=True, host=PoolHost(tmp_path / "state", "here")) as ledger:
        make(ledger)
    with opened(tmp_path / FILE, PoolHost(tmp_path / "state", "there")) as ledger:
        refused(ledger, "claim")
        assert "different machine" in str(ledger.pool_standing().refusal)


def test_moving_the_folder_never_asks(tmp_path):
    """A ledger whose folder is renamed gives identities as before: paths are not compared."""
    (tmp_path / "a").mkdir()
    fresh(tmp_path / "a").close()
    (tmp_path / "a").rename(tmp_path / "b")
    with opened(tmp_path / "b" / FILE) as ledger:
        claim(ledger, 1)
        assert ledger.check() == ()


def test_an_empty_ledger_is_anyones(tmp_path):
    """Copies of a ledger without batches become ledgers of their own: nothing was given from them yet."""
    Ledger.open(tmp_path / FILE, create=True).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE name = 'holder'")
    copy = copied(tmp_path)
    with Ledger.open(tmp_path / FILE, create=True) as first, Ledger.open(copy, create=True) as second:
        assert first.id != second.id
        for ledger in (first, second):
            make(ledger)
            claim(ledger, 1)


def test_a_backup_is_a_copy_that_says_so(tmp_path):
    """A backup gives nothing, also if it is put in place by hand and nothing was given since."""
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    shutil.copy(tmp_path / "backup", tmp_path / FILE)
    with opened(tmp_path / FILE) as ledger:
        for change in CHANGES:
            refused(ledger, change)
        assert "is a copy, made at" in str(ledger.pool_standing().refusal)


def test_adopting_after_a_loss(tmp_path):
    """Free identities go into quarantine: no board gets one, except a board that carries it. New ones are made."""
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
        lost = claim(ledger, 1).identity
    with opened(tmp_path / "backup") as ledger:
        done = ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now())
        assert done.quarantined == 10
        assert {one.state for one in ledger.identities("lamp-0001")} == {State.QUARANTINED}
        assert ledger.free("lamp") == 0
        make(ledger, "lamp-0002")
        assert claim(ledger, 2).identity.batch == "lamp-0002"
        back = ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now(), carried=Carried(lost.node_id))
        assert back.identity.serial == lost.serial
        assert ledger.check() == ()
        assert ledger.rebuild() == 0
    with opened(tmp_path / FILE) as lost_and_found:
        refused(lost_and_found, "claim")


def test_a_chain_of_its_own_after_an_adoption(tmp_path):
    """The events of the adopted ledger and of the lost one never share a chain and a number."""
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
        claim(ledger, 1)
    with opened(tmp_path / "backup") as ledger:
        ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now())
    places = []
    for name in (FILE, "backup"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            places.append(dict(connection.execute("SELECT chain || seq, hash FROM event").fetchall()))
    common = places[0].keys() & places[1].keys()
    assert all(places[0][place] == places[1][place] for place in common)


def test_a_move(tmp_path):
    """After a move the old host gives nothing; the new one goes on where the old one stopped, without quarantine."""
    with fresh(tmp_path) as ledger:
        claim(ledger, 1)
        ledger.move("age1new", station=STATION, ts=now())
        for change in CHANGES:
            refused(ledger, change)
        assert ledger.pool_standing().moved_to == "age1new"
    there = PoolHost(tmp_path / "there", "there")
    with opened(copied(tmp_path), there) as ledger:
        assert ledger.adopt(AdoptionReason.MOVE, station=STATION, ts=now()).quarantined == 0
        assert claim(ledger, 2).identity.serial == "LMP-000002"
        assert ledger.check() == ()
    with opened(tmp_path / FILE) as ledger:
        refused(ledger, "claim")


def test_a_moved_ledger_is_adopted_once(tmp_path):
    """A second copy of a moved ledger is not the way to go on for a host that has given identities from the first."""
    with fresh(tmp_path) as ledger:
        ledger.move("age1new", station=STATION, ts=now())
        ledger.backup(tmp_path / "first")
        ledger.backup(tmp_path / "second")
    there = PoolHost(tmp_path / "there", "there")
    with opened(tmp_path / "first", there) as first, opened(tmp_path / "second", there) as second:
        assert second.pool_standing().moved_to == "age1new"
        first.adopt(AdoptionReason.MOVE, station=STATION, ts=now())
        claim(first, 1)
        assert second.pool_standing().moved_to is None
        refused(second, "claim")


def test_a_move_there_and_back(tmp_path):
    """A ledger that comes back to the host that had it before goes on there, with what the other host gave."""
    here, there = PoolHost(tmp_path / "here", "here"), PoolHost(tmp_path / "there", "there")
    with Ledger.open(tmp_path / FILE, create=True, host=here) as ledger:
        make(ledger)
        claim(ledger, 1)
        ledger.move("age1there", station=STATION, ts=now())
        ledger.backup(tmp_path / "out")
    with opened(tmp_path / "out", there) as ledger:
        ledger.adopt(AdoptionReason.MOVE, station="theirs", ts=now())
        claim(ledger, 2)
        ledger.move("age1here", station="theirs", ts=now())
        ledger.backup(tmp_path / "back")
    with opened(tmp_path / "back", here) as ledger:
        assert ledger.pool_standing().moved_to == "age1here"
        ledger.adopt(AdoptionReason.MOVE, station=STATION, ts=now())
        assert claim(ledger, 3).identity.serial == "LMP-000003"
        assert ledger.check() == ()


def test_adopting_here_ends_giving_from_the_other_copy(tmp_path):
    """Of two copies on one host, the one that was adopted last gives; the other one does not, although it is whole."""
    fresh(tmp_path).close()
    copy = copied(tmp_path)
    with opened(copy) as ledger:
        ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now())
        make(ledger, "lamp-0002")
        claim(ledger, 1)
    with opened(tmp_path / FILE) as ledger:
        refused(ledger, "claim")


@pytest.mark.parametrize("broken", ["gone", "empty", "garbage"])
def test_a_lost_record_gives_nothing(tmp_path, broken):
    """Without its record a ledger gives nothing: it may be an old copy."""
    host = PoolHost(tmp_path / "state", "m")
    with Ledger.open(tmp_path / FILE, create=True, host=host) as ledger:
        make(ledger)
    for file in (tmp_path / "state").iterdir():
        if broken == "gone":
            file.unlink()
        else:
            file.write_bytes(b"" if broken == "empty" else b"x" * 5000)
    with opened(tmp_path / FILE, host) as ledger:
        refused(ledger, "claim")


_CLAIMER = """
import sys
from pathlib import Path
from tests.ledger.workshop import claim
from rmfab.ledger.store import Ledger
with Ledger.open(Path(sys.argv[1]), create=False) as ledger:
    for board in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
        print(claim(ledger, board).identity.serial, flush=True)
"""


def _claimer(path, first):
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", _CLAIMER, path, str(first)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": root},
    )


@pytest.mark.slow
def test_killed_at_any_moment_the_ledger_goes_on(tmp_path):
    """SIGKILL between commit and record leaves the ledger ahead of the record: it still gives, and nothing twice."""
    fresh(tmp_path, size=1000).close()
    shown: list[str] = []
    for number in range(6):
        process = _claimer(tmp_path / FILE, number * 200)
        lines = [process.stdout.readline() for _ in range(3 + number)]
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        shown += [line.strip() for line in lines if line.strip()]
    assert len(shown) == len(set(shown)) >= 18
    with opened(tmp_path / FILE) as ledger:
        assert ledger.pool_standing().held
        assert claim(ledger, 5000).identity.serial not in shown
        assert ledger.check() == ()


@pytest.mark.slow
def test_two_copies_at_once(tmp_path):
    """Of two processes that claim from two copies at once, exactly one is refused, and no identity is given twice."""
    fresh(tmp_path, size=1000).close()
    both = [_claimer(path, 200 * number) for number, path in enumerate((tmp_path / FILE, copied(tmp_path)))]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes == [0, 1]
    assert any("not-pool-holder" in err or "no identity can be given" in err for _, err in said)
    given = " ".join(out for out, _ in said).split()
    assert len(given) == len(set(given)) == 200


def test_a_restore(tmp_path):
    """A restore replaces ledger, -wal and -shm, keeps the old ledger whole under a new name, and gives nothing."""
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
        claim(ledger, 1)
        left_open = opened(tmp_path / FILE)
        claim(left_open, 2)  # its -wal is there, and belongs to the ledger that is replaced
        kept = restore(tmp_path / "backup", tmp_path / FILE)
        left_open.close()
    with opened(tmp_path / FILE) as ledger:
        assert ledger.check() == ()
        assert ledger.free("lamp") == 10
        refused(ledger, "claim")
    with opened(kept) as ledger:
        assert ledger.check() == ()
        assert ledger.free("lamp") == 8
    assert kept.stat().st_mode & 0o777 == 0o600


class Killed(BaseException):
    """The process ends here."""


def test_killed_while_a_ledger_is_replaced(tmp_path, monkeypatch):
    """A restore that ends after it has moved the -wal away, and before the backup is in place, loses no event."""
    (tmp_path / "crashed").mkdir()
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
        given = claim(ledger, 1).identity.serial
        ledger.record(STATION, [STEP])
        for path in tmp_path.glob(f"{FILE}*"):  # as a killed process leaves them: with a -wal
            shutil.copy(path, tmp_path / "crashed" / path.name)
    target = tmp_path / "crashed" / FILE
    assert target.with_name(f"{FILE}-wal").stat().st_size > 0
    set_aside = sqlite_engine._set_aside

    def killed(path):
        set_aside(path)
        raise Killed

    monkeypatch.setattr(sqlite_engine, "_set_aside", killed)
    with pytest.raises(Killed):
        restore(tmp_path / "backup", target)
    monkeypatch.undo()
    with opened(target) as ledger:
        assert ledger.identity_by_serial(given).state is State.CLAIMED
        assert len(ledger.history(mac(9))) == 1
        assert ledger.check() == ()


def test_a_restore_of_something_else(tmp_path):
    """A damaged backup, or a file that is no ledger, is not put in place."""
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
    with closing(sqlite3.connect(tmp_path / "backup")) as connection, connection:
        connection.execute("UPDATE event SET ts = '2020-01-01T00:00:00.000Z'")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(IntegrityError, match="not sound"):
        restore(tmp_path / "backup", tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == before
    assert not list(tmp_path.glob("*replaced*"))


def test_an_interrupted_batch_is_refused_elsewhere(tmp_path):
    """A copy that was made while a batch was open cannot finish it after the original gave an identity."""
    with fresh(tmp_path) as ledger:
        batch = ledger.begin_batch(order("next", 10), now())
    copy = copied(tmp_path)
    with opened(tmp_path / FILE) as ledger:
        claim(ledger, 1)
        fill(ledger, batch)
        ledger.close_batch(batch, STATION, now())
    with opened(copy) as ledger, pytest.raises(IntegrityError, match="lacks identities"):
        fill(ledger, batch)
