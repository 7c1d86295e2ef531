"""Tests of `rmfab logs prune`: what is removed, and what never is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rmfab.files import oldest_writer, sweep, writer_in
from tests.terminal import Terminal, dialogue, environment

NOW = datetime.now(UTC)
OTHERS = (
    "notes.log",
    "LMP-000001.log",
    "LMP-000001-20260101T000000.000Z.log.gz",
    "LMP-000001-20261301T000000.000Z.log",
    ".LMP-000001-20200101T000000.000Z.log",
    "-20200101T000000.000Z.log",
    "report.xml",
)


def name(days: float, unit: str = "LMP-000001") -> str:
    """Return the name of a console log that is *days* old."""
    moment = NOW - timedelta(days=days)
    return f"{unit}-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z.log"


@pytest.fixture
def logs(lamp: Path) -> Path:
    """A folder of logs that are 1, 10, 40 and 400 days old, with other files."""
    folder = lamp / "logs"
    folder.mkdir(exist_ok=True)
    for days in (1, 10, 40, 400):
        (folder / name(days)).write_text("x" * 1000)
    for other in OTHERS:
        (folder / other).write_text("keep")
    (folder / name(500, "folder")).mkdir()
    (folder / name(600, "link")).symlink_to(folder / "notes.log")
    return folder


def ages(logs: Path) -> list[int]:
    return [days for days in (1, 10, 40, 400) if (logs / name(days)).exists()]


@pytest.mark.parametrize(
    ("argv", "left"),
    [
        (("--older", "30d"), [1, 10]),
        (("--older", "48h"), [1]),
        (("--older", "52w"), [1, 10, 40]),
        (("--older", "1m"), []),
        (("--keep", "3"), [1, 10, 40]),
        (("--keep", "0"), []),
        (("--keep", "9"), [1, 10, 40, 400]),
        (("--older", "5d", "--keep", "3"), [1, 10, 40]),
        (("--older", "30d", "--keep", "1"), [1, 10]),
    ],
    ids=str,
)
def test_what_is_removed(terminal: Terminal, logs: Path, argv: tuple[str, ...], left: list[int]) -> None:
    """A log goes if it is older than AGE and not one of the newest COUNT; nothing that is not a console log goes.

    A dry run prints the same and removes nothing; a second run finds nothing."""
    before = sorted(path.name for path in logs.iterdir())
    plan = terminal("-C", logs.parent, "logs", "prune", *argv, "--dry-run")
    assert f"; {len(left)} left" in plan.err
    planned = plan.out
    assert sorted(path.name for path in logs.iterdir()) == before
    document = json.loads(terminal.well("-C", logs.parent, "logs", "prune", *argv, "--yes", "--json"))
    assert ages(logs) == left
    gone = [name(days) for days in (400, 40, 10, 1) if days not in left]
    assert document == {"removed": gone, "bytes": 1000 * len(gone), "left": len(left), "dry_run": False}
    assert planned.split() == gone
    assert sorted([*gone, *(path.name for path in logs.iterdir())]) == before
    said = terminal("-C", logs.parent, "logs", "prune", *argv, "--yes")
    assert (said.code, said.out) == (0, "")
    assert f"removed 0 console logs, 0.0 MB; {len(left)} left" in said.err


@pytest.mark.parametrize(
    "argv",
    [(), ("--older", "30"), ("--older", "-1d"), ("--older", "d"), ("--older", "1y"), ("--keep", "-1"), ("--keep", "x")],
    ids=" ".join,
)
def test_what_is_no_rule(terminal: Terminal, logs: Path, argv: tuple[str, ...]) -> None:
    """Without a rule, or with one that makes no sense, nothing is removed."""
    terminal("-C", logs.parent, "logs", "prune", *argv, "--yes").refused(2)
    assert ages(logs) == [1, 10, 40, 400]


def test_a_question_comes_first(terminal: Terminal, logs: Path) -> None:
    """On a terminal it asks, and "no" removes nothing; without one it requires --yes."""
    terminal("-C", logs.parent, "logs", "prune", "--keep", "0").refused(2, "--yes")
    assert ages(logs) == [1, 10, 40, 400]
    argv = ("-C", logs.parent, "logs", "prune", "--keep", "2")
    code, screen = dialogue(*argv, cwd=logs, answers=[("Remove 2 console logs, 0.0 MB?", "n")])
    assert (code, ages(logs)) == (2, [1, 10, 40, 400]), screen
    code, screen = dialogue(*argv, cwd=logs, answers=[("Remove 2 console logs, 0.0 MB?", "y")])
    assert (code, ages(logs)) == (0, [1, 10]), screen


def test_logs_of_runs_under_way_stay(terminal: Terminal, logs: Path) -> None:
    """A log that was written since the start of a run that is under way is not removed; older ones are. When that run
    has ended, or was killed, its logs are as all others."""
    code = "import sys; from pathlib import Path; from rmfab.files import writer_in\n"
    code += "with writer_in(Path(sys.argv[1])):\n    print('ready', flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", code, logs]
    fresh = logs / name(-1)  # the names of the others may be hours old by now
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        fresh.write_text("under way")
        terminal.well("-C", logs.parent, "logs", "prune", "--keep", "0", "--yes")
        assert ages(logs) == []
        assert fresh.exists()
        run.kill()
    terminal.well("-C", logs.parent, "logs", "prune", "--keep", "0", "--yes")
    assert not fresh.exists()
    assert list(logs.glob(".writer*")) == []


def test_a_writer_is_noted_and_gone(tmp_path: Path) -> None:
    """A writer counts from its start until its end, several by the oldest; a folder that is read-only is no error."""
    assert oldest_writer(tmp_path) is None
    with writer_in(tmp_path), writer_in(tmp_path):
        sweep(tmp_path)
        start = oldest_writer(tmp_path)
        assert start is not None
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []
    with writer_in(tmp_path / "nowhere"):
        assert not os.path.lexists(tmp_path / "nowhere")


def test_what_a_killed_writer_left(tmp_path: Path) -> None:
    """The next writer in a folder removes what one that was killed has left there."""
    code = "import os, signal, sys; from pathlib import Path; from rmfab.files import writer_in\n"
    code += "with writer_in(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code, tmp_path], env=environment(), check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with writer_in(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_logs(terminal: Terminal, fan: Path) -> None:
    """A workspace without logs has nothing to remove, and gets no folder."""
    said = terminal("-C", fan, "logs", "prune", "--keep", "5")
    assert said.code == 0
    assert "removed 0 console logs" in said.err
    assert not (fan / "logs").exists()
