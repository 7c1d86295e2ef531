"""Stations whose network fails in mid-shift: they go on with their leases, and nothing is given twice."""

from __future__ import annotations

import signal
import threading

import pytest

from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.sql import postgres_link
from rmfab.ledger.store import Ledger
from rmfab.line.bound_boards import BoardMemory
from rmfab.line.leased_ledger import LeasedLedger
from rmfab.line.spool import Spool
from tests.line.floor import beside, found, interrupting, ports, serve, spec
from tests.line.leased import NOON, cut, durable_server, founding, mend, world
from tests.line.process import line, read_until

__all__ = ["durable_server", "world"]

pytestmark = [pytest.mark.peers, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch):
    """A server that is away stays so until the test brings it back: a line need not wait whether it comes by itself."""
    monkeypatch.setattr("rmfab.line.leased_ledger.GRACE", 0.5)


def is_claim(event):
    return event["event"] == "step" and event["step"] == "claim"


@pytest.fixture
def quick_looks(monkeypatch):
    """A line that looks often for a server that is away."""
    monkeypatch.setattr("rmfab.line.leased_ledger._FIRST_LOOK", 0.1)
    monkeypatch.setattr("rmfab.line.leased_ledger._LAST_LOOK", 0.4)


def says(*words):
    """Return whether an event is a message with all *words*."""
    return lambda event: event["event"] == "log" and all(word in event["text"] for word in words)


def at_claim(bench, play):
    """Do *play* as soon as a board of the run of *bench* is claimed."""

    def work():
        bench.wait_for(is_claim)
        play()

    return beside(work)


def aged(said):
    """Return what a run said of the ledger."""
    return [text for text in said.logs if "ledger" in text]


def test_a_network_that_fails_in_mid_unit(world):
    """The unit under way passes, and its events wait in the spool. The next board gets an identity of the lease, and
    keeps it. A board that the server has bound waits. When the server is back, it has everything."""
    one = world.one
    with serve([spec(index=number) for number in range(3)]) as boards:
        first, second, third = (board.url for board in boards)
        with at_claim(one, lambda: cut(one)):
            said = one.run(first)
        assert (said.code, said.unit["outcome"]) == (0, "PASS")
        assert world.states() == {"generated": 4, "handed-over": 3, "claimed": 1}
        assert len(Spool(one.root / "spool", dict)) >= 4
        (away,) = aged(said)
        assert "ledger away since" in away
        assert "3 identities left" in away

        said = one.run(second)
        assert (said.code, said.unit["serial"]) == (0, "LMP-000001")
        assert any("3 identities left" in text for text in aged(said))
        assert one.lease_states() == {"generated": 2, "verified": 1}
        again = one.run(second, extra=("--again",))
        assert (again.code, again.unit["serial"]) == (0, "LMP-000001")

        waits = one.run(first)
        assert (waits.code, waits.verdict) == (4, ("ERROR", "ledger-away"))
        assert "the shared ledger has bound this board" in waits.unit["reason"]
        assert "set this board aside until the ledger's server is back" in waits.unit["reason"]

        mend(one)
        said = one.run(third)
        assert (said.code, said.unit["serial"], aged(said)) == (0, "LMP-000006", [])
    assert world.states() == {"generated": 2, "handed-over": 3, "verified": 3}
    assert sorted(world.units().values()) == ["LMP-000001", "LMP-000004", "LMP-000006"]
    assert len(Spool(one.root / "spool", dict)) == 0
    with world.shared() as ledger:
        for serial in world.units().values():
            steps = [one.event.step for one in ledger.history(serial) if one.event.step and one.event.outcome == "PASS"]
            passes = 2 if serial == "LMP-000001" else 1
            assert steps.count("flash") == steps.count("provision") == passes


def test_what_the_terminal_shows(world):
    """A person at the line reads one sentence, and nothing of the machinery."""
    one = world.one
    with serve([spec()]) as (board,):
        process = line(one, *ports(board.url))
        read_until(process, is_claim)
        cut(one)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert "ledger away since" in out
        assert "Traceback" not in err
        assert "psycopg" not in err


@pytest.mark.usefixtures("quick_looks")
def test_the_server_comes_back_in_a_loop(world):
    """The operator is told once that it is away, and once that it is back; the lease's unit is merged at once."""
    one = world.one
    one.enter()
    cut(one)
    with serve([spec()]) as (board,):

        def shift():
            one.wait_for(lambda event: event["event"] == "unit")
            mend(one)
            one.wait_for(says("is back"))

        with interrupting(shift):
            said = one.run(board.url, extra=("--loop",))
    assert [unit["outcome"] for unit in said.units] == ["PASS"]
    assert ["away since" in text for text in aged(said)] == [True, False]
    assert world.states() == {"generated": 4, "handed-over": 3, "verified": 1}


