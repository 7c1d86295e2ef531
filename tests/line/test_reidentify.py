"""`rmfab reidentify`: the board of a returned unit gets a different identity, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
from pathlib import Path

import pytest

from rmfab.cli import main
from tests.line.floor import copied, found, ports, serve, spec
from tests.line.zygote import Zygote

pytestmark = pytest.mark.slow

OLD, NEW = "LMP-000001", "LMP-000002"
AT_ONCE = 7
EVERY_UNIT = "wrong_pop_every = 50", "wrong_pop_every = 1"  # every unit then gets the same number of commands


def words(board, unit=OLD, reason="returned"):
    """Return the words of the command for the board."""
    return ["reidentify", unit, *ports(board.url, command="run"), "--reason", reason, "--yes"]


def void(factory):
    """Void the old unit by hand."""
    with contextlib.redirect_stderr(io.StringIO()):
        assert main(["-C", str(factory.root), "void", OLD, "--reason", "torn off", "--yes"]) == 0


def live(factory, mac):
    """Return the serials of the live units of a MAC."""
    with factory.ledger() as ledger:
        found = ledger.find(mac)
    return {one.serial for one in found if one.state != "void"}


def test_a_returned_unit_gets_a_different_identity(factory):
    """The old identity is void, the new one is verified on the same board, and the board proves it."""
    with serve([spec()]) as (board,):
        assert factory.run(board.url).code == 0
        said = factory.do(*words(board), "--operator", "op-3")
        assert (said.code, said.verdict, said.unit["serial"]) == (0, ("PASS", None), NEW)
        assert live(factory, said.unit["mac"]) == {NEW}
        assert f"{OLD} is void; its board is {NEW}" in said.words
        assert factory.run(board.url, command="verify").unit["serial"] == NEW
    factory.check()


def test_both_serials_are_in_the_trace(factory):
    """The trace of each serial names the other; both events have the operator, and are of one transaction."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
        factory.do(*words(board), "--operator", "op-3")
    with factory.ledger() as ledger:
        (void,) = (one for one in ledger.history(OLD) if one.event.kind == "void")
        (claim,) = (one for one in ledger.history(NEW) if one.event.kind == "claim")
    assert (void.event.details["successor"], claim.event.details["predecessor"]) == (NEW, OLD)
    assert (void.event.reason, void.event.details["operator"]) == ("returned", "op-3")
    assert void.seq < claim.seq


def test_the_same_command_again_changes_nothing(factory):
    """Repeated after its end, the command verifies the new identity again, and gives no third one."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
        assert factory.do(*words(board)).code == 0
        said = factory.do(*words(board))
    assert (said.code, said.unit["serial"]) == (0, NEW)
    with factory.ledger() as ledger:
        assert ledger.free("Lamp") == 6


@pytest.mark.parametrize("state", ["live", "void"])
def test_a_different_board_on_the_port(factory, state):
    """On the wrong board nothing is changed: neither is the unit void, nor does the board get an identity."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
    if state == "void":
        void(factory)
    with serve([spec(index=1)]) as (other,):
        said = factory.do(*words(other))
    assert said.verdict == ("ERROR", "serial-mismatch")
    assert said.code == 3
    assert factory.states() == {OLD: "void" if state == "void" else "verified"}
    factory.check()


def test_a_board_that_has_a_third_identity(factory):
    """A void unit whose board has got a different identity since, by itself, is not reidentified by its old serial."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
        void(factory)
        factory.run(board.url)
        said = factory.do(*words(board))
        assert said.verdict == ("ERROR", "serial-mismatch")
        assert "which did not replace" in said.unit["reason"]
        assert factory.do(*words(board, NEW)).unit["serial"] == "LMP-000003"


def test_a_unit_that_was_void_before(factory):
    """A unit that was voided by hand, and whose board has none since, gets its successor by the same command."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
        void(factory)
        said = factory.do(*words(board))
    assert (said.code, said.unit["serial"]) == (0, NEW)


def test_a_batch_that_is_used_up(factory):
    """Without a free identity nothing is changed: the unit keeps its own."""
    with serve([spec(index=n) for n in range(8)]) as boards:
        assert factory.run(*(board.url for board in boards)).code == 0
        held = factory.bindings()
        own = factory.run(boards[0].url, command="verify").unit["serial"]
        said = factory.do(*words(boards[0], own))
    assert said.code == 3
    assert factory.bindings() == held
    assert set(factory.states().values()) == {"verified"}
    factory.check()


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["reidentify", OLD, "--port", "A1", "--reason", " ", "--yes"], "usage"),
        (["reidentify", "LMP-000009", "--port", "/dev/no", "--reason", "x", "--yes"], "bad-input"),
        (["reidentify", OLD, "--port", "/dev/no", "--reason", "x", "--yes"], "state"),
    ],
    ids=["no reason", "unknown", "never bound"],
)
def test_refused_before_the_port_is_opened(factory, argv, cause):
    """A reason is required, and a unit that is bound to a board."""
    assert factory.do(*argv).refusal[1] == [cause]


