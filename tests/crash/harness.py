"""The loop: choose a row, start it, kill it or its server, look; until it ends well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from rmfab.workspace.workspace import open_workspace
from tests.crash.faults import SHORT_PATIENCE, Fault, ServerFault, build_library
from tests.crash.invariants import judge_boards, judge_end, judge_factory, judge_ledger, judge_reported
from tests.crash.scenarios import Command, Scenario, beside, choose, last_run
from tests.crash.world import BOARDS, FACTORY_BOARDS, World, found_template, new_world
from tests.line.zygote import Zygote

KINDS = ("file", "server")
KILLS_PER_ROUND = 20
_TRIES = 6
_FULL = "disk full"
_AWAY = {"ledger-away", "ledger-locked"}
"""The causes with which a command may end while its server is away: a connection that was lost may still hold locks."""


@dataclass
class Tally:
    """What was done: *kills* and faults of servers by world, scenario and moment; the same of *full* disks.

    *escaped* commands ended before their moment, *away* ones said that the server is, *beside* them others worked.
    """

    kills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    full: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    escaped: int = 0
    away: int = 0
    beside: int = 0
    commands: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many processes were killed, or their servers failed."""
        return self.kills.total()

    def lines(self) -> list[str]:
        """Return the report: a table for each kind of world."""
        numbers = self.kills + self.full
        return [
            *(line for kind in KINDS for line in _table(kind, numbers)),
            f"{self.killed} kills and {self.full.total()} full disks in {self.rounds} rounds",
            f"{self.beside} commands worked beside them, {self.escaped} ended before their moment",
            f"{self.away} said that the server is away, {self.commands} ended well, {len(self.faults)} faults",
        ]


def _table(kind: str, numbers: Counter[tuple[str, str, str]]) -> list[str]:
    """Return the *numbers* of one kind of world as a table by row and moment, nothing if there are none."""
    cells = {(row, moment): number for (world, row, moment), number in numbers.items() if world == kind}
    moments = sorted({moment for _, moment in cells})
    lines = [f"{kind:22}" + "".join(f"{moment:>16}" for moment in (*moments, "all"))]
    for name in sorted({row for row, _ in cells}):
        row = [cells.get((name, moment), 0) for moment in moments]
        lines.append(f"{name:22}" + "".join(f"{number or '':>16}" for number in (*row, sum(row))))
    return lines if cells else []


