"""The loop: choose a row, start it, kill it, look; until it ends well."""

from __future__ import annotations

import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rmfab.workspace.workspace import open_workspace
from tests.crash.faults import Fault, build_library
from tests.crash.invariants import judge_boards, judge_end, judge_factory, judge_ledger
from tests.crash.scenarios import Command, Scenario, choose, last_run
from tests.crash.world import BOARDS, FACTORY_BOARDS, World, found_template, new_world
from tests.line.zygote import Zygote

KILLS_PER_ROUND = 20
_TRIES = 6


@dataclass
class Tally:
    """What was done: *kills* by scenario and moment, commands that ended before their kill, and the faults found."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    full: Counter[str] = field(default_factory=Counter)
    escaped: int = 0
    commands: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many processes were killed."""
        return sum(self.kills.values())

    def lines(self) -> list[str]:
        """Return the report."""
        rows = sorted({name for name, _ in self.kills} | set(self.full))
        moments = sorted({moment for _, moment in self.kills})
        lines = [f"{'':22}" + "".join(f"{moment:>13}" for moment in (*moments, "disk full"))]
        for name in rows:
            numbers = [*(self.kills[name, moment] for moment in moments), self.full[name]]
            lines.append(f"{name:22}" + "".join(f"{number:13}" for number in numbers))
        lines.append(
            f"{self.killed} kills and {sum(self.full.values())} full disks in {self.rounds} rounds; {self.escaped} "
            f"commands ended before their moment, {self.commands} ended well; {len(self.faults)} faults"
        )
        return lines


class Harness:
    """Kills commands in worlds below *folder* until there were *kills*, or *seconds* have passed, or a fault is found.

    A world with a fault is kept.
    """

    def __init__(self, folder: Path, seed: int, kills: int, seconds: float, say: Callable[[str], None]):
        self._folder = folder
        self._chance = Random(seed)
        self._kills = kills
        self._deadline = time.monotonic() + seconds
        self._say = say
        self._boards = self._chance.randrange(60000)
        self._lengths: dict[str, tuple[float, int]] = {}  # seconds and changes of files of each row, as last seen
        self.tally = Tally()

    @property
    def _goes_on(self) -> bool:
        return self.tally.killed < self._kills and time.monotonic() < self._deadline

    def run(self) -> Tally:
        """Run rounds; return what was done."""
        library = build_library(self._folder)
        template = found_template(self._folder / "template")
        with Zygote(library) as zygote:
            while self._goes_on and not self.tally.faults:
                self.tally.rounds += 1
                folder = self._folder / f"round-{self.tally.rounds}"
                self._boards += BOARDS + FACTORY_BOARDS
                with new_world(template, folder, self._boards % 60000) as world:
                    self._attempt(Round(zygote, world, folder / "out"), with_library=library is not None)
                if not self.tally.faults:
                    shutil.rmtree(folder)
        return self.tally

    def _attempt(self, round_: Round, *, with_library: bool) -> None:
        """Run a round; note what did not hold."""
        try:
            self._round(round_, with_library=with_library)
        except Exception as fault:  # noqa: BLE001 - reported with the world that shows it
            self.tally.faults.append(f"{round_.at}: {fault!r}")
            self._say(f"FAULT in {round_.told}\n{''.join(traceback.format_exception(fault))}")

    def _round(self, round_: Round, *, with_library: bool) -> None:
        """Kill until the round has its share, then let every board be run, and look at everything."""
        world, end = round_.world, self.tally.killed + KILLS_PER_ROUND
        judge_ledger(world, holds_pool=True)
        while self._goes_on and self.tally.killed < end:
            self._until_done(round_.chosen(self._chance), with_library=with_library)
        while world.phase != "works":
            round_.chosen(self._chance).to_the_end()
        round_.trial(*last_run(world)).to_the_end()
        judge_end(world)

    def _until_done(self, trial: Trial, *, with_library: bool) -> None:
        for _ in range(self._chance.randrange(1, _TRIES)):
            if self._once(trial, with_library=with_library):
                self.tally.commands += 1
                trial.finished()
                return
        trial.to_the_end()
        self.tally.commands += 1
        self._lengths[trial.row.name] = trial.length

    def _once(self, trial: Trial, *, with_library: bool) -> bool:
        """Start the command with one fault, and look; return whether it ended well all the same."""
        seconds, changes = self._lengths.get(trial.row.name, (1.0, 60))
        clock = self._chance.choice(trial.row.clocks)
        kinds = [None, *(list(Fault)[1:] if with_library else [])]
        kind = self._chance.choice(kinds)
        number = self._chance.randrange(1, changes + 1)
        was_done = trial.command.is_done()  # by a try that was killed: then it may refuse, also with a full disk
        if kind is None:
            code = trial.killed_after(self._chance.uniform(0, seconds), clock)
        else:
            code = trial.with_fault(kind, number, clock)
        if code == -signal.SIGKILL:
            self.tally.kills[trial.row.name, "by time" if kind is None else kind.name.lower().replace("_", " ")] += 1
        elif kind is Fault.FULL and code != 0 and not was_done:
            assert code in (4, 130), f"a full disk ended it with {code}: {trial.said}"
            self.tally.full[trial.row.name] += 1
        else:
            assert code == 0 or trial.command.is_done(), f"it ended with {code}: {trial.said}"
            self.tally.escaped += 1
        trial.look()
        return code == 0


