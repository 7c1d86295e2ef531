"""A terminal for tests: rmfab's entry point in this process, or in a separate one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rmfab.cli import main
from tests.patience import PATIENCE
from tests.pools import copied_with_pool

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Said:
    """The result of a command."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """Assert that it ended with *code* and printed all *words* on stderr, without a bug report or traceback."""
        assert self.code == code, self.err
        for word in words:
            assert word in self.err, (word, self.err)
        assert "Traceback" not in self.err + self.out
        assert "a bug in rmfab" not in self.err
        assert self.err.startswith("rmfab: "), self.err


class Terminal:
    """A terminal that runs rmfab in *folder*, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        monkeypatch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("RMFAB_") and name != "RMFAB_STATE"]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(folder))

    def __call__(self, *argv: str | Path) -> Said:
        """Run the command with these arguments."""
        self._capsys.readouterr()
        code = main([str(word) for word in argv])
        out, err = self._capsys.readouterr()
        return Said(code, out, err)

    def well(self, *argv: str | Path) -> str:
        """Run a command that must succeed; return its stdout."""
        said = self(*argv)
        assert said.code == 0, said.err
        return said.out


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that finds this rmfab, without RMFAB_ variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RMFAB_") or name == "RMFAB_STATE"}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def words(*argv: str | Path) -> list[str]:
    """Return the command line of an rmfab process."""
    return [sys.executable, "-m", "rmfab", *map(str, argv)]


def process(*argv: str | Path, cwd: Path, **more: str) -> Said:
    """Run rmfab as a separate process; *more* is added to its environment."""
    done = subprocess.run(
        words(*argv), cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=5 * PATIENCE
    )
    return Said(done.returncode, done.stdout, done.stderr)


def dialogue(*argv: str | Path, cwd: Path, answers: Sequence[tuple[str, str]], **more: str) -> tuple[int, str]:
    """Run rmfab on a pseudo-terminal, and answer each prompt of *answers* in order; return exit code and screen."""
    return on_terminal(words(*argv), cwd=cwd, answers=answers, **more)


def on_terminal(command: list[str], cwd: Path, answers: Sequence[tuple[str, str]], **more: str) -> tuple[int, str]:
    """Run *command* on a pseudo-terminal as `dialogue` does; what it prints must contain every prompt."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execve(command[0], command, environment(**({"TERM": "xterm", "COLUMNS": "200"} | more)))
    screen, read, waiting = "", 0, list(answers)
    while chunk := _read(terminal):
        screen += chunk
        if waiting and re.search(rf"{re.escape(waiting[0][0])}.*: ", screen[read:]):
            read = len(screen)
            os.write(terminal, f"{waiting.pop(0)[1]}\n".encode())
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert not waiting, (waiting, screen)
    return code, screen


def _read(terminal: int) -> str:
    """Return what the child printed next, the empty text once it has closed its side."""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:
        return ""


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below *folder* with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copied(source: Path, target: Path) -> Path:
    """Copy the workspace *source*; the copy gives identities as the original does."""
    return copied_with_pool(source, target)
