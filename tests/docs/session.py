"""A reader at a shell: runs the blocks of a page in order, in a scratch folder, with virtual boards for real ones."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from rmfab.operations.serve_boards import BoardsRequest
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardHandle, BoardSpec, serve
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.faults import FaultCall
from tests.docs.pages import DOCS, Block, Command, Stage
from tests.docs.seat import Seat
from tests.docs.shown import Learned, missing
from tests.terminal import environment

HOME = "/home/me"
"""What pages call the reader's home folder; the scratch folder takes its place."""

_SECONDS = 600.0
_PORT = re.compile(r"(?:--port|-p) /dev/ttyUSB(\d+)")
_WITH_UNIT = re.compile(r"rmfab\b[^|;&]*\b(run|verify) ")


class Running:
    """A command line in bash, its output gathered line by line."""

    def __init__(self, script: str, cwd: Path, variables: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    def ended(self) -> int:
        """The exit code, once the command has ended."""
        code = self._process.wait(_SECONDS)
        self._reader.join(_SECONDS)
        return code if code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to everything that the command line started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @property
    def runs(self) -> bool:
        """Whether the command has not ended."""
        return self._process.poll() is None


class Session:
    """A shell in *folder*, which is the reader's home; *rmfab* is the program of that name. Leave it with `close`."""

    def __init__(self, folder: Path, rmfab: str) -> None:
        self._home = folder
        self._variables = environment(**_settings(folder, rmfab))
        self._learned = Learned()
        self._boards: list[BoardHandle] = []
        self._bench = contextlib.ExitStack()
        self._serving: list[Running] = []
        self._seats: list[Seat] = []
        self._written: dict[Path, str] = {}
        self._code = 0

    def close(self) -> None:
        """Stops what still runs."""
        for running in self._serving:
            running.signal(signal.SIGTERM)
            running.ended()
        for seat in self._seats:
            seat.close()
        self._bench.close()

    def prepare(self, stage: Stage) -> None:
        """Makes a firmware's build folder, replaces the boards, sits at the screen, or does what was done before."""
        match stage.word:
            case "firmware":
                path, project, version = stage.rest.split()
                recipe = FirmwareRecipe(Chip.ESP32C3, project=project, version=version, app_size=0x20000)
                make_build_folder(Path(path.replace("~", str(self._home))), recipe)
            case "boards":
                self._bench.close()
                self._boards = self._bench.enter_context(serve(board_specs(shlex.split(stage.rest))))
                for path, text in self._written.items():
                    path.write_text(self._on_boards(text), encoding="utf-8")
            case "until":
                self._seats[-1].until(stage.rest)
            case "keys":
                for key in stage.rest.split():
                    self._seats[-1].press(key)
            case _:
                done = Running(stage.rest, self._home, self._variables | {"PWD": str(self._home)})
                assert done.ended() == 0, f"{stage.rest}\n{_all(done)}"

    def run(self, block: Block) -> None:
        """Does with *block* what its mark says."""
        if block.mark == "file":
            self._written[self._cwd / block.rest] = block.text
            (self._cwd / block.rest).write_text(self._on_boards(block.text), encoding="utf-8")
        elif block.mark == "screen":
            self._seats += [Seat(self._real(one.text), self._cwd, self._variables) for one in block.commands]
        elif block.language == "python":
            (self._cwd / "example.py").write_text(block.text, encoding="utf-8")
            self._run(Command(block.line, "python example.py", ()), None)
        else:
            following = [*block.commands[1:], None]
            for command, after in zip(block.commands, following, strict=True):
                self._serve(command) if block.mark == "serve" else self._run(command, after)

    @property
    def _cwd(self) -> Path:
        return Path(self._variables["PWD"])

    def _run(self, command: Command, after: Command | None) -> None:
        state = self._home / ".state"
        script = f"set -a; (exit {self._code})\n{self._real(command.text)}\ncode=$?; env -0 >'{state}'; exit $code"
        running = Running(script, self._cwd, self._variables)
        interrupted = "^C" in command.output
        if interrupted:
            before = command.output[: command.output.index("^C")]
            self._await(running, command, before)
            running.signal(signal.SIGINT)
        self._code = running.ended()
        self._compare(running, command, [line for line in command.output if line != "^C"])
        if not interrupted:
            expected = after is not None and after.text == "echo $?"
            if self._boards and command.text.split("#")[0].strip() == "rmfab ports" and self._code == 4:
                self._code = 0  # the reader's boards are on USB, ours are not ports of this host
            assert expected or self._code == 0, (
                f"line {command.line}: exit {self._code}: {command.text}\n{_all(running)}"
            )
            self._variables = dict(line.split("=", 1) for line in state.read_text().split("\0") if "=" in line)

    def _serve(self, command: Command) -> None:
        running = Running(f"exec {self._real(command.text)}", self._cwd, self._variables)
        self._serving.append(running)
        self._await(running, command, command.output)

    def _await(self, running: Running, command: Command, shown: tuple[str, ...]) -> None:
        """Waits until all *shown* lines have been printed."""
        until = time.monotonic() + _SECONDS
        while missing(shown, self._as_shown(running), self._learned) and running.runs and time.monotonic() < until:
            time.sleep(0.05)
        self._compare(running, command, list(shown))

    def _compare(self, running: Running, command: Command, shown: list[str]) -> None:
        lacking = missing(shown, self._as_shown(running), self._learned)
        assert not lacking, (
            f"line {command.line}: `{command.text}` printed no line like {lacking[0]!r}\n{_all(running)}"
        )

    def _as_shown(self, running: Running) -> list[str]:
        """The output so far, with the reader's names for ports and home."""
        text = "\n".join(running.lines).replace(str(self._home), HOME)
        for number, board in enumerate(self._boards):
            text = text.replace(board.url, f"/dev/ttyUSB{number}")
        return text.splitlines()

    def _real(self, text: str) -> str:
        """A command line as it runs here: values of this run, and virtual boards for ports."""
        with_unit = _WITH_UNIT.search(text) is not None

        def port(match: re.Match[str]) -> str:
            board = self._boards[int(match[1])]
            return f"--port {board.url}" + (f" --unit-url {board.provisioning_url}" if with_unit else "")

        return _PORT.sub(port, self._learned.real(text)).replace(HOME, str(self._home))

    def _on_boards(self, text: str) -> str:
        """A station.toml whose n-th port is the n-th board, with the address of its unit."""
        boards, text = iter(self._boards), self._learned.real(text)

        def slot(_: re.Match[str]) -> str:
            board = next(boards)
            return f'port = "{board.url}"\nunit = "{board.provisioning_url}"'

        return re.sub(r'(?m)^port = "/dev/[^"]*"', slot, text)


def board_specs(options: list[str]) -> list[BoardSpec]:
    """What `rmfab board` with *options* would serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--mac")
    parser.add_argument("--fault", type=FaultCall.parse, action="append", default=[], dest="faults")
    given = parser.parse_args(options)
    return BoardsRequest(count=given.count, mac=given.mac, faults=tuple(given.faults)).specs()


def _settings(home: Path, rmfab: str) -> dict[str, str]:
    """The reader's environment: rmfab on the PATH, and files in place of typed passphrases."""
    tools = home / ".local" / "bin"
    tools.mkdir(parents=True)
    python = [sys.executable]
    programs = {
        name: f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n'
        for name, command in (("python", python), ("esptool", [*python, "-m", "esptool"]))
    }
    for name, text in (programs | {"rmfab": rmfab}).items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    passphrase = home / ".passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    return {
        "HOME": str(home),
        "PWD": str(home),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "RMFAB_CA_PASSPHRASE_FILE": str(passphrase),
        "RMFAB_KEY_PASSPHRASE_FILE": str(passphrase),
        "DOCS": str(DOCS),
        "LC_ALL": "C.UTF-8",
    }


def _all(running: Running) -> str:
    return "\n".join(running.lines)