@dataclass
class Round:
    """A round in *world*. *out* gets what a command prints. *last* is the command at work, None while there is none."""

    zygote: Zygote
    world: World
    out: Path
    last: Trial | None = None

    def chosen(self, chance: Random) -> Trial:
        """Prepare a command, and return it."""
        self.last = None  # what the preparation finds is not the fault of the command before
        return self.trial(*choose(self.world, chance))

    def trial(self, row: Scenario, command: Command) -> Trial:
        """Return the next command."""
        self.last = Trial(self.zygote, self.world, self.out, row, command)
        return self.last

    @property
    def at(self) -> str:
        """The name of the command at work."""
        return "preparation" if self.last is None else self.last.row.name

    @property
    def told(self) -> str:
        """What was done to the command at work, and what it printed."""
        if self.last is None:
            return f"the preparation of a command in {self.world.here}"
        command = " ".join(self.last.command.argv)
        return f"`{command}` in {self.world.here}: {self.last.history}\n{self.last.said}"


class Trial:
    """One command, tried until it ends well."""

    def __init__(self, zygote: Zygote, world: World, out: Path, row: Scenario, command: Command) -> None:
        self._zygote = zygote
        self.world = world
        self._out = out
        self.row = row
        self.command = command
        self.history: list[str] = []
        self.length = (1.0, 60)

    @property
    def said(self) -> str:
        """What the last try printed; nothing if it was killed before it opened the file for that."""
        return self._out.read_text(errors="replace")[-3000:] if self._out.exists() else ""

    def killed_after(self, seconds: float, clock: float) -> int:
        """Kill the command *seconds* after its start; return its exit code, or the signal."""
        self.history.append(f"killed after {seconds:.3f} s, clock {clock}")
        pid = self._start(None, clock)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        return self._zygote.wait(pid)

    def with_fault(self, fault: Fault, number: int, clock: float = 0.0) -> int:
        """Let *fault* happen at the *number*-th change of a file; return the exit code, or the signal."""
        self.history.append(f"{fault.name} at {number}, clock {clock}")
        return self._zygote.wait(self._start((int(fault), number), clock))

    def to_the_end(self) -> None:
        """Run the command without a fault, and judge: it ends well, or an earlier try has done everything."""
        began = time.monotonic()
        code = self.with_fault(Fault.COUNT, 0)
        assert code == 0 or self.command.is_done(), f"without a fault, it ended with {code}: {self.said}"
        seen = Path(f"{self._out}.seen")
        self.length = time.monotonic() - began, max(1, int(seen.read_text()))
        self.finished()

    def look(self) -> None:
        """Judge the ledger and the boards of the command."""
        given_away = self.command.gave_away()
        if given_away and self.command.replaces:
            self.world.forget()
        judge_ledger(self.world, holds_pool=self.world.phase == "works" and not given_away)
        if self.world.received:
            judge_factory(self.world)
        if self.command.boards:
            workspace = open_workspace(self.command.at or self.world.here)
            judge_boards(self.world, workspace, list(self.command.boards))

    def finished(self) -> None:
        """Judge what the command has done, and everything else again."""
        self.command.done()
        self.look()

    def _start(self, fault: tuple[int, int] | None, clock: float) -> int:
        pid = self._zygote.spawn()
        place = str(self.command.at or self.world.here)
        self._zygote.go(pid, ["-C", place, *self.command.argv], self._out, fault=fault, clock=clock)
        return pid


def report(tally: Tally, seed: int, say: Callable[[str], None]) -> int:
    """Print what was done; return the exit code."""
    for line in (f"seed {seed}", *tally.lines(), *tally.faults):
        say(line)
    return 1 if tally.faults else 0
