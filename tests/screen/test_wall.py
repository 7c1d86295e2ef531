"""The model of the screen: verdicts stay until the board is out, a FAIL until it is acknowledged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rmfab.errors import CloneError, PortError
from rmfab.ledger.events import Outcome
from rmfab.line.events import SlotHeld, Step, StepEnded, Stopped
from rmfab.screen.tile import Look
from rmfab.screen.wall import Wall
from tests.screen.stage import HEADING, at, empty, ended, failed, message, progress, service, step


@pytest.fixture
def wall() -> Wall:
    """A wall of two slots."""
    return Wall(HEADING, ("A1", "A2"), 0.0)


def take(wall: Wall, *events: object, now: float = 1.0) -> Look:
    """Let *wall* take *events* of A1; return how A1 looks then."""
    for event in events:
        wall.take(event, now)  # type: ignore[arg-type]
    return wall.tiles["A1"].look


def test_a_pass_stays_until_the_board_is_out(wall: Wall) -> None:
    """What the line says meanwhile does not take a verdict away; an empty slot does."""
    assert take(wall, *step("A1", Step.FLASH), ended("A1")) is Look.PASS
    assert take(wall, message("A1", "remove the board and insert the next one")) is Look.PASS
    assert take(wall, empty("A1")) is Look.EMPTY
    assert wall.tiles["A1"].unit == ""


def test_a_fail_stays_until_it_is_acknowledged(wall: Wall) -> None:
    """A board that is taken out leaves its FAIL on the screen until someone has seen it."""
    assert take(wall, *failed("A1"), empty("A1")) is Look.FAIL
    assert (wall.tiles["A1"].gone, wall.waiting_for_operator) == (True, ("A1",))
    assert (wall.acknowledge("A1"), wall.acknowledge("A1")) == (True, False)
    assert take(wall) is Look.EMPTY


def test_an_acknowledged_fail_stays_until_its_board_is_out(wall: Wall) -> None:
    """Acknowledging does not remove the verdict of a board that is still there."""
    take(wall, *failed("A1"))
    wall.acknowledge("A1")
    assert take(wall) is Look.FAIL
    assert take(wall, empty("A1")) is Look.EMPTY


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN])
def test_only_a_fail_wants_to_be_acknowledged(wall: Wall, outcome: Outcome) -> None:
    """Other verdicts go with their board."""
    assert take(wall, ended("A1", outcome)) is Look(outcome.value.lower())
    assert not wall.waiting_for_operator
    assert take(wall, empty("A1")) is Look.EMPTY


def test_an_error_of_the_port_stays(wall: Wall) -> None:
    """Whoever comes sees that a port went away, though its slot is empty since; the next board's start ends that."""
    gone = replace(ended("A1", Outcome.ERROR, "port-gone"), error=PortError("the port went away", cause="port-gone"))
    assert take(wall, gone, empty("A1")) is Look.ERROR
    assert take(wall, *step("A1", Step.DETECT)[:1]) is Look.WORKING


def test_the_next_board_waits(wall: Wall) -> None:
    """A board that waits behind a FAIL does not hide it; on an empty slot it is ready."""
    held = SlotHeld(*at("A1", None))
    assert take(wall, *failed("A1"), empty("A1"), held) is Look.FAIL
    wall.acknowledge("A1")
    assert take(wall) is Look.HELD
    assert take(wall, *step("A1", Step.DETECT)) is Look.WORKING


def test_a_unit_at_work(wall: Wall) -> None:
    """A tile counts steps and bytes; late progress of a step that is over is ignored."""
    take(wall, *step("A1", Step.DETECT), *step("A1", Step.FLASH)[:1], progress("A1", 30), now=5.0)
    tile = wall.tiles["A1"]
    assert (tile.look, tile.number, tile.steps, tile.part, tile.since) == (Look.WORKING, 3, 9, 0.3, 5.0)
    take(wall, *step("A1", Step.BOOT)[:1], progress("A1", 90), now=7.0)
    assert (wall.tiles["A1"].part, wall.tiles["A1"].began) == (None, 5.0)


def test_expected_seconds(wall: Wall) -> None:
    """What a step takes is the median of its last runs, on any slot."""
    assert wall.expected(Step.FLASH) is None
    take(wall, *(event for seconds in (10.0, 99.0, 12.0) for event in step("A2", Step.FLASH, seconds)))
    assert wall.expected(Step.FLASH) == 12.0


def test_marginal(wall: Wall) -> None:
    """A unit that passed with a step close to its limit looks different, and tells which."""
    close = StepEnded(*at("A1"), Step.PROVISION, Outcome.MARGINAL, "weak-signal", "-71 dBm", 1.0, {})
    assert take(wall, *step("A1", Step.FLASH), close, ended("A1")) is Look.MARGINAL
    last = wall.tiles["A1"].last
    assert last is not None
    assert last.marginal is close


def test_a_locked_slot(wall: Wall) -> None:
    """A lock is shown instead of a verdict, and goes when the slot is unlocked."""
    take(wall, *failed("A1"))
    wall.take(service("A1", "3 in a row"), 0.0)
    assert take(wall) is Look.LOCKED
    wall.take(service("A1", None), 0.0)
    assert take(wall) is Look.FAIL


def test_names(wall: Wall) -> None:
    """A scan finds a slot by its name, and a unit by serial or MAC, in either case; not a unit that is out."""
    take(wall, *failed("A1", serial="LMP-000007"))
    assert [wall.slot_of(name) for name in ("a2", "lmp-000007", "24:0A:C4:1F:67:7D", "LMP-000008", "")] == [
        "A2", "A1", "A1", None, None,
    ]  # fmt: skip
    wall.acknowledge("A1")
    take(wall, empty("A1"))
    assert wall.slot_of("LMP-000007") is None


def test_attempts_and_the_error_that_stops(wall: Wall) -> None:
    """The runs on a slot are kept, the newest first; the error that stops the line is kept."""
    take(wall, *failed("A1"), *step("A1", Step.FLASH), ended("A1"))
    assert [visited.look for visited in wall.visits("A1")] == [Look.PASS, Look.FAIL]
    assert [len(visited.steps) for visited in wall.visits("A1")] == [1, 2]
    error = CloneError("a clone")
    take(wall, Stopped(*at("A1", None), error))
    assert wall.stopped is error