def test_the_server_is_killed(world):
    """A server that is stopped as by a power cut, and started again in mid-unit: the unit passes, nothing is lost."""
    one = world.one
    with serve([spec()]) as (board,):

        def power_cut():
            world.server.stop("immediate")
            one.wait_for(says("away since"))
            world.server.start()

        with at_claim(one, power_cut):
            said = one.run(board.url)
        assert (said.code, said.unit["outcome"]) == (0, "PASS")
        assert one.run(board.url, extra=("--again",)).code == 0
    assert world.states() == {"generated": 4, "handed-over": 3, "verified": 1}


def test_a_frozen_network(world, monkeypatch):
    """A network that delivers nothing ends by our deadline; the unit and the next one go on without it."""
    monkeypatch.setattr("rmfab.ledger.sql.postgres._ANSWER_FACTOR", 0.05)
    one = world.one

    def freeze():
        one.proxy.flows.clear()
        # From now on no connection is made; this is the least that libpq allows for it.
        patch.setitem(postgres_link._DEFAULTS, "connect_timeout", "2")

    with serve([spec(index=number) for number in range(2)]) as boards, monkeypatch.context() as patch:
        with at_claim(one, freeze):
            said = one.run(boards[0].url)
        assert (said.code, said.unit["outcome"]) == (0, "PASS")
        said = one.run(boards[1].url)
        assert (said.code, said.unit["serial"]) == (0, "LMP-000001")
        patch.undo()
        one.proxy.flows.set()
        one.enter()
    assert world.states() == {"generated": 3, "handed-over": 3, "verified": 2}


def test_a_claim_whose_answer_is_lost(world, monkeypatch):
    """The server may have bound the board: it gets nothing from the lease, not even in the next run, until the server
    is back; then it has the identity that the server gave it."""
    one = world.one
    begin = BoardMemory.begin

    def vanishing(memory, mac):
        begin(memory, mac)
        one.proxy.at_commit = "vanish"

    one.enter()
    with serve([spec()]) as (board,):
        with monkeypatch.context() as patch:
            patch.setattr(BoardMemory, "begin", vanishing)
            said = one.run(board.url)
        assert (said.code, said.verdict) == (4, ("ERROR", "ledger-away"))
        assert "not known" in said.unit["reason"]
        again = one.run(board.url)
        assert (again.code, again.verdict) == (4, ("ERROR", "ledger-away"))
        assert one.lease_states() == {"generated": 3}
        assert sorted(world.units().values()) == ["LMP-000004"]
        mend(one)
        said = one.run(board.url)
        assert (said.code, said.unit["serial"]) == (0, "LMP-000004")
    assert world.states() == {"generated": 4, "handed-over": 3, "verified": 1}


def test_killed_while_offline(world):
    """kill -9 after a claim from the lease: the next start, without the server, goes on with the same identity; a later
    one with the server brings everything there."""
    one = world.one
    one.enter()
    cut(one)
    with serve([spec()]) as (board,):
        process = line(one, *ports(board.url))
        events = read_until(process, is_claim)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert events[-1]["serial"] == "LMP-000001"
        said = one.run(board.url)
        assert (said.code, said.unit["serial"]) == (0, "LMP-000001")
    mend(one)
    one.enter()
    assert world.states() == {"generated": 4, "handed-over": 3, "verified": 1}
    assert one.lease_states() == {"generated": 3, "verified": 1}


def test_two_stations_at_once(world):
    """Both offline, with leases of the same size: no identity twice. A board that one of them has made waits at the
    other one, whose lease does not have the identity in its flash."""
    for bench in (world.one, world.two):
        bench.enter()
        cut(bench)
    said = {}
    with serve([spec(index=number) for number in range(4)]) as boards:
        urls = [board.url for board in boards]

        def work():
            said["two"] = read_until(process, lambda event: event["event"] == "summary")

        process = line(world.two, *ports(*urls[2:]))
        reader = threading.Thread(target=work)
        reader.start()
        here = world.one.run(*urls[:2])
        reader.join()
        process.communicate()
        assert (here.code, process.returncode) == (0, 0)
        there = [event["serial"] for event in said["two"] if event["event"] == "unit"]
        assert sorted(there) == ["LMP-000004", "LMP-000005"]
        assert sorted(unit["serial"] for unit in here.units) == ["LMP-000001", "LMP-000002"]
        moved = world.one.run(urls[2])
        assert (moved.code, moved.verdict) == (4, ("ERROR", "ledger-away"))
        assert "neither blank nor of an identity of this station's lease" in moved.unit["reason"]
    for bench in (world.one, world.two):
        mend(bench)
        bench.enter()
    assert len(world.units()) == 4
    assert world.states() == {"handed-over": 4, "verified": 4}


