"""^C at every step, while the board is mute: the unit is ABORTED within a second; and the limit of each step."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

import rmfab
from rmfab.ledger.events import Outcome
from rmfab.line import step_limits
from rmfab.line.events import Step, StepEnded
from rmfab.line.job import UpdatePlan
from tests.line.floor import beside, copied, found, looked_at, serve, spec
from tests.line.proxy import GarblingProxy
from tests.line.test_moments import before_step
from tests.patience import PATIENCE, Metronome

pytestmark = pytest.mark.slow

SOON_SECONDS = 1.5
"""Of a Metronome: what a stop may take while the machine runs this process."""
SERIAL_STEPS = (Step.DETECT, Step.CLAIM, Step.FLASH, Step.READBACK, Step.BOOT, Step.IDENTIFY, Step.RESET)


def mute_from(monkeypatch, proxy, step, url):
    """Return an event that is set when *step* starts on a board that is silent from then on."""
    started = threading.Event()

    def silence():
        proxy.mute.set()
        started.set()

    before_step(monkeypatch, step, url, silence)
    return started


def stopped_at(factory, request, started):
    """Run the line and stop it half a second after *started*.

    Return the verdict, the last step, and the seconds (of a Metronome) until that ended.
    """
    run = rmfab.run_line(factory.workspace, request)
    ended, moments = [], {}

    def stop():
        assert started.wait(PATIENCE)
        time.sleep(0.5)
        moments["stop"] = clock.time()
        run.stop()

    hand = threading.Thread(target=stop)
    with Metronome() as clock:
        hand.start()
        with pytest.raises(KeyboardInterrupt):
            ended.extend((event, clock.time()) for event in run.events() if isinstance(event, StepEnded))
        hand.join()
    last, moment = ended[-1]
    (unit,) = run.ended
    return unit, last, moment - moments["stop"]


@pytest.mark.parametrize("step", SERIAL_STEPS)
def test_a_mute_board(factory, monkeypatch, step):
    """A board that falls silent as a step starts is ABORTED within a second of ^C, and keeps its identity."""
    with serve([spec()]) as (board,):
        proxy = GarblingProxy(board.url)
        with proxy as url:
            started = mute_from(monkeypatch, proxy, step, url)
            request = rmfab.LineRequest(ports=(url,), unit_urls=(board.provisioning_url,))
            ended, last, seconds = stopped_at(factory, request, started)
    assert (last.step, last.outcome, last.cause) == (step, Outcome.ABORTED, "aborted"), last.reason
    assert (ended.outcome, ended.cause) == (Outcome.ABORTED, "aborted")
    assert seconds < SOON_SECONDS
    assert "failed" not in factory.states().values()
    factory.check()


@pytest.mark.parametrize("fault", ["stalled-session", "just-in-time=5"])
def test_a_unit_that_does_not_answer_its_phone(founded, tmp_path, monkeypatch, fault):
    """A unit that stalls provisioning is ABORTED after ^C, not FAIL."""
    factory = copied(founded, tmp_path / "ws")
    factory.edit("answer_timeout = 60.0", "answer_timeout = 120.0")
    started = threading.Event()
    with serve([spec(faults=(fault,))]) as (board,):
        before_step(monkeypatch, Step.PROVISION, board.url, started.set)
        request = rmfab.LineRequest(ports=(board.url,), unit_urls=(board.provisioning_url,))
        ended, last, seconds = stopped_at(factory, request, started)
    assert (last.step, ended.outcome, ended.cause) == (Step.PROVISION, Outcome.ABORTED, "aborted")
    assert seconds < SOON_SECONDS


def test_a_unit_that_ends_together_with_the_line(factory, monkeypatch):
    """What breaks because ^C also ends what the step talks to is not the unit's fault."""
    with serve([spec()]) as (board,):
        run = rmfab.run_line(factory.workspace, rmfab.LineRequest(ports=(board.url,)))

        def both():
            run.floor._stop.set()
            run.floor.stopped = True
            raise rmfab.errors.UnitFault("the unit did not answer", cause="stalled")

        before_step(monkeypatch, Step.BOOT, board.url, both)
        with pytest.raises(KeyboardInterrupt):
            list(run.events())
    (ended,) = run.ended
    assert (ended.outcome, ended.cause) == (Outcome.ABORTED, "aborted")


def test_a_fixture_that_hangs(factory, monkeypatch):
    """A fixture's command that hangs is killed by ^C; the slot does not wait for it."""
    started = threading.Event()
    with serve([spec()]) as (board,):
        command = [sys.executable, "-c", "import time; time.sleep(1000)", "{mode}"]
        (factory.root / "station.toml").write_text(
            f'[station]\nname = "bench"\n\n[[slot]]\nname = "A1"\nport = "{board.url}"\nrestart = {command!r}\n'
        )
        before_step(monkeypatch, Step.DETECT, "A1", started.set)
        ended, _, seconds = stopped_at(factory, rmfab.LineRequest(), started)
    assert ended.outcome is Outcome.ABORTED
    assert seconds < SOON_SECONDS


def test_a_server_that_never_agrees(factory):
    """^C also ends the wait for a port that accepts a connection and then says nothing."""
    import socket

    with ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as mute:
        run = rmfab.run_line(
            factory.workspace, rmfab.LineRequest(ports=(f"rfc2217://127.0.0.1:{mute.getsockname()[1]}",))
        )
        stop = beside(lambda: (held.enter_context(mute.accept()[0]), run.stop()))
        with stop, pytest.raises(KeyboardInterrupt):
            list(run.events())
    assert [unit.cause for unit in run.ended] == ["aborted"]


def test_between_two_boards(factory, monkeypatch):
    """^C ends the search for the next board, too."""
    with serve([spec(faults=("no-sync",))]) as (board,):
        run = rmfab.run_line(factory.workspace, rmfab.LineRequest(ports=(board.url,), loop=True))
        stop = beside(lambda: (looked_at(board, 2), run.stop()))
        with stop, pytest.raises(KeyboardInterrupt):  # a loop ends only so
            list(run.events())


def test_the_limit_of_a_step(factory, monkeypatch):
    """A board that answers every command in time, but slowly, does not keep its slot: ERROR `step-timeout`."""
    for name, value in (("_LOADER_SECONDS", 1.0), ("_MB_SECONDS", 0.0)):
        monkeypatch.setattr(step_limits, name, value)
    monkeypatch.setattr(step_limits, "_sending", lambda _: 0.0)
    with serve([spec(paced=9600)]) as (board,):
        said = factory.run(board.url, command="flash", extra=("--baud", "9600"))
    assert said.verdict == ("ERROR", "step-timeout")
    assert "took more than 1 s" in said.unit["reason"]


def test_every_step_has_a_limit(tmp_path):
    """Each step that works on a board has a limit of minutes; where the radio is shared, a step has its own."""
    factory = found(tmp_path / "ws", units=1)
    run = rmfab.run_line(factory.workspace, rmfab.LineRequest(ports=("/dev/a",)))
    job = replace(run.floor._job, update=UpdatePlan(None, None, None, 60.0, lambda: 0))
    limits = {step: step_limits.limit_of(step, job) for step in Step}
    assert {step for step, limit in limits.items() if limit is None} == {Step.PROVISION, Step.RECHECK, Step.LABEL}
    assert all(30 <= limit <= 600 for limit in limits.values() if limit is not None)
