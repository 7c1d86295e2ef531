"""Commands that are killed, or run out of disk, at any moment: nothing is doubled, nothing is lost."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.faults import Fault, build_library
from tests.crash.harness import Harness
from tests.crash.scenarios import SCENARIOS
from tests.crash.world import PRODUCT, found_template, new_world
from tests.line.zygote import Zygote
from tests.terminal import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL")]

SEED = 20261128
KILLS = 15
"""Few enough for one round, with its end; `./dev bench --crash` kills hundreds."""
CROWD = 16


def test_fifteen_kills(tmp_path: Path) -> None:
    """After each of 15 kills, at moments drawn from a fixed seed, everything holds, and the same command goes on."""
    said: list[str] = []
    tally = Harness(tmp_path, SEED, KILLS, 1e9, said.append).run()
    assert not tally.faults, "\n".join(said)
    assert tally.killed >= KILLS


def test_every_row_has_a_name_of_its_own() -> None:
    """The report counts by name, and in every phase there is a row to choose."""
    assert max(Counter(row.name for row in SCENARIOS).values()) == 1
    assert {row.phase for row in SCENARIOS} == {"works", "copied", "moved"}
    assert all(row.weight > 0 for row in SCENARIOS)


def test_the_moments(tmp_path: Path) -> None:
    """The library counts what is done to files, kills before or after a write, tears one in two, and fills the disk."""
    library = build_library(tmp_path)
    if library is None:
        pytest.skip("no C compiler")
    code = (
        "import os, sys\nfrom tests.crash.faults import Fault, arm\n"
        "file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\narm(Fault(int(sys.argv[2])), 2)\n"
        "os.write(file, b'1111')\nos.write(file, b'2222')\nos.write(file, b'3333')\n"
    )
    expected = {
        Fault.COUNT: (0, b"111122223333"),
        Fault.KILL_BEFORE: (-signal.SIGKILL, b"1111"),
        Fault.KILL_AFTER: (-signal.SIGKILL, b"11112222"),
        Fault.TEAR: (-signal.SIGKILL, b"111122"),
        Fault.FULL: (1, b"1111"),
    }
    environment = dict(os.environ) | {"LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    for fault, (status, content) in expected.items():
        file = tmp_path / fault.name
        done = subprocess.run(
            [sys.executable, "-c", code, file, str(int(fault))], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, file.read_bytes()) == (status, content), done.stderr
        assert ("No space left on device" in done.stderr) == (fault is Fault.FULL)


_FULL = """
import os, sys
from pathlib import Path
from rmfab.ledger.store import Ledger
from tests.crash.faults import Fault, arm, seen
from tests.ledger.workshop import fresh
folder, step = Path(sys.argv[1]), int(sys.argv[2])
old = fresh(folder / "old.db")

def makes(place):
    Ledger.open(place / "new.db", create=True).close()

def copies(place):
    old.backup(place / "new.db")

for work in (makes, copies):
    number, done = step, False
    while not done:
        place = folder / f"{work.__name__}-{number}"
        place.mkdir()
        if (child := os.fork()) == 0:
            arm(Fault.FULL, number)
            try:
                work(place)
            finally:
                os._exit(int(seen() < number))
        done = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        number += step
os._exit(0)
"""


def test_a_disk_that_is_full_while_a_ledger_is_made(tmp_path: Path) -> None:
    """A new ledger or a backup for which the disk has no room is not there, or is whole; a backup never looks as if it
    held the pool."""
    library = build_library(tmp_path)
    if library is None:
        pytest.skip("no C compiler")
    environment = dict(os.environ) | {"LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    environment["RMFAB_STATE"] = str(tmp_path / "state")
    made = subprocess.run([sys.executable, "-c", _FULL, tmp_path, "3"], env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    found = list(tmp_path.glob("*-*/new.db"))
    assert found
    for path in found:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
            if path.parent.name.startswith("copies"):
                assert connection.execute("SELECT count(*) FROM meta WHERE name = 'copy'").fetchone() == (1,), path
                assert connection.execute("SELECT count(*) FROM meta WHERE name = 'holder'").fetchone() == (0,), path


def test_sixteen_processes_at_once(tmp_path: Path) -> None:
    """Of 16 commands on one ledger, every third is killed: the others end well, and none reports a lock."""
    template = found_template(tmp_path / "template")
    with Zygote() as zygote, new_world(template, tmp_path / "world", 40) as world:
        world.did("generate", "--count", "20", "--jobs", "1")
        serials = world.serials("generated")
        commands = [
            (["void", serials[n], "--reason", "crowd"], ["label", serials[-n - 1], "-o", str(world.here / f"{n}.png")])[
                n % 2
            ]
            for n in range(CROWD)
        ]
        pids = [zygote.spawn() for _ in commands]
        for n, (pid, argv) in enumerate(zip(pids, commands, strict=True)):
            zygote.go(pid, ["-C", str(world.here), *argv], tmp_path / f"{n}.out")
        chance = random.Random(SEED)
        for pid in pids[::3]:
            time.sleep(chance.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
        codes = [zygote.wait(pid) for pid in pids]
        outs = [tmp_path / f"{n}.out" for n in range(CROWD)]
        said = [out.read_text() if out.exists() else "" for out in outs]  # one that was killed at once has none
        for n, (code, text) in enumerate(zip(codes, said, strict=True)):
            assert code in ((0, -signal.SIGKILL) if n % 3 == 0 else (0,)), text
            assert not re.search(r"lock|busy", text), text
        with world.ledger() as ledger:
            assert ledger.check() == ()
            assert ledger.free(PRODUCT) == len(serials) - len(world.serials("void"))
            done = [n for n in range(0, CROWD, 2) if codes[n] == 0]
            assert {serials[n] for n in done} <= set(world.serials("void"))
