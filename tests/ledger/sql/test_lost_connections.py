"""Connections that are lost at every moment: nothing is done twice, nothing that was confirmed is forgotten."""

import gc
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from rmfab.errors import LedgerError
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.sql import postgres_link
from rmfab.ledger.sql.copy_rows import copy_rows
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.store import Ledger
from rmfab.ledger.transfer import transfer
from tests.ledger.workshop import STATION, cause_of, claim, fresh, mac, now
from tests.patience import until
from tests.postgres import USER, running_server
from tests.proxy import Proxy

pytestmark = pytest.mark.peers


@pytest.fixture
def address(databases):
    """The address of a ledger with ten identities."""
    made = databases()
    fresh(made).close()
    return made


@pytest.fixture
def proxy(server):
    with Proxy(server.socket) as opened:
        yield opened


def through(proxy, address, patience=30.0):
    database = address.partition("?")[0].rpartition("/")[2]
    return Ledger.open(proxy.url(database, USER), create=False, patience=patience)


@contextmanager
def impatient(ledger, seconds):
    """Let *ledger* wait only so long, as if it had been opened with that; what must succeed has more."""
    database = ledger._database
    before = database._patience, database._watch.seconds
    database._patience, database._watch.seconds = seconds, 1.5 * seconds
    yield
    database._patience, database._watch.seconds = before


def thaw(proxy):
    """Let a network that freezes do so for longer than `impatient` waits."""
    until(lambda: not proxy.flows.is_set(), "nothing froze")
    time.sleep(2.5)
    proxy.flows.set()


def events(address, kind):
    with Ledger.open(address, create=False) as ledger:
        assert ledger.check() == ()
        history = ledger.history(mac(1))
    return [one for one in history if one.event.kind is kind]


@pytest.mark.parametrize("what", ["lose-answer", "lose-request", "freeze", "freeze-answer"])
def test_a_claim_whose_commit_is_lost(proxy, address, what):
    """Whatever becomes of a COMMIT and its answer, the board gets one identity, by one event."""
    with through(proxy, address) as ledger:
        claim(ledger, 9)
        proxy.at_commit = what
        freezes = "freeze" in what
        thawing = threading.Thread(target=thaw, args=(proxy,)) if freezes else threading.Thread()
        thawing.start()
        with impatient(ledger, 1.0 if freezes else 30.0), ledger.guarded(Watcher(lambda: True, lambda text: None)):
            given = claim(ledger, 1)
        thawing.join()
        assert proxy.at_commit is None
        assert (given.identity.serial, given.again) == ("LMP-000002", False)
        assert claim(ledger, 2).identity.serial == "LMP-000003"
    assert len(events(address, EventKind.CLAIM)) == 1


@pytest.mark.parametrize("what", ["lose-answer", "lose-request"])
def test_steps_whose_commit_is_lost(proxy, address, what):
    """Steps are recorded exactly once."""
    with through(proxy, address) as ledger:
        serial = claim(ledger, 1).identity.serial
        proxy.at_commit = what
        ledger.record(STATION, [Event(now(), EventKind.STEP, serial=serial, step="flash")])
    assert len(events(address, EventKind.STEP)) == 1


@pytest.mark.parametrize(("what", "written"), [("lose-answer", True), ("lose-request", False)])
def test_a_change_that_does_not_run_again(proxy, address, what, written):
    """A change of one transaction either was written, or says that it was not."""
    with through(proxy, address) as ledger:
        claim(ledger, 1)
        proxy.at_commit = what
        if written:
            ledger.labelled(["LMP-000001"], station=STATION, ts=now())
        else:
            assert cause_of(ledger.labelled, ["LMP-000001"], station=STATION, ts=now()) == "ledger-away"
    assert len(events(address, EventKind.LABEL)) == written


def test_a_connection_that_ends_between_claims(server, address):
    """A backend that the server ends costs nothing, neither at the next claim nor in the middle of one."""
    with Ledger.open(address, create=False) as ledger:
        claim(ledger, 1)
        terminate(server, address)
        assert claim(ledger, 2).identity.serial == "LMP-000002"
        terminate(server, address)
        assert ledger.free("lamp") == 8

        turns = []

        def ended(made):
            if not turns:
                terminate(server, address)
            turns.append(made)
            return Event(now(), EventKind.STEP, mac=mac(3), step="claim")

        from rmfab.ledger.claim_terms import Around

        ledger.claim(mac(3), Wish("lamp"), station=STATION, ts=now(), around=Around((), ended))
        assert len(turns) == 2
        assert ledger.check() == ()


