"""A lease: taken from a shared ledger, received by a ledger of the station's own, filled up, and given back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rmfab import files
from rmfab.errors import InputError, IntegrityError, LedgerError
from rmfab.exchange import lease_return
from rmfab.ledger import exchange, host_receipts, host_record
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.sql import postgres, sqlite
from rmfab.ledger.store import Ledger
from rmfab.operations import leasing, resealing
from rmfab.operations.terminal import Unattended
from tests.killed import killed
from tests.line.conftest import founded
from tests.line.leased import NOON, Bench, World, counted, cut, durable_server, mend, world
from tests.pools import hold
from tests.postgres import USER
from tests.terminal import Terminal, process

__all__ = ["durable_server", "founded", "world"]

pytestmark = [pytest.mark.peers, pytest.mark.slow]

MAC = "24:0a:c4:00:00:{:02x}"


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal beside the workspaces."""
    return Terminal(tmp_path, capsys, monkeypatch)


def claim(bench: Bench, *boards: int) -> list[str]:
    """Claim from the lease of *bench* for *boards*."""
    with bench.leased() as ledger:
        given = [
            ledger.claim(MAC.format(one), Wish("Lamp"), station=bench.root.name, ts=NOON).identity for one in boards
        ]
    return [one.serial for one in given]


def test_a_lease_is_taken_and_given_back(world: World, terminal: Terminal) -> None:
    """Both ledgers agree on it; `status`, `handover` and `doctor` name the station; what is unused returns whole."""
    world.one.enter()
    assert world.states() == {"generated": 5, "handed-over": 3}
    assert world.one.lease_states() == {"generated": 3}
    with world.one.entered() as lease:
        for name in lease.names():
            with world.one.leased() as ledger:
                for one in ledger.identities(name):
                    assert lease.asked.lease.open_identity(one).serial == one.serial
    (status,) = json.loads(terminal.well("-C", world.one.root, "status", "--json"))
    assert [(one["station"], one["out"]) for one in status["leases"]] == [("bench-1", 3)]
    assert "3 identities of lamp-0001 leased to bench-1 since" in terminal("-C", world.two.root, "status").err
    (listed,) = json.loads(terminal.well("-C", world.two.root, "handover", "--json"))
    assert (listed["standing"], listed["until"], listed["out"]) == ("leased", None, 3)
    doctor = terminal("-C", world.one.root, "doctor").out
    assert "a lease: 3 identities of lamp-0001 leased to bench-1" in doctor
    assert "this station's lease: 3 identities left" in doctor
    said = terminal("-C", world.one.root, "station", "release")
    assert (said.code, "3 identities given back" in said.err) == (0, True)
    assert world.states() == {"generated": 8}
    assert world.one.lease_states() == {"handed-over": 3}
    assert json.loads(terminal.well("-C", world.one.root, "station", "release", "--json")) == {"given_back": 0}


def test_a_lease_is_filled_up(world: World) -> None:
    """Each start brings it to its size again, and takes what is left if that is less."""
    world.one.enter()
    world.one.enter()
    assert world.states() == {"generated": 5, "handed-over": 3}
    assert claim(world.one, 1, 2) == ["LMP-000001", "LMP-000002"]
    world.one.enter()
    assert world.states() == {"generated": 3, "handed-over": 3, "claimed": 2}
    assert world.one.lease_states() == {"generated": 3, "claimed": 2}
    world.one.lease(20)
    world.one.enter()
    assert world.states() == {"handed-over": 6, "claimed": 2}
    world.two.enter()
    assert not world.two.lease_states()


def test_a_lease_after_a_release(world: World) -> None:
    """The next start leases identities that this station did not have, and none if all others are given; a different
    station gets those that were given back."""
    world.one.enter()
    assert leasing.release_lease(world.one.workspace, Unattended()) == 3
    world.one.enter()
    assert claim(world.one, 1, 2, 3) == ["LMP-000004", "LMP-000005", "LMP-000006"]
    world.one.enter()
    assert leasing.release_lease(world.one.workspace, Unattended()) == 2
    for _ in range(2):
        world.one.enter()
        assert world.states() == {"generated": 5, "claimed": 3}
    world.two.enter()
    assert claim(world.two, 4) == ["LMP-000001"]