class Harness:
    """Kills commands in worlds below *folder* until there were *kills*, or *seconds* have passed, or a fault is found.

    The worlds are of the *kinds* in turn. One with a fault is kept.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        kills: int,
        seconds: float,
        say: Callable[[str], None],
        kinds: Sequence[str] = KINDS[:1],
    ):
        self._folder = folder
        self._chance = Random(seed)
        self._kills = kills
        self._deadline = time.monotonic() + seconds
        self._say = say
        self._kinds = kinds
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
        with _makers(self._kinds) as makers, Zygote(library) as zygote:
            while self._goes_on and not self.tally.faults:
                self.tally.rounds += 1
                folder = self._folder / f"round-{self.tally.rounds}"
                self._boards += BOARDS + FACTORY_BOARDS
                make = makers[self.tally.rounds % len(makers)]
                with make(template, folder, self._boards % 60000) as world:
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
            round_.world.keep()

    def _round(self, round_: Round, *, with_library: bool) -> None:
        """Kill until the round has its share, then let every board be run, and look at everything."""
        world, end = round_.world, self.tally.killed + KILLS_PER_ROUND
        judge_ledger(world, holds_pool=True)
        while self._goes_on and self.tally.killed < end:
            self._until_done(round_.chosen(self._chance), with_library=with_library)
        while world.phase != "works":
            round_.chosen(self._chance).to_the_end()
        for station in world.stations:
            round_.trial(*last_run(world, station)).to_the_end()
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
        in_process = [None, *(list(Fault)[1:] if with_library else ())]
        kind = self._chance.choice([*in_process, *trial.server_faults])
        was_done = trial.command.is_done()  # by a try that was killed: then it may refuse, also with a full disk
        other = trial.beside(self._chance) if self._chance.random() < 0.5 else None
        if other is not None:
            self.tally.beside += 1
            other.start("no fault", patience=_patience(kind))
        code, struck = self._strike(trial, kind)
        self._count(trial, kind, code, may_refuse=was_done, struck=struck)
        if other is not None:
            self._count_other(other, struck=struck or _patience(kind) is not None)
        trial.look()
        return code == 0

    def _strike(self, trial: Trial, kind: Fault | ServerFault | None) -> tuple[int, bool]:
        """Start the command, and let the fault happen; return its exit code or signal, and whether a server failed."""
        seconds, changes = self._lengths.get(trial.row.name, (1.0, 60))
        clock = self._chance.choice(trial.row.clocks)
        moment = self._chance.uniform(0, seconds)
        if isinstance(kind, Fault):
            return trial.with_fault(kind, self._chance.randrange(1, changes + 1), clock), False
        if isinstance(kind, ServerFault):
            trial.start(f"{kind} after {moment:.3f} s", clock=clock, patience=_patience(kind))
            struck = trial.world.strike(kind, moment, trial, self._chance)
            return trial.wait(), struck
        trial.start(f"killed after {moment:.3f} s", clock=clock)
        time.sleep(moment)
        trial.kill()
        return trial.wait(), False

    def _count(
        self, trial: Trial, kind: Fault | ServerFault | None, code: int, *, may_refuse: bool, struck: bool
    ) -> None:
        """Judge how the command ended."""
        at = trial.world.kind, trial.row.name
        if struck or code == -signal.SIGKILL:
            name = kind.value if isinstance(kind, ServerFault) else _moment(kind)
            self.tally.kills[*at, name] += 1
            if code not in (0, -signal.SIGKILL) and not trial.command.is_done():
                assert trial.blames_server(code), f"a fault of its server ended it with {code}: {trial.said}"
                self.tally.away += 1
        elif kind is Fault.FULL and code != 0 and not may_refuse:
            assert code in (4, 130), f"a full disk ended it with {code}: {trial.said}"
            self.tally.full[*at, _FULL] += 1
        elif _patience(kind) is not None and trial.blames_server(code):
            self.tally.away += 1  # nothing struck, but this host was slower than the command's short patience
        else:
            assert code == 0 or trial.command.is_done(), f"it ended with {code}: {trial.said}"
            self.tally.escaped += 1

    def _count_other(self, other: Trial, *, struck: bool) -> None:
        """Judge how the command beside it ended, and repeat it if its server failed, or seemed to."""
        code = other.wait()
        if code != 0:
            assert struck, f"beside a command that was killed, it ended with {code}: {other.said}"
            assert other.blames_server(code), f"a fault of its server ended it with {code}: {other.said}"
            other.to_the_end()
        else:
            other.finished()


def _patience(kind: Fault | ServerFault | None) -> float | None:
    """Return how long commands wait for a ledger, None: as always."""
    return SHORT_PATIENCE if isinstance(kind, ServerFault) and kind.freezes else None


def _moment(kind: Fault | None) -> str:
    return "by time" if kind is None else kind.name.lower().replace("_", " ")


@contextmanager
def _makers(kinds: Sequence[str]) -> Iterator[list[Callable[[Path, Path, int], AbstractContextManager[World]]]]:
    """Yield a function for each of *kinds* that makes a world, with a server that they need."""
    with ExitStack() as stack:
        makers: list[Callable[[Path, Path, int], AbstractContextManager[World]]] = []
        if "file" in kinds:
            makers.append(new_world)
        if "server" in kinds:
            from tests.crash.server_world import new_server_world
            from tests.postgres import running_server

            makers.append(partial(new_server_world, stack.enter_context(running_server(durable=True))))
        yield makers


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
        return f"`{command}` in {self.last.place}: {self.last.history}\n{self.last.said}"


class Trial:
    """One command, tried until it ends well."""

    def __init__(self, zygote: Zygote, world: World, out: Path, row: Scenario, command: Command) -> None:
        self._zygote = zygote
        self.world = world
        self._out = out
        self.row = row
        self.command = command
        self.place = command.at or world.here
        self.history: list[str] = []
        self.length = (1.0, 60)
        self._pid = 0

    def beside(self, chance: Random) -> Trial | None:
        """Return what a station does at the same time, None if no other works on the ledger."""
        chosen = beside(self.world, chance, self.command)
        return chosen and Trial(self._zygote, self.world, self._out.with_name("out-beside"), *chosen)

    @property
    def server_faults(self) -> Sequence[ServerFault]:
        """What may happen to the server of its ledger, if it has one."""
        return self.world.server_faults if self.place in self.world.stations else ()

    @property
    def said(self) -> str:
        """What the last try printed; nothing if it was killed before it opened the file for that."""
        return self._text[-3000:]

    @property
    def _text(self) -> str:
        return self._out.read_text(errors="replace") if self._out.exists() else ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that the last try printed, without one that was cut short."""
        lines = [line for line in self._text.splitlines() if line.startswith('{"event"')]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def blames_server(self, code: int) -> bool:
        """Return whether the last try ended with *code* because its server was away."""
        ends = [event for event in self.events if event["event"] in ("error", "unit")]
        causes = {one["class"] for event in ends for one in event.get("errors", [event])} - {None}
        return code == 4 and bool(causes) and causes <= _AWAY

    def start(
        self, what: str, *, fault: tuple[Fault, int] | None = None, clock: float = 0.0, patience: float | None = None
    ) -> None:
        """Start the command; *what* is done to it. See `Zygote.go`."""
        self.history.append(f"{what}, clock {clock}")
        self._out.unlink(missing_ok=True)
        self._pid = self._zygote.spawn()
        argv = ["-C", str(self.place), *self.command.argv, "--json"]
        self._zygote.go(self._pid, argv, self._out, fault=fault, clock=clock, patience=patience)

    def runs(self) -> bool:
        """Return whether it has not ended yet."""
        return self._zygote.runs(self._pid)

    def kill(self) -> None:
        """Kill it."""
        os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit code, or the signal."""
        return self._zygote.wait(self._pid)

    def with_fault(self, fault: Fault, number: int, clock: float = 0.0) -> int:
        """Let *fault* happen at the *number*-th change of a file; return the exit code, or the signal."""
        self.start(f"{fault.name} at {number}", fault=(fault, number), clock=clock)
        return self.wait()

    def to_the_end(self) -> None:
        """Run the command without a fault, and judge: it ends well, or an earlier try has done everything."""
        began = time.monotonic()
        self.start("no fault", fault=(Fault.COUNT, 0) if self._zygote.counts else None)
        code = self.wait()
        assert code == 0 or self.command.is_done(), f"without a fault, it ended with {code}: {self.said}"
        changes = int(Path(f"{self._out}.seen").read_text()) if self._zygote.counts else 0
        self.length = time.monotonic() - began, max(1, changes)
        self.finished()

    def look(self) -> None:
        """Judge the ledger, the boards of the command, and what it has reported."""
        self.world.settle()
        given_away = self.command.gave_away()
        if given_away and self.command.replaces:
            self.world.forget()
        judge_ledger(self.world, holds_pool=self.world.phase == "works" and not given_away)
        if self.world.received:
            judge_factory(self.world)
        if self.command.boards:
            judge_reported(open_workspace(self.place), self.events)
            judge_boards(self.world, open_workspace(self.place), list(self.command.boards))

    def finished(self) -> None:
        """Judge what the command has done, and everything else again."""
        self.command.done()
        self.look()


def report(tally: Tally, seed: int, say: Callable[[str], None]) -> int:
    """Print what was done; return the exit code."""
    for line in (f"seed {seed}", *tally.lines(), *tally.faults):
        say(line)
    return 1 if tally.faults else 0