def test_a_lease_that_is_used_up(world):
    """The operator hears of the last identity; a board without one is an ERROR, and the line goes on."""
    one = world.one
    one.lease(1)
    one.enter()
    cut(one)
    with serve([spec(index=number) for number in range(2)]) as boards:
        first, second = (board.url for board in boards)
        said = one.run(first)
        assert said.code == 0
        assert "no identities left in this station's lease" in aged(said)[-1]
        assert one.run(second).refusal == (4, ["ledger-away"])
        mend(one)
        assert one.run(second).code == 0


def test_the_rest_of_a_batch(world):
    """What the server has not any more, the lease gives while the server is there; the shared ledger has it at once."""
    one = world.one
    one.lease(100)
    one.enter()
    assert world.states() == {"handed-over": 8}
    with serve([spec()]) as (board,):
        said = one.run(board.url)
    assert (said.code, said.unit["serial"]) == (0, "LMP-000001")
    assert world.states() == {"handed-over": 7, "verified": 1}


def test_one_board_with_two_identities(world):
    """A board that got one identity here and one there, unseen: the merge names both, and the line stops with exit code
    5. The owner voids the one of the shared ledger; then the merge goes on, and the board keeps the other one."""
    one, two = world.one, world.two
    one.enter()
    cut(one)
    with serve([spec(index=number) for number in range(2)]) as boards:
        said = one.run(boards[0].url)
        assert said.unit["serial"] == "LMP-000001"
        with world.shared() as ledger:
            ledger.claim(said.unit["mac"], Wish("Lamp"), station=two.root.name, ts=NOON)
        mend(one)
        stopped = one.run(boards[1].url)
        assert stopped.refusal == (5, ["return-conflict"])
        (error,) = stopped.events
        assert "LMP-000004 here, and LMP-000001 there" in error["errors"][0]["reason"]
        with world.shared() as ledger:
            ledger.void("LMP-000004", reason="made offline as LMP-000001", station=two.root.name, ts=NOON)
        assert one.run(boards[1].url).code == 0
        again = one.run(boards[0].url, extra=("--again",))
        assert (again.code, again.unit["serial"]) == (0, "LMP-000001")
    assert world.states() == {"generated": 2, "handed-over": 3, "verified": 2, "void": 1}


@pytest.mark.usefixtures("quick_looks")
def test_a_contradiction_in_mid_run(world):
    """It is found as soon as the server is back, and ends the loop. The next run does not start without the server."""
    one = world.one
    one.enter()
    cut(one)
    with serve([spec()]) as (board,):

        def clash():
            one.wait_for(lambda event: event["event"] == "unit")
            (mac,) = [event["mac"] for event in one.events() if event["event"] == "unit"]
            with world.shared() as ledger:
                ledger.claim(mac, Wish("Lamp"), station="bench-2", ts=NOON)
            mend(one)

        with beside(clash):
            said = one.run(board.url, extra=("--loop",))
        cut(one)
        assert one.run(board.url).refusal == (5, ["return-conflict"])
    assert said.code == 5
    assert any("stop: this return contradicts the ledger" in text for text in said.logs)


def test_what_does_not_fit_any_more(world):
    """A unit that was voided while its events waited stays void, and the operator reads it."""
    one = world.one
    with serve([spec()]) as (board,):
        with at_claim(one, lambda: cut(one)):
            said = one.run(board.url)
        assert said.code == 0
        with world.shared() as ledger:
            ledger.void(said.unit["serial"], reason="wrong batch", station="office", ts=NOON)
        mend(one)
        back = one.run(board.url, extra=("--again",))
    assert f"{said.unit['serial']}: a void unit cannot become flashed" in back.words
    with world.shared() as ledger:
        last = ledger.history(said.unit["serial"])[-1].event
    assert (last.kind, last.outcome) == ("unit", "PASS")
    assert world.states() == {"generated": 3, "handed-over": 3, "void": 1, "verified": 1}


@pytest.mark.parametrize("lost", ["replay", "remove"])
def test_a_replay_that_is_killed(world, monkeypatch, lost):
    """Between the server's commit and the removal from the spool, or before it: every event is there once."""
    one = world.one
    with serve([spec()]) as (board,), at_claim(one, lambda: cut(one)):
        said = one.run(board.url)
    mend(one)
    done = []

    class Killed(BaseException):
        """The end of the process."""

    def dying(*arguments, **named):
        if len(done) == 2:
            raise Killed
        done.append(1)
        return real(*arguments, **named)

    owner = Ledger if lost == "replay" else Spool
    real = getattr(owner, lost)
    with monkeypatch.context() as patch:
        patch.setattr(owner, lost, dying)
        with pytest.raises(Killed):
            one.enter()
    one.enter()
    with world.shared() as ledger:
        steps = [each.event.step for each in ledger.history(said.unit["serial"]) if each.event.step]
    assert len(steps) == len(set(steps)) == 9
    assert world.states() == {"generated": 4, "handed-over": 3, "verified": 1}


