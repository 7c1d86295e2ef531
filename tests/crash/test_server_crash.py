"""Commands whose server fails, or the way to it, at any moment: nothing is doubled, nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.crash.faults import SHORT_PATIENCE, ServerFault, build_library
from tests.crash.harness import Round
from tests.crash.scenarios import SCENARIOS
from tests.crash.server_world import new_server_world
from tests.crash.world import found_template
from tests.line.zygote import Zygote
from tests.patience import PATIENCE
from tests.postgres import running_server
from tests.terminal import ROOT, environment

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


@dataclass(frozen=True)
class Loop:
    """The loop of `./dev bench --crash` as a process, and the file with what it has *said*."""

    process: subprocess.Popen[bytes]
    said: Path


@pytest.fixture(scope="module", autouse=True)
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A loop at work beside all tests of this file: most of the time, each of them waits for the end of a fault."""
    folder = tmp_path_factory.mktemp("loop")
    options = {"worlds": "server", "kills": FAULTS, "claims": 0, "seed": SEED, "folder": folder / "worlds"}
    argv = [sys.executable, "-m", "tests.crash", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(argv, cwd=ROOT, env=environment(), stdout=said, stderr=said)
    yield Loop(process, folder / "said")
    process.send_signal(signal.SIGINT)  # if nobody has waited for its end: it stops its server
    process.wait(PATIENCE)


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


def test_three_faults(loop: Loop) -> None:
    """After each of 3 kills and faults of the server, everything holds, and the same command goes on."""
    assert loop.process.wait(5 * PATIENCE) == 0, loop.said.read_text()
