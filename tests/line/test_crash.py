"""A line that is killed, interrupted, or run twice at once: no identity is duplicated or lost, boards keep theirs."""

from __future__ import annotations

import json
import signal

import pytest

from rmfab.virtual.spec import BoardSpec
from tests.line.floor import copied, found, ports, serve, spec
from tests.line.process import line, read_until
from tests.line.zygote import Zygote
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.slow

AT_ONCE = 6
SLOTS = 8  # more boards in one process than a station has slots would judge the computer
EVERY_UNIT = "wrong_pop_every = 50", "wrong_pop_every = 1"  # every unit then gets the same number of commands


@pytest.fixture(scope="module")
def zygote():
    """The parent process of all killed lines."""
    with Zygote() as one:
        yield one


def commands_of(factory, command):
    """Return how many commands a new board gets in a whole run, or in a flash."""
    with serve([spec()]) as (board,):
        assert factory.run(board.url, command=command).code == 0
        return board.state()["commands"]


def killed_lines(zygote, factory, tmp_path, specs, dies):
    """Run one line per board, a few at once, and kill each; return exit codes, the bindings then, and final runs."""
    pids = [zygote.spawn() for _ in specs]
    specs = [
        BoardSpec(one.chip, one.index, faults=one.faults, kill_pid=pid) for one, pid in zip(specs, pids, strict=True)
    ]
    with serve(specs) as boards:
        codes = {}
        lines = list(zip(pids, boards, dies, strict=True))
        for start in range(0, len(lines), AT_ONCE):
            some = lines[start : start + AT_ONCE]
            for pid, board, die in some:
                argv = ["-C", str(factory.root), "run", "--json", *ports(board.url)]
                zygote.go(pid, argv, tmp_path / f"{pid}.out", die)
            for pid, _, _ in some:
                codes[pid] = zygote.wait(pid)
        before = factory.bindings()
        for board in boards:
            board.control("fault none")
        urls = [board.url for board in boards]
        said = [factory.run(*urls[start : start + SLOTS]) for start in range(0, len(urls), SLOTS)]
        return [codes[pid] for pid in pids], before, said


def judge(factory, specs, before, said):
    """Check that all boards pass, each with the identity that it had; none is assigned twice, none is lost."""
    reasons = [unit["reason"] for one in said for unit in one.units if unit["outcome"] != "PASS"]
    assert {one.code for one in said} == {0}, reasons
    after = factory.bindings()
    assert len(after) == len(specs)
    assert len(set(after.values())) == len(specs)
    assert {mac: after[mac] for mac in before} == before
    assert set(after.values()) == {f"LMP-{n:06d}" for n in range(1, len(specs) + 1)}
    assert set(factory.states().values()) == {"verified"}
    factory.check()


def test_killed_at_the_nth_command(zygote, founded, tmp_path):
    """The process is killed at the board's n-th command: densely from the claim on, and up to the end of the reset."""
    counts = {}
    for number, command in enumerate(("flash", "run", "run")):
        probe = copied(founded, tmp_path / f"probe-{number}")
        probe.edit(*EVERY_UNIT)
        counts[command] = min(commands_of(probe, command), counts.get(command, 1 << 20))
    last = counts["run"] - 1  # a host that had to wait synchronizes once more
    kills = sorted({*range(1, last, 9), *range(counts["flash"] - 35, counts["flash"] + 1), last})
    factory = found(tmp_path / "ws", units=len(kills), edits=(EVERY_UNIT,))
    specs = [spec(index=number, faults=(f"kill-at={n}",)) for number, n in enumerate(kills)]
    codes, before, said = killed_lines(zygote, factory, tmp_path, specs, [None] * len(kills))
    assert set(codes) == {-signal.SIGKILL}
    assert 0 < len(before) < len(kills), "expected some to be killed before their claim, some after it"
    judge(factory, specs, before, said)


def test_killed_at_every_durable_boundary(zygote, tmp_path):
    """The process is killed right before and right after each transaction of the ledger."""
    dies = [("claim", when, 1) for when in ("before", "after")]
    dies += [("record", when, number) for number in range(1, 9) for when in ("before", "after")]
    factory = found(tmp_path / "ws", units=len(dies))
    specs = [spec(index=number) for number in range(len(dies))]
    codes, before, said = killed_lines(zygote, factory, tmp_path, specs, dies)
    assert set(codes) == {-signal.SIGKILL}
    assert len(before) == len(dies) - 1, "killed before the claim: once"
    judge(factory, specs, before, said)


def test_killed_again_and_again(zygote, factory, tmp_path):
    """A board whose line is killed three times in a row keeps the identity that it got first."""
    serials = set()
    for number in (95, 105, 60):
        pid = zygote.spawn()
        one = spec(faults=(f"kill-at={number}",), flash_file=tmp_path / "flash.bin")
        with serve([BoardSpec(one.chip, faults=one.faults, flash_file=one.flash_file, kill_pid=pid)]) as (board,):
            zygote.go(pid, ["-C", str(factory.root), "run", *ports(board.url)], tmp_path / "out")
            zygote.wait(pid)
        serials |= set(factory.bindings().values())
    with serve([spec(flash_file=tmp_path / "flash.bin")]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0
    assert serials == {said.unit["serial"]}
    with factory.ledger() as ledger:
        assert ledger.free("Lamp") == 7


def test_two_lines_on_one_ledger(zygote, tmp_path):
    """Two `rmfab run` at once on one ledger, three boards each, bind six different identities."""
    factory = found(tmp_path / "ws", units=6)
    with serve([spec(index=n) for n in range(6)]) as boards:
        pids = [zygote.spawn(), zygote.spawn()]
        for pid, some in zip(pids, (boards[:3], boards[3:]), strict=True):
            words = ports(*(board.url for board in some))
            zygote.go(pid, ["-C", str(factory.root), "run", "--json", *words], tmp_path / f"{pid}.out")
        assert [zygote.wait(pid) for pid in pids] == [0, 0]
    assert sorted(factory.bindings().values()) == [f"LMP-{n:06d}" for n in range(1, 7)]
    factory.check()


def test_two_lines_on_one_port(factory):
    """The second `rmfab run` on a port is refused with exit code 4; the first one passes."""
    with serve([spec(paced=0)]) as (board,):
        first = line(factory, *ports(board.url))
        read_until(first, lambda event: event.get("step") == "claim")
        said = factory.run(board.url)
        out, _ = first.communicate(timeout=PATIENCE)
    assert (said.code, said.verdict) == (4, ("ERROR", "port-busy"))
    assert first.returncode == 0, out
    assert len(factory.bindings()) == 1
    factory.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_flashing(factory, number):
    """^C during flash: the unit is ABORTED, exit code 130; the next run continues with the same identity."""
    with serve([spec(paced=0)]) as (board,):
        process = line(factory, "--baud", "115200", *ports(board.url))  # a minute, if nobody interrupts it
        read_until(process, lambda event: event.get("step") == "claim")
        heard = board.state()["commands"]
        until(lambda: board.state()["commands"] > heard, "the board is not written")
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        events = [json.loads(text) for text in out.splitlines()]
        (unit,) = [event for event in events if event["event"] == "unit"]
        assert (unit["outcome"], unit["class"]) == ("ABORTED", "aborted")
        assert events[-1]["aborted"] == 1
        assert process.returncode == 130
        assert "run the same command again to continue" in err
        before = factory.bindings()
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0
    assert factory.bindings() == before == {said.unit["mac"]: said.unit["serial"]}
    factory.check()
