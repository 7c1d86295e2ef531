"""Commands whose server fails, or the way to it, at any moment: nothing is doubled, nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from tests.crash.faults import SHORT_PATIENCE, ServerFault, build_library
from tests.crash.harness import Harness, Round
from tests.crash.scenarios import SCENARIOS
from tests.crash.server_world import new_server_world
from tests.crash.world import found_template
from tests.line.zygote import Zygote
from tests.postgres import running_server

pytestmark = [
    pytest.mark.peers,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL"),
]

SEED = 20261129
FAULTS = 3
"""`test_each_fault` has all kinds, and `./dev bench --crash` hundreds: these are for the loop with two stations."""
MOMENTS = (0.05, 0.4)
"""Seconds after the start of a `flash`, most of which come before its end: one that ends first is tried again."""


def test_three_faults(tmp_path: Path) -> None:
    """After each of 3 kills and faults of the server, everything holds, and the same command goes on."""
    said: list[str] = []
    tally = Harness(tmp_path, SEED, FAULTS, 1e9, said.append, ("server",)).run()
    assert not tally.faults, "\n".join(said)
    assert tally.killed >= FAULTS


def test_each_fault(tmp_path: Path) -> None:
    """Each fault strikes a station at work; everything holds, and the station goes on."""
    chance = Random(SEED)
    (flash,) = (row for row in SCENARIOS if row.name == "flash")
    template = found_template(tmp_path / "template")
    with (
        running_server(durable=True) as server,
        new_server_world(server, template, tmp_path / "world", 50) as world,
        Zygote(build_library(tmp_path)) as zygote,
    ):
        for fault in ServerFault:
            command = flash.prepare(world, chance)
            assert command is not None
            trial = Round(zygote, world, tmp_path / "out").trial(flash, command)
            struck = False
            while not struck:
                trial.start(fault, patience=SHORT_PATIENCE if fault.freezes else None)
                struck = world.strike(fault, chance.uniform(*MOMENTS), trial, chance)
                code = trial.wait()
                assert code in (0, -9) or trial.blames_server(code), (fault, trial.said)
                trial.look()
            trial.to_the_end()
