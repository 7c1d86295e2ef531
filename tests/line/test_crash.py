"""A line that is killed, stopped, or run twice at once: no identity doubled, none lost, the same board the same one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rmfab.board.port import open_port
from rmfab.product.vocabulary import Chip
from rmfab.virtual.serving import serve
from rmfab.virtual.spec import BoardSpec
from tests.line.floor import copied, found, spec
from tests.line.zygote import ROOT, Zygote

AT_ONCE = 6


@pytest.fixture(scope="module")
def zygote():
    """The mother of all killed lines."""
    with Zygote() as one:
        yield one


def commands_of_a_run(factory):
    """How many commands a board gets in a whole run, and how many before and after the flash step."""
    with serve([spec()]) as (board,):
        assert factory.run(board.url).code == 0
        return board.state()["commands"]


def killed_lines(zygote, factory, tmp_path, specs, dies):
    """Runs one line per board, a few at once, each of which is killed; returns the boards' handles while served."""
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
                argv = ["-C", str(factory.root), "run", "--json", "--port", board.url]
                zygote.go(pid, argv, tmp_path / f"{pid}.out", die)
            for pid, _, _ in some:
                codes[pid] = zygote.wait(pid)
        before = factory.bindings()
        for board in boards:
            board.control("fault none")
        said = factory.run(*(board.url for board in boards))
        return [codes[pid] for pid in pids], before, said


def judge(factory, specs, before, said):
    """All boards end well, each with the identity that it had; none is given twice, none is lost."""
    assert said.code == 0, [unit["reason"] for unit in said.units if unit["outcome"] != "PASS"]
    after = factory.bindings()
    assert len(after) == len(specs)
    assert len(set(after.values())) == len(specs)
    assert {mac: after[mac] for mac in before} == before
    assert set(after.values()) == {f"LMP-{n:06d}" for n in range(1, len(specs) + 1)}
    assert set(factory.states().values()) == {"verified"}
    factory.check()


def test_killed_at_the_nth_command(zygote, founded, tmp_path):
    """The process is killed at the board's n-th command, densely from before the claim to the end of the flash step."""
    total = commands_of_a_run(copied(founded, tmp_path / "probe"))
    kills = sorted({*range(1, total - 35, 7), *range(total - 35, total + 1)})
    factory = found(tmp_path / "ws", units=len(kills))
    specs = [spec(index=number, faults=(f"kill-at={n}",)) for number, n in enumerate(kills)]
    codes, before, said = killed_lines(zygote, factory, tmp_path, specs, [None] * len(kills))
    assert set(codes) == {-signal.SIGKILL}
    assert 0 < len(before) < len(kills), "some were killed before their claim, some after it"
    judge(factory, specs, before, said)


def test_killed_at_every_durable_boundary(zygote, tmp_path):
    """The process is killed right before and right after each transaction of the ledger."""
    dies = [("claim", when, 1) for when in ("before", "after")]
    dies += [("record", when, number) for number in range(1, 9) for when in ("before", "after")]
    factory = found(tmp_path / "ws", units=len(dies))
    specs = [spec(index=number) for number in range(len(dies))]
    codes, before, said = killed_lines(zygote, factory, tmp_path, specs, dies)
    assert set(codes) == {-signal.SIGKILL}
    assert len(before) == len(dies) - 3, "killed before the claim: once at it, twice at the record of detect"
    judge(factory, specs, before, said)