@pytest.fixture
def copying(monkeypatch):
    """Return a function that lets something happen in the middle of each copy, to its source and target."""

    def at_each_copy(happens):
        def copied(source, target, *tables):
            happens(target)
            copy_rows(source, target, *tables)

        monkeypatch.setattr("rmfab.ledger.sql.copy_rows.copy_rows", copied)
        monkeypatch.setattr("rmfab.ledger.transfer.copy_rows", copied)

    return at_each_copy


TO_FILES = ["backup", "transfer to a file"]


@pytest.fixture
def copied(request, databases, tmp_path):
    """A function that copies a ledger from a server to a file, or back, and the address on the server."""
    address, new = databases(), tmp_path / "new.db"
    there = request.param in TO_FILES
    with fresh(address if there else tmp_path / "old.db", size=200, chunk_size=200) as ledger:
        if request.param == "backup":
            yield lambda: ledger.backup(new), address
        else:
            yield lambda: transfer(ledger, new if there else address, station=STATION, ts=now()), address


# SQLAlchemy does not close the cursor of a connection that is lost (Connection._handle_dbapi_exception).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("copied", [*TO_FILES, "transfer to a server"], indirect=True)
def test_a_copy_whose_server_goes_away(server, copying, copied):
    """A backup or transfer whose connection ends in the middle says that the server is away; repeated, it succeeds."""
    copy, address = copied
    first = [True]
    copying(lambda _: first and first.pop() and terminate(server, address))
    assert cause_of(copy) == "ledger-away"
    copy()
    gc.collect()


@pytest.mark.parametrize("copied", TO_FILES, indirect=True)
def test_a_copy_to_a_full_disk(copying, copied):
    """If the file has no room, the error is that of the file, not of the server."""
    copying(lambda new: new.exec_driver_sql("PRAGMA max_page_count=1"))
    assert cause_of(copied[0]) == "ledger-full"


def terminate(server, address):
    server.terminate(address.partition("?")[0].rpartition("/")[2])


def test_a_connection_that_ends_while_the_pool_is_judged(server, address, monkeypatch):
    """A claim runs again if its connection ends between what it has asked ahead and its first other question."""
    with Ledger.open(address, create=False) as ledger:
        place, turns = ledger._place, []

        def ended(connection):
            if not turns:
                terminate(server, address)
            turns.append(connection)
            return place(connection)

        monkeypatch.setattr(ledger, "_place", ended)
        assert claim(ledger, 1).identity.serial == "LMP-000001"
        assert len(turns) > 1
        assert ledger.check() == ()


def test_a_frozen_link_ends_by_our_own_deadline(proxy, address):
    """A network that neither delivers nor refuses ends a command with an error, not in a wait for TCP."""
    with through(proxy, address) as ledger:
        claim(ledger, 1)
        proxy.flows.clear()
        with impatient(ledger, 0.5):
            for change in (lambda: claim(ledger, 2), lambda: ledger.free("lamp")):
                assert cause_of(change) == "ledger-away"
        proxy.flows.set()
        assert claim(ledger, 2).identity.serial == "LMP-000002"


def test_a_frozen_network_is_found_by_a_second_connection(proxy, address, monkeypatch):
    """A wait for an answer that takes long ends as soon as no new connection can be made, whatever its own deadline."""
    monkeypatch.setattr("rmfab.ledger.sql.postgres._ANSWER_FACTOR", 1e6)
    with through(proxy, address, patience=0.5) as ledger:
        claim(ledger, 1)
        monkeypatch.setattr("rmfab.ledger.sql.postgres_link.SUSPICIOUS", 0.2)
        monkeypatch.setitem(postgres_link._DEFAULTS, "connect_timeout", "2")
        proxy.flows.clear()
        causes = []
        asking = threading.Thread(target=lambda: causes.append(cause_of(lambda: claim(ledger, 2))), daemon=True)
        asking.start()
        try:
            until(lambda: causes)
        finally:
            proxy.flows.set()
            asking.join()
        monkeypatch.undo()
        assert causes == ["ledger-away"]
        assert claim(ledger, 2).identity.serial == "LMP-000002"


def test_a_server_that_takes_its_time_is_not_given_up(server, address, monkeypatch):
    """A wait for a lock goes on as long as the server answers new connections."""
    asked = []

    def counted(where):
        asked.append(postgres_link.reaches(where))
        return asked[-1]

    monkeypatch.setattr("rmfab.ledger.sql.postgres.reaches", counted)
    monkeypatch.setattr("rmfab.ledger.sql.postgres_link.SUSPICIOUS", 0.2)
    database = address.partition("?")[0].rpartition("/")[2]
    with Ledger.open(address, create=False) as ledger, psycopg.connect(server.url(database)) as other:
        other.execute("SELECT pg_advisory_xact_lock(1919772258, 0)")
        given = []
        waiting = threading.Thread(target=lambda: given.append(claim(ledger, 1).identity.serial))
        waiting.start()
        until(lambda: len(asked) > 2)
        assert (set(asked), given) == ({True}, [])
        other.rollback()
        waiting.join()
        assert given == ["LMP-000001"]


