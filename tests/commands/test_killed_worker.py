"""kill -9 of a worker or of the command, ^C and SIGTERM: nothing half-written, no orphan, the same command goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rmfab.workspace.workspace import open_workspace
from tests.commands.test_interrupted import TRIES, alive, begun, chunks, in_the_middle
from tests.patience import PATIENCE, until
from tests.terminal import Terminal, copied, files

UNITS = 1_200
ROWS = 20_000
MADE = 3_000
STANDING = 5
"""Chunks of the batches that are there before: one of three units, three of UNITS; and one of MADE."""
BUSY = 0.2
"""CPU seconds that a worker uses for its start and something more."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="/proc as Linux has it")]


@pytest.fixture(scope="module")
def full(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a batch for `build` and `label`, and CSVs for `nvs generate`."""
    from rmfab.cli import main

    lamp = copied(workshop / "lamp", tmp_path_factory.mktemp("full") / "lamp")
    assert main(["-C", str(lamp), "generate", "--batch", "big", "--count", str(UNITS)]) == 0
    rows = "".join(f"S-{number},{number:0128x}\n" for number in range(ROWS))
    (lamp / "rows.csv").write_text(f"serial,blob\n{rows}")
    (lamp / "columns.csv").write_text("space,namespace,\nserial,data,string\nblob,data,hex2bin\n")
    return lamp


@dataclass(frozen=True)
class Case:
    """A command whose workers are killed.

    *stage* tells, from the folder and the workers that were seen so far, whether those of interest are at work;
    *target* is what it writes.
    """

    argv: tuple[str, ...]
    target: str
    stage: Callable[[Path, list[int]], bool]
    files: int

    def incomplete(self, folder: Path) -> bool:
        """Whether only a part of the files is there, or none, and each of these is whole."""
        path = folder / self.target
        if not path.exists():
            return True
        found = files(path)
        assert not [name for name in found if name.endswith(".rmfab-tmp")]
        assert all(len(data) == 0x6000 for name, data in found.items() if name.endswith(".bin"))
        return len(found) < self.files

    def unfinished(self, folder: Path) -> bool:
        """Whether much is still to do."""
        if self.files == 0:
            return chunks(folder / "ledger.db") < STANDING + MADE // 500 - 2
        path = folder / self.target
        return not path.exists() or len(list(path.rglob("*.bin"))) < 0.45 * self.files


def cpu_seconds(pid: int) -> float:
    """What a process has used; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def second_crew(_: Path, seen: list[int]) -> bool:
    """Those that drew are gone, those that read are at work."""
    return len(seen) > 2 and cpu_seconds(seen[-1]) > BUSY


CASES = {
    "generate": Case(
        ("generate", "--count", str(MADE), "--batch", "new", "--jobs", "2"),
        "nowhere",
        lambda folder, _: chunks(folder / "ledger.db") > STANDING,
        0,
    ),
    "nvs-write": Case(
        ("nvs", "generate", "columns.csv", "rows.csv", "unit", "0x6000", "--outdir", "out"),
        "out",
        lambda folder, _: any((folder / "out" / "bin").glob("*.bin")),
        2 * ROWS,
    ),
    "label-draw": Case(("label", "big", "-o", "out/labels.pdf"), "out", lambda _, seen: cpu_seconds(seen[0]) > BUSY, 1),
    "label-read": Case(("label", "big", "-o", "out/labels.pdf"), "out", second_crew, 1),
    "build": Case(
        ("build", "big", "-o", "out"), "out", lambda folder, _: any((folder / "out" / "bin").glob("*.bin")), UNITS + 2
    ),
}


def workers_of(process: subprocess.Popen[str], seen: list[int]) -> list[int]:
    """The workers of a command; new ones are added to *seen* too."""
    found = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    seen.extend(pid for pid in found if pid not in seen)
    return found


def at_work(
    full: Path, root: Path, case: Case, *, freeze: bool = False
) -> tuple[Path, subprocess.Popen[str], list[int]]:
    """The folder, and in it the command of *case*, which SIGSTOP holds at the stage in question, with its workers.

    *freeze*: hold the last worker too, or it could finish all of its work meanwhile.
    """
    names = (f"lamp-{number}" for number in range(TRIES))
    seen: list[int] = []

    def begin() -> tuple[Path, subprocess.Popen[str]]:
        seen.clear()
        folder = copied(full, root / next(names))
        (folder / "out").mkdir(exist_ok=True)
        return folder, begun(folder, *case.argv)

    def reached(folder: Path, process: subprocess.Popen[str]) -> bool:
        workers = workers_of(process, seen)
        there = len(workers) == 2 and case.stage(folder, seen)
        if there and freeze:
            os.kill(workers[-1], signal.SIGSTOP)
        return there

    folder, process = in_the_middle(begin, reached, case.unfinished)
    return folder, process, workers_of(process, seen)


@pytest.mark.parametrize("name", CASES)
def test_a_worker_is_killed(terminal: Terminal, full: Path, name: str) -> None:
    """The command ends with 4 and says why, nothing half-written stays, and the same again succeeds."""
    case = CASES[name]
    folder, process, workers = at_work(full, terminal.folder, case, freeze=True)
    os.kill(workers[-1], signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    out, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (4, ""), told
    assert told.splitlines()[-2:] == [
        "rmfab: error: a worker process died",
        "rmfab: hint: run the command again; the machine may be out of memory",
    ]
    assert "Traceback" not in told
    assert alive(process.pid) == []
    assert case.incomplete(folder)
    assert printed(folder) == 0
    os.chdir(folder)
    terminal.well("-C", folder, *case.argv)
    assert not case.incomplete(folder) or case.files == 0
    assert printed(folder) == (UNITS if name.startswith("label") else 0)
    if name == "generate":
        with open_workspace(folder).ledger as ledger:
            assert sum(1 for _ in ledger.identities("new")) == MADE
            assert ledger.check() == ()


def printed(folder: Path) -> int:
    """How many units have a label, as the ledger says."""
    with sqlite3.connect(folder / "ledger.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM identity WHERE labelled_count > 0").fetchone()
    connection.close()
    return int(count)


# Each command gets a signal for the whole group, and one for itself alone; each signal, two commands.
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("nvs-write", "^C"),
        ("nvs-write", "SIGTERM"),
        ("label-draw", "hangup"),
        ("label-draw", "SIGKILL"),
        ("label-read", "^C"),
        ("label-read", "SIGTERM"),
        ("build", "hangup"),
        ("build", "SIGKILL"),
    ],
)
def test_the_command_is_ended(full: Path, tmp_path: Path, name: str, how: str) -> None:
    """^C, SIGTERM and a terminal that closes end a command with 130 and leave no file. No worker outlives a command."""
    case = CASES[name]
    folder, process, _ = at_work(full, tmp_path, case)
    if how in ("^C", "hangup"):
        os.killpg(process.pid, signal.SIGINT if how == "^C" else signal.SIGHUP)
    else:
        process.send_signal(getattr(signal, how))
    process.send_signal(signal.SIGCONT)
    _, told = process.communicate(timeout=PATIENCE)
    until(lambda: alive(process.pid) == [], "processes stayed")
    if how == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
        return
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == "rmfab: interrupted; run the same command again to continue"
    assert "Traceback" not in told
    assert case.incomplete(folder)