def test_a_lease_whose_ledger_is_lost_is_not_released(world: World, terminal: Terminal) -> None:
    """A station without the lease.db of a lease says so, with what the owner does; also if it has a newer lease."""
    world.one.enter()
    for path in world.one.root.glob("lease.db*"):
        path.unlink()
    told = "3 identities of lease 1 of this station cannot be given back from here", "`rmfab handover --lost 1`"
    for given in ("this station has no lease", "3 identities given back"):
        said = terminal("-C", world.one.root, "station", "release")
        assert said.code == 0
        assert all(words in said.err for words in (given, *told))
        world.one.enter()


def test_two_stations(world: World) -> None:
    """No identity is in two leases."""
    world.one.enter()
    world.two.enter()
    assert claim(world.one, 1, 2, 3) == ["LMP-000001", "LMP-000002", "LMP-000003"]
    assert claim(world.two, 4, 5, 6) == ["LMP-000004", "LMP-000005", "LMP-000006"]
    world.one.enter()
    world.two.enter()
    assert world.units() == {MAC.format(one): f"LMP-00000{one}" for one in range(1, 7)}


def test_without_a_server(world: World) -> None:
    """A start without the server makes do with the lease, and ends if there is none; nothing else is possible."""
    cut(world.one)
    with pytest.raises(LedgerError, match="is away") as refused, world.one.entered():
        pass
    assert (refused.value.cause, refused.value.hint) == (
        "ledger-away",
        "this station has no lease yet: it takes one at the first run with the server",
    )
    mend(world.one)
    world.one.enter()
    cut(world.one)
    with world.one.entered() as lease:
        assert lease.asked.ledger_path == world.one.root / "lease.db"
        assert lease.names() == ("lamp-0001-h1",)
    with pytest.raises(LedgerError) as refused:
        leasing.release_lease(world.one.workspace, Unattended())
    assert refused.value.cause == "ledger-away"
    with pytest.raises(LedgerError, match="nothing left of batch lamp-0002"), world.one.entered("lamp-0002") as lease:
        lease.names()


def test_a_ledger_in_a_file_has_no_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """station.toml with a lease, and a ledger in a file, is an error with both ways out."""
    monkeypatch.setenv("RMFAB_LEDGER", str(world.one.root / "ledger.db"))
    with pytest.raises(InputError, match="this one is a file") as refused:
        leasing.lease_size(world.one.workspace)
    assert "remove lease" in str(refused.value.hint)
    assert leasing.release_lease(world.one.workspace, Unattended()) == 0
    monkeypatch.delenv("RMFAB_LEDGER")
    world.one.enter()
    monkeypatch.setenv("RMFAB_LEDGER", str(world.one.root / "ledger.db"))
    with pytest.raises(InputError, match="a lease of a ledger on a server"):
        leasing.release_lease(world.one.workspace, Unattended())


def test_a_copied_station(world: World, tmp_path: Path) -> None:
    """A copy of the workspace on a different host gives nothing of its lease, with the ledger of the lease or without:
    only the ledger that took it can receive it."""
    world.one.enter()
    root = tmp_path / "copy" / "bench-1"
    shutil.copytree(world.one.root, root, ignore=shutil.ignore_patterns("state"))
    thief = Bench(root, world.one.proxy, 4)
    with pytest.raises(IntegrityError) as refused:
        thief.enter()
    assert refused.value.cause == "not-pool-holder"
    assert "rmfab handover --lost" in str(refused.value.hint)
    assert "adopt" not in str(refused.value.hint)  # that would be for the shared ledger
    assert world.states() == {"generated": 5, "handed-over": 3}
    thief.lease(3)
    for path in root.glob("lease.*"):
        path.unlink()
    thief.enter()
    assert world.states() == {"generated": 2, "handed-over": 6}
    assert claim(thief, 1) == ["LMP-000004"]
    assert claim(world.one, 2) == ["LMP-000001"]


@pytest.fixture
def clone(world: World, tmp_path: Path) -> Bench:
    """The first station, which has taken its lease, once more: as on a clone of its machine, record and all."""
    world.one.enter()
    root = tmp_path / "clone" / "bench-1"
    shutil.copytree(world.one.root, root)
    hold(root / "lease.db", root / "state")
    return Bench(root, world.one.proxy, 3)


