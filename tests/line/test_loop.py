"""--loop: one board after the other on one slot, until the batch is used up or Ctrl-C."""

from __future__ import annotations

import time
from itertools import count
from threading import Event
from types import SimpleNamespace

import pytest

from rmfab.board.port import open_port
from rmfab.board.restart import Auto
from rmfab.errors import PortError
from rmfab.line.events import SlotWaiting, UnitEnded
from rmfab.line.probe import Probe, probe
from rmfab.line.slot_watch import SlotWatch
from rmfab.line.station import Slot, SlotLink, host_station, slots_for
from rmfab.operations.run_line import LineRequest, run_line
from tests.line.floor import beside, found, interrupting, looks, serve, spec
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)
    monkeypatch.setattr("rmfab.line.slot_watch._FIRST_LOOK_SECONDS", 0.5)
    monkeypatch.setattr("rmfab.line.connection._RETURN_SECONDS", 0.5)


@pytest.fixture
def seen(monkeypatch):
    """What the line sees on its slots while it waits."""
    return looks(monkeypatch)


def factory_units(factory):
    """Return the verdicts so far."""
    return [event for event in factory.events() if a_unit(event)]


def a_unit(event):
    """Return whether an event is a verdict."""
    return event["event"] == "unit"


def test_until_the_batch_is_used_up(tmp_path):
    """Boards inserted one after the other each get an identity; the last one ends the loop, with totals and code 0."""
    factory = found(tmp_path / "ws", units=2)

    def swap():
        factory.wait_for(a_unit)
        board.control("swap")

    with serve([spec()]) as (board,), beside(swap):
        said = factory.run(board.url, extra=("--loop",))
    assert (said.code, [unit["outcome"] for unit in said.units]) == (0, ["PASS", "PASS"])
    assert len({unit["mac"] for unit in said.units}) == 2
    assert said.logs[-1] == "all batches of Lamp are used up; 2 units: 2 passed"
    assert [event["slot"] for event in said.events if event.get("text") == said.logs[-1]] == [None]
    assert any("no identities left" in word for word in said.logs)
    assert not any("the batch is finished" in word for word in said.logs), "no other slot is at work"
    assert "error" not in said.words
    assert len(factory.bindings()) == 2


def test_a_board_that_waits_when_nothing_is_left(tmp_path):
    """A board for which no identity is left ends the loop with exit code 3, after the units under work."""
    factory = found(tmp_path / "ws", units=1)
    with serve([spec(), spec(index=1)]) as boards:
        said = factory.run(*(board.url for board in boards), extra=("--loop",))
    assert said.code == 3
    assert {(unit["outcome"], unit["class"]) for unit in said.units} == {("PASS", None), ("ERROR", "batch-used-up")}
    assert said.words.count("all batches of Lamp are used up") == 1
    assert "hint: make more identities with `rmfab generate --count N`" in said.words


def test_an_error_that_was_cured_is_history(tmp_path, seen):
    """An ERROR and a FAIL count no more once the same units have passed: exit code 0, and each unit is counted once."""
    factory = found(tmp_path / "ws", units=3)

    def play():
        factory.wait_for(lambda event: a_unit(event) and event["outcome"] == "ERROR")
        seen.empty(one.url)
        one.control("return")
        factory.wait_for(lambda event: a_unit(event) and event["outcome"] == "FAIL")
        two.control("power off")
        seen.empty(two.url)
        two.control("fault none")
        two.control("power on")
        factory.wait_for(lambda event: a_unit(event) and event["outcome"] == "PASS", 2)
        two.control("swap")

    with serve([spec(faults=("vanish",)), spec(index=1, faults=("panic",))]) as (one, two), beside(play):
        said = factory.run(one.url, two.url, extra=("--loop",))
    assert said.code == 0, said.words
    assert {"ERROR", "FAIL"} < {unit["outcome"] for unit in said.units}
    assert (said.summary["passed"], said.summary["failed"], said.summary["errors"]) == (3, 0, 0)
    assert said.logs[-1].endswith("3 units: 3 passed")


def test_a_finished_board_keeps_running(factory, seen, monkeypatch):
    """A board that stays is not run again, and not even restarted, since it answers with its prompt; removed and
    inserted again, it is run again, with the same identity."""
    monkeypatch.setattr("rmfab.line.slot_watch._FIRST_LOOK_SECONDS", PATIENCE)
    gone, times = Event(), count()

    def play():
        factory.wait_for(a_unit)
        seen.more(board.url, 1)
        before = board.state()["restarts"]
        seen.more(board.url, 12)
        state = board.state()
        assert (state["mode"], state["restarts"], len(factory_units(factory))) == ("running", before, 1)
        board.control("power off")
        gone.set()
        seen.empty(board.url)
        board.control("power on")
        factory.wait_for(a_unit, 2)

    # Once the board is gone, its answer is overdue whenever the line looks at the clock.
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + (next(times) * PATIENCE if gone.is_set() else 0.0))
    monkeypatch.setattr("rmfab.line.slot_watch.time", clock)

    with serve([spec()]) as (board,), interrupting(play):
        said = factory.run(board.url, extra=("--loop",))
    assert [unit["outcome"] for unit in said.units] == ["PASS", "PASS"]
    assert said.code == 130
    assert list(factory.bindings().values()) == ["LMP-000001"]


def test_a_silent_board_is_probed_and_left_running(tmp_path, seen):
    """A unit without a console is asked for its MAC at times, and runs again afterwards; a different board is seen."""
    factory = found(tmp_path / "ws", units=2, console=False)

    def play():
        factory.wait_for(a_unit)
        before = board.state()["restarts"]
        until(lambda: board.state()["restarts"] >= before + 4, "it is not probed")
        until(lambda: board.state()["mode"] == "running", "it stays in its loader")
        assert len(factory_units(factory)) == 1
        board.control("swap")

    with serve([spec()]) as (board,), beside(play):
        said = factory.run(board.url, extra=("--loop",))
    assert [unit["outcome"] for unit in said.units] == ["PASS", "PASS"]
    assert said.code == 0