def test_serials_that_come_with_boards(durable_server, tmp_path):
    """A lease of identities without serials: each gets that of its board while the server is away; both ledgers then
    know the unit by it."""
    made = found(tmp_path / "made", units=4, edits=(('serial = "LMP-{n:06d}"', 'serial = "LMP-{mac}"'),))
    with (
        founding(durable_server, made, tmp_path) as world,
        serve([spec(index=number) for number in range(2)]) as boards,
    ):
        one = world.one
        with at_claim(one, lambda: cut(one)):
            first = one.run(boards[0].url)
        second = one.run(boards[1].url)
        for said in (first, second):
            assert (said.code, said.unit["serial"]) == (0, f"LMP-{said.unit['mac'].replace(':', '')}")
        assert one.run(boards[1].url, extra=("--again",)).code == 0
        mend(one)
        one.enter()
        assert world.units() == {said.unit["mac"]: said.unit["serial"] for said in (first, second)}
        assert world.states() == {"handed-over": 2, "verified": 2}


def test_the_release_is_remembered(world):
    """What the shared ledger has accepted counts without the server, too: an older release is refused."""
    one = world.one
    one.enter()
    with one.leased() as lease, world.shared() as shared:
        assert lease.last_release("Lamp") is None
        assert shared.last_release("Lamp") is None
    with serve([spec()]) as (board,):
        assert one.run(board.url).code == 0
    with one.leased() as lease, world.shared() as shared:
        here, there = lease.last_release("Lamp"), shared.last_release("Lamp")
    assert here is not None
    assert there is not None
    assert here.event.details["digest"] == there.event.details["digest"]


def test_a_unit_of_a_different_process(world):
    """A board that a different process of this station has claimed from the lease keeps that identity, also before it
    is merged; one that was voided since gets a new one."""
    one = world.one
    with serve([spec(index=number) for number in range(2)]) as boards:
        one.enter()
        cut(one)
        voided = one.run(boards[1].url)
        mend(one)
        one.enter()
        with world.shared() as ledger:
            ledger.void(voided.unit["serial"], reason="wrong", station="office", ts=NOON)
        real = LeasedLedger.identity_by_mac

        def elsewhere(ledger, mac):
            if mac != voided.unit["mac"] and not done:
                done.append(mac)
                with one.leased() as lease:
                    lease.claim(mac, Wish("Lamp"), station=one.root.name, ts=NOON)
            return real(ledger, mac)

        done = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LeasedLedger, "identity_by_mac", elsewhere)
            said = one.run(boards[0].url)
            assert (said.code, said.unit["serial"]) == (0, "LMP-000002")
            again = one.run(boards[1].url)
        assert (again.code, again.unit["serial"]) == (0, "LMP-000006")
    assert world.states() == {"generated": 2, "handed-over": 3, "void": 1, "verified": 2}


def test_a_different_identity_only_with_the_server(world):
    """A returned unit gets a different identity from the server, not from the lease; away, nothing is changed."""
    one = world.one
    with serve([spec()]) as (board,):
        serial = one.run(board.url).unit["serial"]
        words = ["reidentify", serial, *ports(board.url), "--reason", "returned", "--yes"]
        before = world.states()
        cut(one)
        assert one.do(*words).code == 4
        mend(one)
        assert world.states() == before
        said = one.do(*words)
    assert (said.code, said.unit["outcome"]) == (0, "PASS")
    with world.shared() as ledger:
        (void,) = (event.event for event in ledger.history(serial) if event.event.kind == "void")
        assert ledger.named(said.unit["mac"]).serial == void.details["successor"] == said.unit["serial"]
        assert ledger.check() == ()


def test_who_did_it_while_the_server_was_away(world):
    """An event that waited in the spool has the name of who did it, not of who brought it to the server."""
    one = world.one
    with serve([spec(), spec(index=1)]) as boards:
        with at_claim(one, lambda: cut(one)):
            said = one.run(boards[0].url, extra=("--operator", "op-7"))
        assert said.code == 0
        mend(one)
        assert one.run(boards[1].url, extra=("--operator", "op-9")).code == 0
    with world.shared() as ledger:
        names = {event.event.details.get("operator") for event in ledger.history(said.unit["serial"])[1:]}
    assert names == {"op-7"}