def test_a_clone_of_a_station(world: World, clone: Bench) -> None:
    """Two clones give one identity to two boards while the server is away: the one that returns second is stopped, and
    told why, also without the server; the units of the first one stay."""
    assert claim(world.one, 1) == claim(clone, 2) == ["LMP-000001"]
    world.one.enter()
    for _ in range(2):
        with pytest.raises(IntegrityError, match="a return 1 of this station's lease that a copy") as refused:
            clone.enter()
        assert refused.value.cause == "second-holder"
        cut(clone)
    mend(clone)
    assert world.units() == {MAC.format(1): "LMP-000001"}


def test_a_station_that_was_rolled_back(world: World, clone: Bench) -> None:
    """A snapshot from before a return is refused before a board gets anything: the server has that return."""
    claim(world.one, 1)
    world.one.enter()
    with pytest.raises(IntegrityError) as refused:
        clone.enter()
    assert refused.value.cause == "second-holder"
    assert world.states() == {"generated": 4, "handed-over": 3, "claimed": 1}


def test_a_lost_lease(world: World, terminal: Terminal) -> None:
    """A supervisor voids it as a lost handover; the station then stops with exit code 5 and says what to do, and takes
    a new one after that."""
    world.one.enter()
    said = terminal("-C", world.two.root, "handover", "--lost", "1", "--reason", "fire", "--yes")
    assert (said.code, "lease 1 is lost: 3 identities are void" in said.err) == (0, True)
    with pytest.raises(IntegrityError, match="was declared lost") as refused:
        world.one.enter()
    assert refused.value.cause == "handover-lost"
    assert "move lease.db out" in str(refused.value.hint)
    cut(world.one)  # what it has learned counts without the server, too
    with pytest.raises(IntegrityError, match="the ledger's server is away, and it stopped this station") as refused:
        world.one.enter()
    assert (refused.value.cause, "move lease.db out" in str(refused.value.hint)) == ("handover-lost", True)
    mend(world.one)
    for path in world.one.root.glob("lease.db*"):
        path.unlink()
    world.one.enter()
    assert world.states() == {"generated": 2, "handed-over": 3, "void": 3}
    cut(world.one)
    world.one.enter()


def test_a_lease_is_no_handover(world: World, terminal: Terminal) -> None:
    """It has no file to write again, and does not vouch for the card of its station."""
    world.one.enter()
    card = world.one.root / "one.card"
    terminal.well("-C", world.one.root, "station", "card", "-o", card)
    lent = ("--to", card, "-o", "x.handover")
    for argv in (("--again", "1"), ("lamp-0001", "--count", "1")):
        said = terminal("-C", world.two.root, "handover", *argv, *lent)
        assert said.code == 3
        assert "Traceback" not in said.err