def test_killed_again_and_again(zygote, factory, tmp_path):
    """One board whose line is killed five times in a row ends with the identity that it got first."""
    serials = set()
    for number in (95, 100, 105, 110, 60):
        pid = zygote.spawn()
        one = spec(faults=(f"kill-at={number}",), flash_file=tmp_path / "flash.bin")
        with serve([BoardSpec(one.chip, faults=one.faults, flash_file=one.flash_file, kill_pid=pid)]) as (board,):
            zygote.go(pid, ["-C", str(factory.root), "run", "--port", board.url], tmp_path / "out")
            zygote.wait(pid)
        serials |= set(factory.bindings().values())
    with serve([spec(flash_file=tmp_path / "flash.bin")]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0
    assert serials == {said.unit["serial"]}
    with factory.ledger() as ledger:
        assert ledger.free("Lamp") == 7


def test_two_lines_on_one_ledger(zygote, tmp_path):
    """Two `rmfab run` at once on one ledger, three boards each: six identities, none twice."""
    factory = found(tmp_path / "ws", units=6)
    with serve([spec(index=n) for n in range(6)]) as boards:
        pids = [zygote.spawn(), zygote.spawn()]
        for pid, some in zip(pids, (boards[:3], boards[3:]), strict=True):
            ports = [word for board in some for word in ("--port", board.url)]
            zygote.go(pid, ["-C", str(factory.root), "run", "--json", *ports], tmp_path / f"{pid}.out")
        assert [zygote.wait(pid) for pid in pids] == [0, 0]
    assert sorted(factory.bindings().values()) == [f"LMP-{n:06d}" for n in range(1, 7)]
    factory.check()


def line(factory, *argv):
    """A real `rmfab run` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rmfab", "-C", str(factory.root), "run", "--json", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=factory.root,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
    )


def read_until(process, fits):
    """Events of *process* until one *fits*."""
    events = []
    for text in process.stdout:
        events.append(json.loads(text))
        if fits(events[-1]):
            return events
    raise AssertionError(events)


def test_two_lines_on_one_port(factory):
    """The second `rmfab run` on a port is refused with exit code 4; the first one ends well."""
    with serve([spec(paced=0)]) as (board,):
        first = line(factory, "--port", board.url)
        read_until(first, lambda event: event.get("step") == "claim")
        said = factory.run(board.url)
        out, _ = first.communicate(timeout=30)
    assert (said.code, said.verdict) == (4, ("ERROR", "port-busy"))
    assert first.returncode == 0, out
    assert len(factory.bindings()) == 1
    factory.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_flashing(factory, number):
    """^C during flash: the unit is ABORTED, exit code 130; the next run goes on with the same identity."""
    with serve([spec(paced=115200)]) as (board,):
        process = line(factory, "--port", board.url)
        read_until(process, lambda event: event.get("step") == "claim")
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        events = [json.loads(text) for text in out.splitlines()]
        (unit,) = [event for event in events if event["event"] == "unit"]
        assert (unit["outcome"], unit["class"]) == ("ABORTED", "aborted")
        assert events[-1]["aborted"] == 1
        assert process.returncode == 130
        assert "goes on where" in err
        before = factory.bindings()
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0
    assert factory.bindings() == before == {said.unit["mac"]: said.unit["serial"]}
    factory.check()


class TestLoop:
    """--loop: board after board, until the batch is used up or ^C."""

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch):
        monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)

    def test_until_the_batch_is_used_up(self, tmp_path):
        """Boards that are put in one after the other each get an identity; at the end exit code 3, after a warning."""
        factory = found(tmp_path / "ws", units=2)
        swaps = []
        with serve([spec()]) as (board,), ExitStack() as stack:
            hand = stack.enter_context(Hand(factory, board, swaps, boards=3))
            said = factory.run(board.url, extra=("--loop",))
            assert hand.failure is None
        assert said.code == 3
        assert [(unit["outcome"], unit["class"]) for unit in said.units] == [
            ("PASS", None),
            ("PASS", None),
            ("ERROR", "batch-used-up"),
        ]
        assert len({unit["mac"] for unit in said.units}) == 3
        words = said.logs
        assert any("put a board in" in word for word in words)
        assert any("no identity is left" in word for word in words)
        assert len(factory.bindings()) == 2

    def test_same_board_is_not_run_twice(self, factory):
        """A board that stays is not worked on again; taken out and put back in, it is, with the same identity."""
        with serve([spec()]) as (board,):
            process = line(factory, "--loop", "--port", board.url)
            read_until(process, lambda event: event["event"] == "unit")
            restarts = board.state()["restarts"]
            while board.state()["restarts"] < restarts + 2:  # it was looked at twice
                time.sleep(0.05)
            board.control("vanish")
            time.sleep(1.2)
            board.control("return")
            events = read_until(process, lambda event: event["event"] == "unit")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        assert [event["outcome"] for event in events if event["event"] == "unit"] == ["PASS"]
        assert process.returncode == 130
        assert json.loads(out.splitlines()[-1])["passed"] == 2
        assert list(factory.bindings().values()) == ["LMP-000001"]

    def test_board_without_a_mac_is_told_once(self, factory):
        """A board in secure download mode, which tells no MAC, is refused once, not for ever again."""
        with serve([spec(faults=("secure-download",))]) as (board,):
            process = line(factory, "--loop", "--port", board.url)
            read_until(process, lambda event: event["event"] == "unit")
            restarts = board.state()["restarts"]
            while board.state()["restarts"] < restarts + 3:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        assert json.loads(out.splitlines()[-1])["failed"] == 1

    def test_busy_port_is_said(self, factory):
        """A port that somebody else holds is not silently waited for."""
        with serve([spec()]) as (board,):
            held = open_port(board.url)
            process = line(factory, "--loop", "--port", board.url)
            events = read_until(process, lambda event: "in use by another program" in event.get("text", ""))
            held.close()
            read_until(process, lambda event: event["event"] == "unit")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        assert events[-1]["level"] == "warning"


class Hand:
    """Puts the next board in whenever the ledger says that the last one is done."""

    def __init__(self, factory, board, swaps, boards):
        import threading

        self._factory, self._board, self._swaps, self._boards = factory, board, swaps, boards
        self.failure = None
        self._thread = threading.Thread(target=self._play)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()

    def _play(self):
        try:
            for done in range(1, self._boards):
                end = time.monotonic() + 20
                while list(self._factory.states().values()).count("verified") < done:
                    assert time.monotonic() < end
                    time.sleep(0.05)
                time.sleep(0.2)
                self._board.control("swap")
        except Exception as failure:  # noqa: BLE001 - shown by the test
            self.failure = failure


def stopped_after_a_unit(factory, board):
    """`rmfab run --loop` in this process, interrupted when the first unit has its verdict."""
    import threading

    def interrupt():
        while "verified" not in factory.states().values():
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=interrupt)
    hand.start()
    said = factory.run(board.url, extra=("--loop",))
    hand.join()
    return said


class TestLedgerTrouble:
    """A ledger that fails during a run: the unit ends ERROR with a clear word, and nothing is lost."""

    def trouble(self, founded, tmp_path, method, number, cause):
        """A run whose ledger fails at the *number*-th call of *method* and from then on."""
        from rmfab.errors import LedgerError
        from rmfab.ledger.store import Ledger

        factory = copied(founded, tmp_path / "ws")
        original = getattr(Ledger, method)
        calls = 0

        def failing(*args, **options):
            nonlocal calls
            calls += 1
            if calls >= number:
                raise LedgerError("the disk is full; nothing was written", cause=cause, hint="make room")
            return original(*args, **options)

        with serve([spec()]) as (board,):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Ledger, method, failing)
                said = factory.run(board.url)
            bound = factory.bindings()
            again = factory.run(board.url)
        return factory, said, bound, again

    @pytest.mark.parametrize(
        ("method", "number"),
        [("claim", 1), ("identity_by_mac", 1), *(("record", n) for n in range(1, 9))],
    )
    def test_full_disk(self, founded, tmp_path, method, number):
        """Wherever it happens, the verdict is ERROR ledger-full, and another run ends well with the same identity."""
        factory, said, bound, again = self.trouble(founded, tmp_path, method, number, "ledger-full")
        assert len(said.units) == 1
        if (method, number) != ("record", 8):
            assert (said.code, said.verdict) == (4, ("ERROR", "ledger-full"))
            assert "make room" in said.unit["reason"]
        else:
            assert any("verdict is not in the ledger" in word for word in said.logs)
        assert again.code == 0
        assert len(bound) == (0 if method in ("claim", "identity_by_mac") or (method, number) == ("record", 1) else 1)
        assert set(bound.items()) <= set(factory.bindings().items())
        assert len(factory.bindings()) == 1
        factory.check()

    def test_read_only(self, founded, tmp_path):
        """A ledger that became read-only is named as such."""
        factory, said, _, again = self.trouble(founded, tmp_path, "claim", 1, "ledger-read-only")
        assert (said.code, said.verdict) == (4, ("ERROR", "ledger-read-only"))
        assert again.code == 0
        factory.check()

    def test_end_of_batch_cannot_be_asked(self, factory, monkeypatch):
        """A ledger that cannot say how many identities are left does not cost a unit its verdict."""
        from rmfab.errors import LedgerError
        from rmfab.ledger.store import Ledger

        original = Ledger.claim

        def free(*_: object, **__: object) -> int:
            raise LedgerError("locked", cause="ledger-locked")

        def claim(*args, **options):
            monkeypatch.setattr(Ledger, "free", free)
            return original(*args, **options)

        monkeypatch.setattr(Ledger, "claim", claim)
        monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)
        with serve([spec()]) as (board,):
            said = stopped_after_a_unit(factory, board)
        assert [unit["outcome"] for unit in said.units] == ["PASS"]
        assert said.code == 130

    def test_locked(self, founded, tmp_path):
        """A ledger that another program holds is waited for, then named; nothing is given."""
        import sqlite3

        factory = copied(founded, tmp_path / "ws")
        with serve([spec()]) as (board,), pytest.MonkeyPatch.context() as patch:
            patch.setattr("rmfab.ledger.store.PATIENCE", 0.2)
            patch.setattr("rmfab.ledger.store.Ledger.open.__func__.__kwdefaults__", {"patience": 0.2})
            workspace = factory.workspace
            assert workspace.ledger.free("Lamp") == 8
            holder = sqlite3.connect(factory.root / "ledger.db")
            holder.execute("BEGIN IMMEDIATE")
            said = factory.run(board.url)
            holder.rollback()
            holder.close()
            assert said.code == 4
            assert factory.bindings() == {}
            assert factory.run(board.url).code == 0


def test_logs_folder_that_cannot_be_written(factory, monkeypatch):
    """A console log that cannot be kept is a warning; the unit passes."""
    from rmfab.errors import InputError

    def full(path: Path, *_: object, **__: object) -> bool:
        raise InputError("cannot write this file: No space left on device", where=str(path))

    monkeypatch.setattr("rmfab.line.work.write_file", full)
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0
    assert said.unit["log"] is None
    assert any("No space left" in word for word in said.logs)
