"""Group commit: work of several threads shares transactions, and no error of one reaches another."""

import threading
from contextlib import contextmanager

import pytest

from rmfab.errors import InputError, LedgerError
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.sql.group_commit import GroupCommit, Unsettled
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, STATION, beneath, claim, fresh, now
from tests.patience import PATIENCE


class Disk:
    """Transactions on a list: its *commits*, which wait for *go*; *fails* is raised by the commits of groups."""

    def __init__(self, fails=None):
        self.commits = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.fails = fails

    @contextmanager
    def writing(self, deadline):
        rows = []
        yield rows
        self.begun.release()  # only now: whoever comes before it is in this group
        assert self.go.acquire(timeout=PATIENCE)
        if self.fails is not None and len(rows) > 1:
            raise self.fails
        self.commits.append(rows)


def arrive(disk, group, works):
    """Run *works* in threads: the first alone, the others while its commit is written. Return results or errors."""
    results = [None] * len(works)

    def run(number):
        try:
            results[number] = group.run(works[number])
        except Exception as error:  # noqa: BLE001 - compared by the test
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    threads[0].start()
    assert disk.begun.acquire(timeout=PATIENCE)
    for thread in threads[1:]:
        thread.start()
    while len(group._waiting) < len(works):
        threading.Event().wait(0.01)
    for _ in range(2 * len(works)):
        disk.go.release()
    for thread in threads:
        thread.join(PATIENCE)
    return results


def adds(row):
    def work(rows):
        rows.append(row)
        return row

    return work


def fails(error):
    def work(rows):
        rows.append("poison")
        raise error

    return work


def test_who_waits_shares_the_next_commit():
    """Five calls that arrive during a commit share one, and each gets its own result."""
    disk = Disk()
    group = GroupCommit(disk.writing, PATIENCE)
    assert arrive(disk, group, [adds(number) for number in range(6)]) == [0, 1, 2, 3, 4, 5]
    assert [sorted(rows) for rows in disk.commits] == [[0], [1, 2, 3, 4, 5]]
    assert group._waiting == []


def test_a_poisoned_one_fails_alone():
    """If the work of one fails, its error is raised there, and the others are written."""
    disk = Disk()
    group = GroupCommit(disk.writing, PATIENCE)
    error = InputError("poison")
    results = arrive(disk, group, [adds(0), adds(1), fails(error), adds(3)])
    assert results == [0, 1, error, 3]
    assert sorted(disk.commits) == [[0], [1], [3]]
    assert group._waiting == []


def test_a_commit_that_fails():
    """If the commit of a group fails, each is tried on its own."""
    disk = Disk(fails=LedgerError("full"))
    results = arrive(disk, GroupCommit(disk.writing, PATIENCE), [adds(0), adds(1), adds(2)])
    assert results == [0, 1, 2]
    assert sorted(disk.commits) == [[0], [1], [2]]


def test_a_commit_of_which_nobody_knows():
    """If it is not known whether a group was written, nothing of it runs again: everyone gets the error."""
    disk = Disk(Unsettled("lost", cause="ledger-away"))
    group = GroupCommit(disk.writing, 30)
    results = arrive(disk, group, [adds("a"), adds("b"), adds("c")])
    assert [type(one) for one in results[1:]] == [Unsettled, Unsettled]
    assert disk.commits == [["a"]]


def test_an_interrupt_loses_nothing():
    """The main thread, where ^C may come at any moment, writes only its own work; the others write theirs."""
    disk = Disk()
    group = GroupCommit(disk.writing, PATIENCE)
    done = []
    other = threading.Thread(target=lambda: done.append(group.run(adds("other"))))

    def interrupted(rows):
        other.start()
        while len(group._waiting) < 2:
            threading.Event().wait(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        group.run(interrupted)
    disk.go.release()
    other.join(PATIENCE)
    assert (done, disk.commits, group._waiting) == (["other"], [["other"]], [])


def test_poisoned_events_in_the_ledger(tmp_path):
    """Of 16 slots that record at once, two have an unknown serial; each of the others is recorded once."""
    fresh(tmp_path, size=16).close()
    with Ledger.open(tmp_path / FILE, create=False) as ledger:
        serials = [claim(ledger, board).identity.serial for board in range(16)]
        serials[3] = serials[11] = "LMP-999999"
        together = threading.Barrier(16)
        causes = [None] * 16

        def slot(number):
            event = Event(now(), EventKind.STEP, serial=serials[number], step="boot", outcome=Outcome.PASS)
            together.wait()
            try:
                ledger.record(STATION, [event])
            except InputError as error:
                causes[number] = error.cause

        threads = [threading.Thread(target=slot, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert causes == ["no-serial" if number in (3, 11) else None for number in range(16)]
        assert ledger.check() == ()
    with beneath(tmp_path) as connection:
        recorded = connection.exec_driver_sql("SELECT serial FROM event WHERE step = 'boot'").scalars().all()
    assert sorted(recorded) == sorted(serial for serial in serials if serial != "LMP-999999")