def test_a_different_ledger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A station that is pointed to a different shared ledger keeps its lease of the old one, and says so."""
    world.one.enter()
    world.server.execute("CREATE DATABASE other TEMPLATE template0")
    Ledger.open(world.server.url("other"), create=True, host=world.one.workspace.host).close()
    monkeypatch.setenv("RMFAB_LEDGER", world.server.url("other"))
    with pytest.raises(InputError, match="a lease of a different ledger"):
        world.one.enter()


def test_the_role_of_a_station(world: World, terminal: Terminal) -> None:
    """The rights that `ledger init --station` gives are enough for a lease, its merge and its release."""
    world.server.execute("CREATE ROLE bench LOGIN")
    with world.shared() as ledger:
        ledger.grant(["bench"], [])
    path = world.one.root / "station.toml"
    path.write_text(path.read_text().replace(f"//{USER}@", "//bench@"))
    world.one.enter()
    claim(world.one, 1)
    world.one.enter()
    assert world.states() == {"generated": 4, "handed-over": 3, "claimed": 1}
    terminal.well("-C", world.one.root, "station", "release")
    assert world.states() == {"generated": 7, "claimed": 1}


def test_the_ledger_of_a_lease_is_not_for_a_line(world: World, terminal: Terminal) -> None:
    """A line on `lease.db` alone would not know which boards are bound elsewhere; units in it can be looked up."""
    world.one.enter()
    cut(world.one)
    world.one.lease(0)
    lease = {"RMFAB_LEDGER": str(world.one.root / "lease.db")}
    said = process("-C", world.one.root, "run", "--port", "/dev/null", cwd=world.one.root, **lease)
    said.refused(3, "this ledger is the lease of a station", "unset RMFAB_LEDGER")
    said = process("-C", world.one.root, "status", cwd=world.one.root, **lease)
    assert said.code == 0
    assert "lamp-0001-h1" in said.out


def test_the_ledger_of_a_lease_stays_where_it_is(
    world: World, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not adopted, moved, copied or returned in a file, and a copy of it is not adopted: those are ways of a pool
    of one's own."""
    world.one.enter()
    lease, copy = world.one.root / "lease.db", world.one.root / "copy.db"
    with world.one.leased() as ledger:
        ledger.backup(copy)
    recipient = world.two.workspace.station_key.recipient
    for path, *argv in (
        (copy, "ledger", "adopt", "--name", "Lamp"),
        (lease, "ledger", "adopt", "--name", "Lamp"),
        (lease, "ledger", "move", "--to", recipient, "--yes"),
        (lease, "ledger", "copy", "other.db", "--yes"),
        (lease, "return", "--unused", "-o", "lease.return"),
    ):
        monkeypatch.setenv("RMFAB_LEDGER", str(path))
        said = terminal("-C", world.one.root, *argv)
        assert said.code == 3
        assert "this ledger is the lease of a station" in said.err
        assert "rmfab station release" in said.err
    assert world.one.lease_states() == {"generated": 3}


def test_a_return_of_a_different_process(world: World) -> None:
    """Two processes of a station bring the lease back at once: a return that the other one has made and not merged yet
    is merged first."""
    world.one.enter()
    claim(world.one, 1)
    with world.one.leased() as ledger:
        ledger.exchange.make_return(unused=False, station="bench-1", ts=NOON, write=lambda *_: None)
    claim(world.one, 2)
    world.one.enter()
    world.one.enter()
    assert world.states() == {"generated": 3, "handed-over": 3, "claimed": 2}


def test_a_server_that_forgot_a_lease(world: World, terminal: Terminal) -> None:
    """A server is restored from before the lease, and adopted after a loss: what was leased is in quarantine. The
    station's own record of the lease settles it; nothing that it used is given again."""
    world.server.dump("l", "older")
    world.one.enter()
    claim(world.one, 1)
    path = world.one.root / "station.toml"
    path.write_text(path.read_text().replace('/l"', '/older"'))
    with pytest.raises(IntegrityError) as refused:
        world.one.enter()
    assert refused.value.cause == "not-pool-holder"
    terminal.well("-C", world.one.root, "ledger", "adopt", "--name", "Lamp")
    world.one.enter()
    with Ledger.open(world.server.url("older"), create=False, host=world.one.workspace.host) as ledger:
        assert ledger.check() == ()
        assert counted(ledger) == {"quarantined": 5, "handed-over": 2, "claimed": 1}


PLACES = {
    str(module.__file__)
    for module in (exchange, files, host_receipts, host_record, lease_return, leasing, postgres, resealing, sqlite)
}
STRIDE = 41
"""Every so many lines: a prime, so that loops do not hide any of them."""


def test_a_killed_start(world: World) -> None:
    """Killed anywhere while it takes a lease or merges one, the next start completes it: nothing is doubled or lost."""
    world.one.lease(1)
    deaths, boards = 0, 0
    while killed(1 + STRIDE * deaths, PLACES, world.one.enter):
        deaths += 1
        if (world.one.root / "lease.db").exists():
            there = world.states()
            out = there.get("handed-over", 0)
            assert out <= 1
            assert sum(there.values()) == 8
        if deaths % 6 == 0 and boards < 5:  # a unit to merge at the next start
            world.one.enter()
            boards += 1
            claim(world.one, boards)
    assert deaths > 10
    world.one.enter()
    assert world.states() == {"generated": 7 - boards, "handed-over": 1, "claimed": boards}
    assert world.units() == {MAC.format(one): f"LMP-00000{one}" for one in range(1, boards + 1)}
    assert world.one.lease_states() == {"generated": 1, "claimed": boards}
