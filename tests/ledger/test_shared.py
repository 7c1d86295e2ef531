"""One ledger for several hosts: who may give identities from it, after what, and under which name."""

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from rmfab.errors import InputError, IntegrityError, LedgerError
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import HostRecord
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.sql.postgres_pipeline import Prepared
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.ledger.transfer import transfer
from tests.ledger.workshop import FILE, STATION, cause_of, fill, fresh, mac, make, now, order
from tests.patience import until
from tests.postgres import USER, running_server
from tests.proxy import Proxy

pytestmark = pytest.mark.peers


def host(folder, name):
    (folder / name).mkdir(exist_ok=True)
    return PoolHost(folder / name, name)


def opened(address, at):
    return Ledger.open(address, create=False, host=at)


def give(ledger, board, station=STATION, **more):
    return ledger.claim(mac(board), Wish("lamp"), station=station, ts=now(), **more).identity


@pytest.fixture
def address(databases, tmp_path):
    """The address of a ledger with ten identities, made by the host `office`."""
    made = databases()
    with Ledger.open(made, create=True, host=host(tmp_path, "office")) as ledger:
        make(ledger)
    return made


def test_two_stations_share_one_pool(address, tmp_path):
    """Two hosts that never saw each other take from one pool, and each answers for its own chain."""
    with opened(address, host(tmp_path, "one")) as one, opened(address, host(tmp_path, "two")) as two:
        given = [give(ledger, n, name).serial for n, (ledger, name) in enumerate([(one, "a"), (two, "b")] * 5)]
        assert given == [f"LMP-{n:06d}" for n in range(1, 11)]
        assert one.pool_standing().held
        assert two.check() == ()


def test_claims_and_steps_take_two_round_trips(address, tmp_path, monkeypatch):
    """A claim begins with all that it asks, and ends with its changes, also from a requested batch; so does a step."""
    trips, run = [], Prepared.run

    def counted(self, questions):
        trips.append([text for text, _ in questions])
        return run(self, questions)

    with opened(address, host(tmp_path, "one")) as one:
        step = Event(now(), EventKind.STEP, serial=give(one, 1, "a").serial, step="flash", state=State.FLASHED)
        one.record("a", [step])
        monkeypatch.setattr(Prepared, "run", counted)
        give(one, 2, "a")
        one.record("a", [step])
        one.claim(mac(3), Wish("lamp", batch="lamp-0001"), station="a", ts=now())
    assert len(trips) == 6
    assert all(trip[0].startswith("BEGIN") for trip in trips[::2])
    assert all(trip[-1] == "COMMIT" for trip in trips[1::2])


def test_claims_beside_changes_that_run_alone(address, tmp_path):
    """Two processes of one host, one that claims and one that makes batches, never wait for each other for ever."""
    with opened(address, host(tmp_path, "one")) as one, opened(address, host(tmp_path, "one")) as same:

        def make_some():
            for number in range(2, 7):
                make(same, f"lamp-{number:04d}", size=2)

        other = threading.Thread(target=make_some)
        other.start()
        for board in range(10):
            give(one, board, "a")
        other.join()
        assert len(one.batches()) == 6
        assert one.check() == ()


def test_nobody_waits_for_a_record_while_the_server_is_away(server, address, tmp_path, monkeypatch):
    """A process that waits for a server that is away does not keep the record of its host."""
    one, checks = host(tmp_path, "one"), []
    with Proxy(server.socket) as proxy:
        with opened(proxy.url(address.partition("?")[0].rpartition("/")[2], USER), one) as ledger:
            give(ledger, 1)

            def waits():
                with HostRecord(one, ledger.id).hold(patience=0.1) as hold:
                    checks.append(hold.read())
                return len(checks) < 3

            monkeypatch.setattr(ledger, "_occupy", lambda *_: proxy.refuse())  # the record is locked by then
            with ledger.guarded(Watcher(waits, lambda _: None)):
                assert cause_of(give, ledger, 2) == "ledger-away"
        assert len(checks) >= 3


