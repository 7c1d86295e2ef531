"""The operator's screen with 32 slots at 200x60: its CPU and memory, beside a Textual application that shows nothing.

Each runs on a pseudo-terminal in a process of its own, which only this program reads. At rest, all slots wait. At work,
every slot flashes: ten times a second it tells its progress, and once in four seconds it ends a unit and starts the
next, which is faster than any line.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import resource
import select
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

WIDTH, HEIGHT, SLOTS = 200, 60, 32
CPU_PART, MEGABYTES = 0.15, 120
_PROGRESS_SECONDS, _UNIT_SECONDS = 0.1, 4.0


@dataclass(frozen=True)
class Used:
    """What a process used: CPU seconds for each second on the screen, and megabytes of memory at most."""

    cpu: float
    megabytes: float


def main(argv: list[str] | None = None) -> int:
    """Print CPU and memory; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--child", choices=tuple(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--note", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        options.note.write_text(measure(KINDS[options.child], options.seconds), encoding="utf-8")
        return 0
    used = {kind: on_terminal(kind, options.seconds) for kind in KINDS}
    for kind, one in used.items():
        print(f"{kind:<36} {100 * one.cpu:5.1f} % of a core  {one.megabytes:4.0f} MB", flush=True)
    at_work = used["32 slots at work"]
    return int(at_work.cpu > CPU_PART or at_work.megabytes > MEGABYTES)


def on_terminal(kind: str, seconds: float) -> Used:
    """Run a screen of this *kind* on a pseudo-terminal, and read what it draws."""
    with tempfile.TemporaryDirectory(prefix="rmfab-bench-") as folder:
        note = Path(folder) / "used"
        pid, terminal = pty.fork()
        if pid == 0:
            argv = [sys.executable, "-m", "benchmarks.screen", "--child", kind, "--note", str(note)]
            os.environ["TERM"], os.environ["COLORTERM"] = "xterm-256color", "truecolor"
            os.execv(sys.executable, [*argv, "--seconds", str(seconds)])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        while select.select([terminal], [], [], seconds + 60)[0]:
            try:
                os.read(terminal, 1 << 16)
            except OSError:  # Linux: the last process at the other end has closed it
                break
        os.waitpid(pid, 0)
        os.close(terminal)
        cpu, megabytes = note.read_text(encoding="utf-8").split()
        return Used(float(cpu), float(megabytes))


def measure(show: Callable[[float], float], seconds: float) -> str:
    """Show a screen for *seconds* after its start, and return CPU part and megabytes."""
    cpu = show(seconds)
    return f"{cpu / seconds} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}"


def show_nothing(seconds: float) -> float:
    """Show an application without a widget; return its CPU seconds after its start."""
    from textual.app import App

    spent: list[float] = []
    app: App[None] = App()
    threading.Thread(target=lambda: _watched(seconds, spent, lambda _: None, app.exit), daemon=True).start()
    app.run(mouse=False)
    return spent[0]


def show_screen(seconds: float, *, at_work: bool) -> float:
    """Show the screen; return its CPU seconds after its start."""
    from rmfab.line.shifts import PER_DAY
    from rmfab.operations.run_line import RUN_STEPS
    from rmfab.operations.terminal import UNATTENDED
    from rmfab.report.period import recently
    from rmfab.screen.app import LineApp
    from rmfab.screen.desk import Desk
    from rmfab.screen.screen_terminal import ScreenTerminal
    from rmfab.screen.wall import Heading, Wall

    slots = [f"{'ABCD'[number // 8]}{number % 8 + 1}" for number in range(SLOTS)]
    wall = Wall(Heading("lamp", "bench", RUN_STEPS, "lamp-0001", "1.4.0"), slots, time.monotonic())
    terminal, now = ScreenTerminal(UNATTENDED), partial(datetime.now, UTC)
    desk = Desk(wall, None, terminal, lambda: recently(now(), PER_DAY))  # type: ignore[arg-type]  # nobody presses a key
    spent: list[float] = []

    def start(app: LineApp) -> None:
        feed = (lambda now: _tell(app, slots, now)) if at_work else (lambda _: None)
        threading.Thread(target=lambda: _watched(seconds, spent, feed, app.exit), daemon=True).start()

    LineApp(desk, start).run(mouse=False)
    return spent[0]


def _watched(seconds: float, spent: list[float], feed: Callable[[float], None], leave: Callable[[], object]) -> None:
    """Feed a screen for *seconds*, after one in which it starts; note the CPU seconds, and leave it."""
    time.sleep(1.0)
    before, began = time.process_time(), time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        feed(now)
        time.sleep(_PROGRESS_SECONDS)
    spent.append(time.process_time() - before)
    leave()


def _tell(app: object, slots: list[str], now: float) -> None:
    """Tell what 32 slots tell in a tenth of a second."""
    from rmfab.ledger.events import Outcome
    from rmfab.line.events import Step, StepEnded, StepProgress, StepStarted, UnitEnded

    for number, slot in enumerate(slots):
        at = now + number * _UNIT_SECONDS / SLOTS
        unit, into = divmod(at, _UNIT_SECONDS)
        origin = ("2026-01-01T00:00:00.000Z", "bench", slot, f"LMP-{int(unit) * SLOTS + number:06}", None)
        tell = app.tell  # type: ignore[attr-defined]
        if into < _PROGRESS_SECONDS:
            tell(StepEnded(*origin, Step.FLASH, Outcome.PASS, None, None, _UNIT_SECONDS, {}))
            tell(UnitEnded(*origin, Outcome.PASS, None, None, _UNIT_SECONDS, None))
            tell(StepStarted(*origin, Step.FLASH))
        tell(StepProgress(*origin, Step.FLASH, int(1000 * into), int(1000 * _UNIT_SECONDS)))


KINDS: dict[str, Callable[[float], float]] = {
    "Textual, showing nothing": show_nothing,
    "32 slots at rest": lambda seconds: show_screen(seconds, at_work=False),
    "32 slots at work": lambda seconds: show_screen(seconds, at_work=True),
}


if __name__ == "__main__":
    sys.exit(main())