def test_board_without_a_mac_is_told_once(factory, seen):
    """A board in secure download mode, which reports no MAC, is rejected once, not repeatedly."""

    def play():
        factory.wait_for(a_unit)
        seen.more(board.url, 5)

    with serve([spec(faults=("secure-download",))]) as (board,), interrupting(play):
        said = factory.run(board.url, extra=("--loop",))
    assert said.verdict == ("FAIL", "secure-download-mode")


def test_busy_port_is_said(factory):
    """The line reports a port that is in use while it waits for it."""

    def play():
        factory.wait_for(lambda event: "in use by another program" in event.get("text", ""))
        held.close()
        factory.wait_for(a_unit)

    with serve([spec()]) as (board,):
        held = open_port(board.url)
        with interrupting(play):
            said = factory.run(board.url, extra=("--loop",))
    assert said.verdict == ("PASS", None)
    assert sum("in use by another program" in word for word in said.logs) == 1


def test_a_bad_board_does_not_end_the_loop(factory):
    """After a unit that FAILs the loop continues with the next board; the exit code is that of Ctrl-C."""

    def play():
        factory.wait_for(a_unit)
        board.control("swap")
        factory.wait_for(a_unit, 2)

    with serve([spec(faults=("panic",))]) as (board,), interrupting(play):
        said = factory.run(board.url, extra=("--loop",))
    assert [unit["outcome"] for unit in said.units] == ["FAIL", "PASS"]
    assert said.code == 130


def test_a_clone_ends_the_loop(factory, tmp_path):
    """A clone stops the line on every slot, with exit code 5."""
    one = spec(flash_file=tmp_path / "one.bin")
    with serve([one]) as (board,):
        factory.run(board.url, command="flash")
    clone = spec(index=1, flash_file=tmp_path / "clone.bin")
    clone.flash_file.write_bytes(one.flash_file.read_bytes())
    with serve([clone, spec(index=2)]) as boards:
        said = factory.run(*(board.url for board in boards), extra=("--loop",))
    assert said.code == 5
    assert ("FAIL", "clone") in {(unit["outcome"], unit["class"]) for unit in said.units}
    (stop,) = [word for word in said.logs if word.startswith("stop: ")]
    assert stop.endswith("keep this board apart, call the owner")
    asked = said.logs[said.logs.index(stop) :]
    assert not any("insert the next one" in word for word in asked)


def test_after_an_error_the_same_board_is_asked_for(factory):
    """After an ERROR of the port, the line asks for the same board, not for the next one."""

    def play():
        factory.wait_for(lambda event: "same board" in event.get("text", ""))

    with serve([spec(faults=("vanish",))]) as (board,), interrupting(play):
        said = factory.run(board.url, extra=("--loop",))
    assert said.units[0]["outcome"] == "ERROR"
    assert "fix the port, then insert the same board again" in said.logs
    assert not any("insert the next one" in word for word in said.logs)


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        ("port-absent", "waiting"),
        ("port-busy", "waiting"),
        ("no-answer", "waiting: a board may be in the slot but does not answer (no-answer)"),
        ("tx-path", "waiting: a board may be in the slot but does not answer (tx-path)"),
        ("noise", "waiting: a board may be in the slot but does not answer (noise)"),
    ],
)
def test_the_state_of_a_slot_without_a_board(monkeypatch, cause, state):
    """A slot whose port is there but silent may hold a dead board; the others wait."""

    def fails(*_):
        raise PortError("x", cause=cause)

    monkeypatch.setattr("rmfab.line.probe.open_port", fails)
    assert probe(Slot("A1", SlotLink("COM7", 921600, Auto())), lambda: None).waiting == state


def test_a_port_behind_a_network_that_is_not_there(monkeypatch):
    """A serial server that refuses connections is said to, in the slot's row and once in words; no board brings it."""
    link = SlotLink("rfc2217://127.0.0.1:1", 921600, Auto())
    seen = probe(Slot("A1", link), lambda: None)
    assert seen.waiting == "waiting: connection refused or host unreachable"
    assert "check host and port" in seen.missing
    seen = probe(Slot("A1", SlotLink("/dev/no", 921600, Auto())), lambda: None)
    assert (seen.absent, seen.waiting) == (True, "waiting")
    assert "no such port yet" in seen.missing


def test_a_removed_board_clears_its_slot(factory, monkeypatch):
    """When a finished board is taken out, and a dead one put in, the events say so, once each."""
    seen = [Probe("a"), Probe("a"), Probe(), Probe(), Probe(silent="no-answer"), Probe(silent="no-answer")]
    monkeypatch.setattr(SlotWatch, "look", lambda _watch: seen.pop(0) if seen else Probe("a"))
    verdicts, states = [], []

    def watch(run):
        for event in run.events():
            if isinstance(event, UnitEnded):
                verdicts.append(event.outcome.value)
                if len(verdicts) == 2:
                    run.stop()
            elif isinstance(event, SlotWaiting):
                states.append((len(verdicts), event.text))

    with serve([spec()]) as (board,):
        slot = slots_for((board.url,), host_station(), None, (board.provisioning_url,))
        with pytest.raises(KeyboardInterrupt):
            watch(run_line(factory.workspace, LineRequest(slots=slot, release=factory.root / "build", loop=True)))
    assert verdicts == ["PASS", "PASS"]
    assert states == [
        (1, "waiting"),
        (1, "waiting: a board may be in the slot but does not answer (no-answer)"),
    ]