def test_nobody_confirms_it(factory):
    """Without a terminal and without --yes, nothing is changed."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
        said = factory.do(*words(board)[:-1])
    assert said.refusal == (3, ["no-terminal"])
    assert factory.states() == {OLD: "verified"}


def test_serials_that_come_with_the_board(tmp_path):
    """With serials from the MAC, both identities have one serial: the same command still gives no third one."""
    factory = found(tmp_path / "ws", edits=(('serial = "LMP-{n:06d}"', 'serial = "L-{mac}"'),))
    with serve([spec()]) as (board,):
        serial = factory.run(board.url).unit["serial"]
        for _ in range(2):
            said = factory.do(*words(board, serial))
            assert (said.code, said.unit["serial"]) == (0, serial)
        with factory.ledger() as ledger:
            assert sorted(one.state.value for one in ledger.find(serial)) == ["verified", "void"]
        assert factory.do(*words(board, serial, reason="returned again")).code == 0
        with factory.ledger() as ledger:
            assert sorted(one.state.value for one in ledger.find(serial)) == ["verified", "void", "void"]
    factory.check()


@pytest.fixture(scope="module")
def zygote():
    """The parent process of all killed commands."""
    with Zygote() as one:
        yield one


def judge_killed(factory):
    """Check that a killed command left one live identity; return its board's MAC."""
    factory.check()
    (mac,) = factory.bindings()
    assert live(factory, mac) == {NEW if factory.states()[OLD] == "void" else OLD}
    return mac


@pytest.fixture(scope="module")
def passed(founded, tmp_path_factory):
    """A factory with one unit that has passed, and the file with the flash of its board. No test changes them."""
    folder = tmp_path_factory.mktemp("passed")
    factory, flash = copied(founded, folder / "ws"), folder / "flash.bin"
    factory.edit(*EVERY_UNIT)
    with serve([spec(flash_file=flash)]) as (board,):
        assert factory.run(board.url).code == 0
    return factory, flash


def copy_of(passed, folder):
    """Copy the factory with the unit to *folder*; return the copy, and the file with the flash."""
    factory, flash = passed
    return copied(factory, folder), Path(shutil.copy(flash, folder.with_suffix(".bin")))


def killed_and_repeated(zygote, passed, folder, deaths):
    """Kill one command for each of *deaths*: a fault of its board, or None, and a moment for `Zygote.go`, or None.

    Check that each left at most one live identity, and that the same command continues. A few run at once.
    """
    for start in range(0, len(deaths), AT_ONCE):
        _killed_at_once(zygote, passed, folder / str(start), deaths[start : start + AT_ONCE])


def _killed_at_once(zygote, passed, folder, deaths):
    pids = [zygote.spawn() for _ in deaths]
    copies = [copy_of(passed, folder / str(pid)) for pid in pids]
    specs = [
        spec(flash_file=own, faults=() if fault is None else (fault,), kill_pid=pid)
        for pid, (_, own), (fault, _) in zip(pids, copies, deaths, strict=True)
    ]
    with serve(specs) as boards:
        at_work = [(factory, board) for (factory, _), board in zip(copies, boards, strict=True)]
        for pid, (factory, board), (_, die) in zip(pids, at_work, deaths, strict=True):
            zygote.go(pid, ["-C", str(factory.root), *words(board), "--json"], folder / f"{pid}.out", die)
        assert {zygote.wait(pid) for pid in pids} == {-signal.SIGKILL}
        macs = [judge_killed(factory) for factory, _ in at_work]
        again = [zygote.spawn() for _ in deaths]
        for pid, (factory, board) in zip(again, at_work, strict=True):
            board.control("fault none")
            zygote.go(pid, ["-C", str(factory.root), *words(board), "--json"], folder / f"{pid}.out")
        for pid, (factory, _), mac in zip(again, at_work, macs, strict=True):
            assert zygote.wait(pid) == 0, (folder / f"{pid}.out").read_text()
            assert factory.states() == {OLD: "void", NEW: "verified"}
            assert live(factory, mac) == {NEW}
            factory.check()


def test_killed_at_every_durable_boundary(zygote, passed, tmp_path):
    """Killed right before or after any transaction: at most one live identity, and the same command continues."""
    moments = [("claim", 1), *(("record", number) for number in range(1, 9))]
    deaths = [(None, (method, when, number)) for method, number in moments for when in ("before", "after")]
    killed_and_repeated(zygote, passed, tmp_path, deaths)


def test_killed_at_the_nth_command(zygote, passed, tmp_path):
    """Killed at commands of the board all over the run: at most one live identity, and the same command continues."""
    probe, own = copy_of(passed, tmp_path / "probe")
    with serve([spec(flash_file=own)]) as (board,):
        assert probe.do(*words(board)).code == 0
        sure = board.state()["commands"] - 10  # a host that had to wait synchronizes again
    deaths = [(f"kill-at={at}", None) for at in range(1, sure + 1, sure // 12)]
    killed_and_repeated(zygote, passed, tmp_path, deaths)
