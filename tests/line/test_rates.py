"""The rate of a slot on the line: what its events say, and what the host remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rmfab.virtual.chip.bridge import BridgeKind
from tests.line.floor import found, serve, spec
from tests.patience import give_boards_their_turn

pytestmark = pytest.mark.slow


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    """Give the host a state folder of its own."""
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "state"))
    give_boards_their_turn(monkeypatch)
    return tmp_path / "state"


def test_a_slot_climbs_from_run_to_run(tmp_path, state):
    """Each board that passes `flash` raises its slot's rate; the events name it, and rates.json remembers it."""
    factory = found(tmp_path / "ws", units=2)
    with serve([spec(bridge=BridgeKind.CP2104)]) as (board,):
        rates = [factory.run(board.url, command="flash").step("detect")["measurements"]["baud"] for _ in range(5)]
        (row,) = json.loads((state / "rates.json").read_text())["slots"]
    assert rates == [921600, 1_000_000, 1_500_000, 2_000_000, 2_000_000]
    assert (row["port"], row["bridge"], row["baud"]) == (board.url, "10c4:ea60", 2_000_000)


def test_falling_shows_in_the_step(tmp_path, state):
    """A rate that falls in the middle of a write shows in the step `flash`; the unit passes."""
    factory = found(tmp_path / "ws", units=2, app_size=256 * 1024)
    with serve([spec(faults=("worn-cable=921600",), bridge=BridgeKind.CP2102N)]) as (board,):
        factory.run(board.url, command="flash")
        board.control("swap worn-cable=921600")
        said = factory.run(board.url, command="flash")
    assert said.code == 0, said.unit["reason"]
    assert said.step("detect")["measurements"]["baud"] == 1_000_000
    assert said.step("flash")["measurements"]["baud"] == 921600


def test_a_number_is_a_fixed_rate(tmp_path, state):
    """--baud and a number in station.toml neither climb nor are remembered."""
    factory = found(tmp_path / "ws", units=1)
    with serve([spec(bridge=BridgeKind.CP2102N)]) as (board,):
        for _ in range(2):
            said = factory.run(board.url, command="flash", extra=("--baud", "1500000"))
            assert said.step("detect")["measurements"]["baud"] == 1_500_000
    assert not (state / "rates.json").exists()