def test_two_processes_close_one_batch(address, tmp_path):
    """A batch that two hosts complete at once is closed by one event."""
    with opened(address, host(tmp_path, "office")) as one, opened(address, host(tmp_path, "other")) as two:
        batch = one.begin_batch(order("lamp-0002", 40), now())
        fill(one, batch)
        closing = [
            threading.Thread(target=ledger.close_batch, args=(batch, name, now()))
            for ledger, name in ((one, "a"), (two, "b"))
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        assert one.check() == ()


def test_a_board_that_moves_between_stations(address, tmp_path):
    """A board keeps its identity at a different station."""
    with opened(address, host(tmp_path, "one")) as one, opened(address, host(tmp_path, "two")) as two:
        assert give(one, 1, "a").serial == give(two, 1, "b").serial


@pytest.fixture
def restored(server, address, tmp_path):
    """A copy of the ledger's database in place of it, by a dump, from before host `one` gave LMP-000002."""
    with opened(address, host(tmp_path, "one")) as one:
        give(one, 1, "a")
    name = address.partition("?")[0].rpartition("/")[2]
    server.dump(name, f"{name}_copy")
    with opened(address, host(tmp_path, "one")) as one:
        give(one, 2, "a")
    yield server.url(f"{name}_copy")
    server.execute(f"DROP DATABASE {name}_copy WITH (FORCE)")


@pytest.mark.parametrize("who", ["one", "two"])
def test_a_restored_dump_gives_nothing(restored, tmp_path, who):
    """Neither the host that misses its events nor one that was never there takes from a restored database."""
    with opened(restored, host(tmp_path, who)) as ledger:
        assert cause_of(give, ledger, 3, "a") == "not-pool-holder"
        assert ledger.check() == ()
        assert ledger.free("lamp") == 9


def test_a_dump_that_is_restored_under_connected_stations(server, address, tmp_path):
    """A station that stays connected, and misses nothing, gives nothing once an older dump has replaced the tables."""
    name = address.partition("?")[0].rpartition("/")[2]
    with opened(address, host(tmp_path, "one")) as one, opened(address, host(tmp_path, "two")) as two:
        give(one, 1, "a")
        saved = server.save(name)
        give(two, 2, "b")
        server.restore(saved, name, "--clean")
        assert cause_of(give, one, 3, "a") == "not-pool-holder"
        assert one.pool_standing().displaced


def test_adopting_a_restored_server(restored, tmp_path):
    """After an adoption for a loss what was free is in quarantine; every host works on, and boards keep what they
    carry."""
    with opened(restored, host(tmp_path, "office")) as ledger:
        assert ledger.adopt(AdoptionReason.LOSS, station="office", ts=now()).quarantined == 9
        make(ledger, "lamp-0002")
    with opened(restored, host(tmp_path, "one")) as one, opened(restored, host(tmp_path, "two")) as two:
        assert give(one, 2, "a", carried=Carried("node-LMP-000002")).serial == "LMP-000002"
        assert {give(one, 3, "a").batch, give(two, 4, "b").batch} == {"lamp-0002"}
        assert one.check() == ()


@pytest.mark.parametrize("station", ["a", "renamed"])
def test_what_waited_for_a_server_that_was_adopted(address, tmp_path, station):
    """A station whose chain was closed by an adoption, or that has a new name, brings what it kept, once."""
    with opened(address, host(tmp_path, "one")) as one:
        serial = give(one, 1, "a").serial
        one.adopt(AdoptionReason.LOSS, station="office", ts=now())
        kept = Event(
            now(), EventKind.STEP, serial=serial, step="flash", outcome=Outcome.PASS, state=State.FLASHED, seconds=1.0
        )
        for _ in range(2):
            assert one.replay(station, [kept], {}) == ()
        assert [past.event.kind for past in one.history(serial)].count(EventKind.STEP) == 1
        assert one.check() == ()


def test_a_server_that_moved_with_everything(server, address, tmp_path):
    """A database that was moved with all its data goes on as the only copy, without quarantine."""
    with opened(address, host(tmp_path, "one")) as one:
        give(one, 1, "a")
    name = address.partition("?")[0].rpartition("/")[2]
    server.dump(name, f"{name}_moved")
    try:
        with opened(server.url(f"{name}_moved"), host(tmp_path, "office")) as ledger:
            assert ledger.pool_standing().displaced
            ledger.adopt(AdoptionReason.ONLY_COPY, station="office", ts=now())
            assert ledger.free("lamp") == 9
        with opened(server.url(f"{name}_moved"), host(tmp_path, "one")) as one:
            assert give(one, 2, "a").serial == "LMP-000002"
    finally:
        server.execute(f"DROP DATABASE {name}_moved WITH (FORCE)")


def test_a_server_that_only_reads(server, address):
    """A server that lets nobody write, as a replica does, is no server that is away: waiting for it would not help."""
    name = address.partition("?")[0].rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(LedgerError, match="it is a replica") as caught:
        Ledger.open(address, create=False)
    assert caught.value.cause == "ledger-read-only"
    with pytest.raises(LedgerError) as caught:
        Ledger.open(address.replace("host=", "host=/nowhere,"), create=False)
    assert caught.value.cause == "ledger-away"  # the other server may come back


@pytest.mark.parametrize("knew", [True, False])
@pytest.mark.parametrize("reason", [AdoptionReason.ONLY_COPY, AdoptionReason.LOSS])
def test_a_server_that_was_replaced_comes_back(server, address, tmp_path, reason, knew):
    """Whoever took from the database that replaced another takes nothing from the old one any more, also if that was
    adopted after a loss, and nothing that a host gave before was free in it."""
    with opened(address, host(tmp_path, "office")) as old:
        old.adopt(AdoptionReason.LOSS, station="office", ts=now())
        make(old, "lamp-0002")
    if knew:
        with opened(address, host(tmp_path, "one")) as one:
            give(one, 1, "a")
    name = address.partition("?")[0].rpartition("/")[2]
    server.dump(name, f"{name}_new")
    try:
        with opened(server.url(f"{name}_new"), host(tmp_path, "office")) as new:
            new.adopt(reason, station="office", ts=now())
            if reason is AdoptionReason.LOSS:
                make(new, "lamp-0003")
        with opened(server.url(f"{name}_new"), host(tmp_path, "one")) as one:
            give(one, 2, "a")
        for who in ("one", "office"):
            with opened(address, host(tmp_path, who)) as back, pytest.raises(IntegrityError, match="before the one"):
                give(back, 3, who)
    finally:
        server.execute(f"DROP DATABASE {name}_new WITH (FORCE)")


@pytest.mark.slow
def test_a_server_whose_files_were_restored(tmp_path):
    """A cold copy of the whole server from before a claim is refused by the host that made the claim."""
    with running_server(durable=True) as server:
        server.execute("CREATE DATABASE l TEMPLATE template0")
        with Ledger.open(server.url("l"), create=True, host=host(tmp_path, "one")) as ledger:
            make(ledger)
            give(ledger, 1)
        server.stop()
        subprocess.run(["cp", "-a", server.data, server.folder / "saved"], check=True)
        server.start()
        with opened(server.url("l"), host(tmp_path, "one")) as ledger:
            give(ledger, 2)
        server.stop()
        server.data.rename(server.folder / "lost")
        (server.folder / "saved").rename(server.data)
        server.start()
        with opened(server.url("l"), host(tmp_path, "one")) as ledger:
            with pytest.raises(IntegrityError, match="lacks identities") as caught:
                give(ledger, 3)
            assert caught.value.cause == "not-pool-holder"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_was_killed(tmp_path, mode):
    """After a crash of the server a station goes on, with everything that was confirmed."""
    with running_server(durable=True) as server:
        server.execute("CREATE DATABASE l TEMPLATE template0")
        with Ledger.open(server.url("l"), create=True, host=host(tmp_path, "one")) as ledger:
            make(ledger)
            first = give(ledger, 1)
            server.stop(mode)
            server.start()
            assert give(ledger, 1).serial == first.serial
            assert give(ledger, 2).serial == "LMP-000002"
            assert ledger.check() == ()


_OTHER_HOST = """
import sys
from pathlib import Path
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.host import PoolHost
from rmfab.ledger.store import Ledger
state = Path(sys.argv[2]); state.mkdir(exist_ok=True)
ledger = Ledger.open(sys.argv[1], create=False, host=PoolHost(state, "m"))
ledger.enter("bench-1")
print("ready", flush=True); sys.stdin.readline()
"""


def is_taken(ledger, name):
    """Try to be the station *name*; return whether a different host is."""
    try:
        ledger.enter(name)
    except LedgerError as error:
        if error.cause != "station-taken":
            raise
        return True
    return False


def test_a_name_belongs_to_one_host(address, tmp_path):
    """A second host with the name of a station is refused, with the name of the first, until that one ends."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _OTHER_HOST, address, tmp_path / "one"]
    other = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}
    )
    with other, opened(address, host(tmp_path, "two")) as two, opened(address, host(tmp_path, "one")) as same:
        assert other.stdout.readline() == "ready\n"
        for change in (lambda: two.enter("bench-1"), lambda: give(two, 1, "bench-1")):
            with pytest.raises(LedgerError) as caught:
                change()
            assert caught.value.cause == "station-taken"
            assert "rmfab on " in caught.value.what
        assert give(two, 1, "bench-2").serial == "LMP-000001"
        assert give(same, 2, "bench-1").serial == "LMP-000002"  # a second process of the first host
        same.close()
        other.communicate("\n")
        until(lambda: not is_taken(two, "bench-1"), "the server does not end the session of the other")
        assert give(two, 3, "bench-1").serial == "LMP-000003"


def test_a_name_is_taken_again_after_a_lost_connection(server, address, tmp_path):
    """A host that lost its connection, and its name meanwhile, is refused its next claim."""
    with opened(address, host(tmp_path, "one")) as one, opened(address, host(tmp_path, "two")) as two:
        give(one, 1, "bench")
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        until(lambda: not is_taken(two, "bench"), "the server does not end the session of the other")
        give(two, 2, "bench")
        assert cause_of(give, one, 3, "bench") == "station-taken"


def test_events_are_append_only(server, address):
    """The database itself refuses to change, delete or empty the events, to everyone."""
    name = address.partition("?")[0].rpartition("/")[2]
    for statement in ("UPDATE event SET reason = 'x'", "DELETE FROM event", "TRUNCATE event"):
        with pytest.raises(Exception, match="never changed or deleted"):
            server.execute(statement, name)


def test_a_trigger_that_is_gone_is_found(server, address):
    """`ledger check` reports events that could be changed."""
    server.execute("DROP TRIGGER event_append_only ON event", address.partition("?")[0].rpartition("/")[2])
    with Ledger.open(address, create=False) as ledger:
        assert [finding.where for finding in ledger.check()] == ["trigger event_append_only"]


@pytest.mark.parametrize(("role", "why"), [("nobody-here", "no such role"), (USER, "owns the ledger")])
def test_a_role_that_gets_no_rights(address, role, why):
    """A role that does not exist, and the one that owns the ledger and would lose its own rights, are refused."""
    with Ledger.open(address, create=False) as ledger:
        for roles in (([role], []), ([], [role])):
            with pytest.raises((InputError, LedgerError), match=why) as caught:
                ledger.grant(*roles)
            assert caught.value.where == role
        make(ledger, "lamp-0002")


def test_roles(server, address, tmp_path):
    """A station claims, records and voids, and makes no batch; a reader only reads; neither can delete or migrate."""
    name = address.partition("?")[0].rpartition("/")[2]
    station, reader = f"{name}_station", f"{name}_reader"
    for role in (station, reader):
        server.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with opened(address, host(tmp_path, "office")) as ledger:
            for _ in range(2):
                ledger.grant([station], [reader])
        with opened(server.url(name, station), host(tmp_path, "one")) as ledger:
            assert give(ledger, 1).serial == "LMP-000001"
            (gone,) = ledger.void("LMP-000001", reason="lost", station=STATION, ts=now())
            assert gone.state is State.VOID
            ledger.labelled(["LMP-000002"], station=STATION, ts=now())
            assert ledger.check() == ()
            assert cause_of(make, ledger, "lamp-0002") == "ledger-denied"
            assert cause_of(ledger.rewrap, {1: b"k"}, recipients=["x"], station=STATION, ts=now()) == "ledger-denied"
        with opened(server.url(name, reader), host(tmp_path, "two")) as ledger:
            assert ledger.free("lamp") == 9
            assert cause_of(give, ledger, 2) == "ledger-denied"
            ledger.backup(tmp_path / "backup.db")
        for role in (station, reader):
            for statement in ("DELETE FROM identity", "TRUNCATE event", "UPDATE identity SET serial = 'x'"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    server.execute(statement, name, role)
    finally:
        for role in (station, reader):
            server.execute(f"DROP OWNED BY {role}", name)
            server.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("back", [False, True])
def test_a_transfer(databases, tmp_path, back):
    """A ledger goes to a server, and back to a file, with every row as it was; only the last place gives identities."""
    places = [tmp_path / FILE, databases(), tmp_path / "back.db"][: 3 if back else 2]
    here = host(tmp_path, "here")
    with Ledger.open(places[0], create=True, host=here) as ledger:
        make(ledger)
        serials = [give(ledger, n).serial for n in (1, 2)]
        ledger.void(serials[1], reason="lost", station="other", ts=now())
        ledger_id = ledger.id
    for number, (old, new) in enumerate(pairwise(places), 3):
        with opened(old, here) as source:
            before = list(source.identities("lamp-0001"))
            transfer(source, new, station=STATION, ts=now())
            assert source.pool_standing().moved_to is not None
            for change in (lambda: give(source, 50), lambda: make(source, "next")):
                assert cause_of(change) == "not-pool-holder"
        with opened(new, here) as target:
            assert target.id == ledger_id
            assert list(target.identities("lamp-0001")) == before
            assert target.check() == ()
            assert give(target, 1).serial == serials[0]
            assert give(target, number).serial == f"LMP-{number:06d}"
            make(target, f"made-{number}")
            assert target.check() == ()
            assert target.rebuild() == 0


def test_a_transfer_that_was_interrupted(databases, tmp_path, monkeypatch):
    """If the process ends between the two commits, nobody gives identities; the same transfer completes it, a different
    one is refused."""
    address, here = databases(), host(tmp_path, "here")
    with Ledger.open(tmp_path / FILE, create=True, host=here) as ledger:
        make(ledger)
        give(ledger, 1)

        class Killed(BaseException):
            pass

        def killed(*_):
            raise Killed

        monkeypatch.setattr("rmfab.ledger.transfer._Transfer._begin", killed)
        with pytest.raises(Killed):
            transfer(ledger, address, station=STATION, ts=now())
        monkeypatch.undo()
        assert cause_of(give, ledger, 2) == "not-pool-holder"
        assert cause_of(transfer, ledger, tmp_path / "elsewhere", station=STATION, ts=now()) == "not-pool-holder"
        transfer(ledger, address, station=STATION, ts=now())
    with opened(address, here) as target:
        assert give(target, 2).serial == "LMP-000002"
        assert target.check() == ()


def test_a_transfer_that_was_killed_before_its_last_commit(tmp_path, monkeypatch):
    """Also if the record names the new holder already, the same transfer completes it."""
    here, there = host(tmp_path, "here"), tmp_path / "there.db"
    with Ledger.open(tmp_path / FILE, create=True, host=here) as ledger:
        make(ledger)
        give(ledger, 1)

        class Killed(BaseException):
            pass

        def killed(*_, **__):
            raise Killed

        monkeypatch.setattr("rmfab.ledger.transfer.chains.heads", killed)
        with pytest.raises(Killed):
            transfer(ledger, there, station=STATION, ts=now())
        monkeypatch.undo()
        transfer(ledger, there, station=STATION, ts=now())
    with opened(there, here) as target:
        assert give(target, 2).serial == "LMP-000002"
        assert target.check() == ()


@pytest.mark.parametrize("known", [True, False], ids=["on this host", "without the record"])
def test_a_transfer_whose_target_is_lost(tmp_path, known):
    """A ledger that was transferred is not transferred again after its target has gone: that has given identities. It
    is adopted after a loss first, which puts what was free in quarantine."""
    here, there = host(tmp_path, "here"), tmp_path / "there.db"
    with Ledger.open(tmp_path / FILE, create=True, host=here) as ledger:
        make(ledger)
        give(ledger, 1)
        transfer(ledger, there, station=STATION, ts=now())
    for path in tmp_path.glob("there.db*"):
        path.unlink()
    with opened(tmp_path / FILE, here if known else host(tmp_path, "new")) as ledger:
        assert cause_of(transfer, ledger, there, station=STATION, ts=now()) == "not-pool-holder"
        assert ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now()).quarantined == 9
        transfer(ledger, there, station=STATION, ts=now())


def test_a_transfer_to_a_ledger_in_use(databases, address, tmp_path):
    """A ledger in use is not overwritten, and the source goes on."""
    with fresh(tmp_path) as ledger:
        with pytest.raises(InputError) as caught:
            transfer(ledger, address, station=STATION, ts=now())
        assert caught.value.cause == "exists"
        give(ledger, 1)


def test_a_copy_of_a_file_cannot_be_transferred(databases, tmp_path):
    """A ledger that does not hold the pool does not get it by a transfer."""
    with fresh(tmp_path) as ledger:
        ledger.backup(tmp_path / "backup")
    with Ledger.open(tmp_path / "backup", create=False) as copy:
        assert cause_of(transfer, copy, databases(), station=STATION, ts=now()) == "not-pool-holder"


def test_a_backup_of_a_server(address, tmp_path):
    """A backup is a SQLite file with every row, and says that it is a copy."""
    with opened(address, host(tmp_path, "one")) as ledger:
        give(ledger, 1)
        ledger.backup(tmp_path / "backup.db")
        there = list(ledger.identities("lamp-0001"))
        with pytest.raises(InputError):
            ledger.backup(tmp_path / "backup.db")
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    with opened(tmp_path / "backup.db", host(tmp_path, "one")) as backup:
        assert list(backup.identities("lamp-0001")) == there
        assert backup.check() == ()
        assert cause_of(give, backup, 2) == "not-pool-holder"
        assert "is a copy, made at" in str(backup.pool_standing().refusal)


def test_a_server_on_this_host_is_safe_but_for_its_settings(server, address):
    """Settings that lose confirmed claims are weaknesses; a station's own commits wait for the disk all the same."""
    with Ledger.open(address, create=False) as ledger:
        assert [one.what.split()[0] for one in ledger.weaknesses()] == [
            "fsync",
            "full_page_writes",
            "synchronous_commit",
        ]
        with ledger._database.writing() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


def test_an_empty_database_is_no_ledger(server, tmp_path):
    """Only `ledger init` makes a ledger in a database."""
    server.execute("CREATE DATABASE bare TEMPLATE template0")
    try:
        assert cause_of(Ledger.open, server.url("bare"), create=False) == "ledger-missing"
    finally:
        server.execute("DROP DATABASE bare")