@contextmanager
def told(ledger):
    """Keep the ledger as a line does; yield what the operator reads, and the switch that stops the line."""
    texts, stop = [], threading.Event()
    with ledger.guarded(Watcher(lambda: not stop.is_set(), texts.append)):
        yield texts, stop


def test_a_line_waits_until_the_server_is_back(proxy, address):
    """Slots wait for a server that is away longer than any patience; the operator hears of both once."""
    with through(proxy, address) as ledger, told(ledger) as (texts, _):
        claim(ledger, 1)
        proxy.flows.clear()
        proxy.cut()
        given = []
        slots = [threading.Thread(target=lambda n=n: given.append(claim(ledger, n))) for n in (2, 3, 4)]
        with impatient(ledger, 1.0):
            for slot in slots:
                slot.start()
            while not texts:
                time.sleep(0.01)
            time.sleep(2.5)
            assert given == []
        proxy.flows.set()
        for slot in slots:
            slot.join()
        assert {one.identity.serial for one in given} == {"LMP-000002", "LMP-000003", "LMP-000004"}
        assert len(texts) == 2
        assert "away" in texts[0]
        assert "back" in texts[1]
        assert ledger.check() == ()


def test_connections_from_before_are_no_outage(server, address):
    """Connections that the server has ended since they were used, as all from before an outage, are replaced without a
    word to the operator."""
    with Ledger.open(address, create=False) as ledger, told(ledger) as (texts, _):
        claim(ledger, 1)
        assert ledger.free("lamp") == 9
        terminate(server, address)
        claim(ledger, 2)
        assert ledger.free("lamp") == 8
        assert texts == []


def test_a_lost_commit_is_no_outage(server, proxy, address):
    """If one connection is lost during COMMIT, and the one that is asked about it is from before, the operator hears
    nothing: the server is there."""
    with through(proxy, address) as ledger, told(ledger) as (texts, _):
        claim(ledger, 1)
        assert ledger.free("lamp") == 9
        terminate(server, address)
        proxy.at_commit = "lose-answer"
        assert claim(ledger, 2).identity.serial == "LMP-000002"
        assert proxy.at_commit is None
        assert texts == []
        assert ledger.check() == ()


def test_a_line_that_is_stopped_does_not_wait(proxy, address):
    """^C ends the wait for a server; nothing was written."""
    with through(proxy, address, patience=30) as ledger, told(ledger) as (texts, stop):
        claim(ledger, 1)
        proxy.__exit__()
        wrong = []

        def work():
            try:
                claim(ledger, 2)
            except LedgerError as error:
                wrong.append(error.cause)

        slot = threading.Thread(target=work)
        slot.start()
        while not texts:
            time.sleep(0.01)
        stop.set()
        slot.join()
        assert wrong == ["ledger-away"]


def test_a_server_that_crashes_before_it_gets_a_commit():
    """It forgets the transaction, even that there was one; the claim of a line runs again."""
    with running_server(durable=True) as own, Proxy(own.socket) as way:
        own.execute("CREATE DATABASE l TEMPLATE template0")
        fresh(own.url("l")).close()
        with through(way, own.url("l")) as ledger, told(ledger):
            claim(ledger, 9)
            given = []
            slot = threading.Thread(target=lambda: given.append(claim(ledger, 1)))
            way.at_commit = "freeze"
            slot.start()
            until(lambda: way.at_commit is None)
            own.kill()
            own.start()
            way.disarm()
            slot.join()
            assert [one.identity.serial for one in given] == ["LMP-000002"]
        assert len(events(own.url("l"), EventKind.CLAIM)) == 1


def test_nobody_guesses_what_became_of_a_commit(proxy, address, monkeypatch):
    """If the server does not come back, the error says that it is not known whether the change was written."""

    def hurry():
        until(lambda: not proxy.flows.is_set(), "nothing froze")
        # From now on no connection is made; this is the least that libpq allows for it.
        monkeypatch.setitem(postgres_link._DEFAULTS, "connect_timeout", "2")

    with through(proxy, address, patience=5.0) as ledger:
        claim(ledger, 1)
        proxy.at_commit = "freeze-answer"
        hurrying = threading.Thread(target=hurry)
        hurrying.start()
        with impatient(ledger, 1.0), pytest.raises(LedgerError) as caught:
            claim(ledger, 2)
        hurrying.join()
        monkeypatch.undo()
        proxy.flows.set()
        assert caught.value.cause == "ledger-away"
        assert "is not known" in caught.value.what
        again = claim(ledger, 2)
        assert (again.identity.serial, again.again) == ("LMP-000002", True)
