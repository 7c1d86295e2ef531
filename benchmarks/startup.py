"""Start-up: `rmfab --help`, `rmfab status`, and `rmfab flash` until its first byte on the port.

Each runs as a whole command in its own process, in turns with a floor: Python that imports only what the command cannot
do without. The CPU time of `flash` includes that of compressing the firmware, on the other core. The port is an RFC
2217 proxy in front of a virtual board, which notes when it is opened and when the first byte for the chip arrives. In
between, esptool is imported and the reset lines are pulled for 0.15 s (esptool 5.6, reset.py, ClassicReset).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.serving import serve
from rmfab.virtual.spec import BoardSpec

HELP_RATIO, STATUS_SECONDS, OPEN_SECONDS, FIRST_BYTE_RATIO = 1.2, 0.120, 0.400, 1.4

EMPTY = """
import click
group = click.Group("rmfab", params=[click.Option(["-C", "folder"]), click.Option(["-q", "--quiet"], is_flag=True)])
for name in {names!r}:
    group.add_command(click.Command(name, help="nothing"))
group.main(["--help"], prog_name="rmfab", standalone_mode=False)
"""
STATUS_FLOOR = "import click, sqlite3"
FLASH_FLOOR = "import click, esptool.cmds, cryptography.x509, sqlalchemy, time; time.sleep(0.15)"
FIRST_BYTE = b"\xc0\x00\x08"
"""The start of the SYNC command in its SLIP frame (esptool documentation, "Serial Protocol")."""

RMFAB = (sys.executable, "-m", "rmfab")
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass(frozen=True)
class Taken:
    """What a process took: seconds of wall clock, CPU seconds, and for `flash` the seconds until the port was open."""

    wall: float
    cpu: float
    opened: float = 0.0


def main(argv: list[str] | None = None) -> int:
    """Print the times and ratios; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args(argv).rounds
    from benchmarks.flash import make_workspace
    from benchmarks.real_like import make_real_like_build
    from rmfab.cli import COMMANDS

    floor, ours = in_turns(rounds, EMPTY.format(names=tuple(COMMANDS)), lambda: run([*RMFAB, "--help"]))
    missed = report("rmfab --help", "the same group, empty commands", floor, ours, ours.wall / floor.wall / HELP_RATIO)
    with tempfile.TemporaryDirectory(prefix="rmfab-bench-") as folder:
        root = make_workspace(Path(folder) / "ws", 100).root
        make_real_like_build(root / "build")
        floor, ours = in_turns(rounds, STATUS_FLOOR, lambda: run([*RMFAB, "-C", str(root), "status"]))
        missed |= report("rmfab status", "its imports", floor, ours, ours.wall / STATUS_SECONDS)
        with serve([BoardSpec(chip=Chip.ESP32C3)]) as boards, NotingProxy(boards[0].url) as proxy:
            floor, ours = in_turns(rounds, FLASH_FLOOR, lambda: flash(root, proxy))
        part = ours.wall / floor.wall / FIRST_BYTE_RATIO
        missed |= report("rmfab flash, until the first byte", "its imports, reset", floor, ours, part)
        part = ours.opened / OPEN_SECONDS
        print(f"{'rmfab flash, until the port is open':<34} {ours.opened * 1e3:5.0f} ms  {part:.2f} of the target")
    return missed | int(part > 1)


def in_turns(rounds: int, floor: str, ours: Callable[[], Taken]) -> tuple[Taken, Taken]:
    """Return the medians of a Python program and of *ours*, each run *rounds* times, in turns, after a warm-up."""
    pairs = [(run([sys.executable, "-c", floor]), ours()) for _ in range(rounds + 1)][1:]
    return median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])


def median(taken: list[Taken]) -> Taken:
    """Return the median of each field."""
    return Taken(*(statistics.median(getattr(one, field.name) for one in taken) for field in fields(Taken)))


def run(argv: list[str]) -> Taken:
    """Run a command to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, **QUIET)
    cpu = ended(process)
    return Taken(time.perf_counter() - began, cpu)


def flash(root: Path, proxy: NotingProxy) -> Taken:
    """Run `rmfab flash` on the board behind *proxy* until the first byte for its chip, and kill it there."""
    proxy.first_byte.clear()
    began = time.perf_counter()
    argv = [*RMFAB, "-C", str(root), "flash", "--port", proxy.url, "--release", str(root / "build")]
    process = subprocess.Popen(argv, **QUIET)
    came = proxy.first_byte.wait(20)
    process.kill()
    cpu = ended(process)
    if not came:
        raise SystemExit("benchmark failed: no byte on the port; run the same command by hand to see why")
    return Taken(proxy.sent - began, cpu, proxy.opened - began)


def ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end of *process* and return its CPU seconds."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"benchmark failed: exit code {process.returncode}")
    return used.ru_utime + used.ru_stime


class NotingProxy:
    """A proxy on loopback to the port *url*. It notes when the last client *opened* it and *sent* its first byte."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self.opened = self.sent = 0.0
        self.first_byte = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.opened = time.perf_counter()
            with client, socket.create_connection(self._target) as board, contextlib.suppress(ConnectionError):
                self._forward(client, board)

    def _forward(self, client: socket.socket, board: socket.socket) -> None:
        while True:
            for ready in select.select([client, board], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                if ready is client and FIRST_BYTE in data and not self.first_byte.is_set():
                    self.sent = time.perf_counter()
                    self.first_byte.set()
                (board if ready is client else client).sendall(data)


def report(what: str, of: str, floor: Taken, ours: Taken, part: float) -> int:
    """Print one row; return 1 if the target is missed: *part* is what was taken of it."""
    print(f"{what:<34} {ours.wall * 1e3:6.0f} ms ({ours.cpu * 1e3:.0f} ms CPU)", end="")
    print(f"  {ours.wall / floor.wall:5.2f}x {of} ({floor.wall * 1e3:.0f} ms, {floor.cpu * 1e3:.0f} ms CPU)", end="")
    print(f"  {part:.2f} of the target", flush=True)
    return int(part > 1)


if __name__ == "__main__":
    sys.exit(main())
