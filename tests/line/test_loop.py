"""--loop: board after board on one slot."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import ExitStack

import pytest

from rmfab.board.port import open_port
from tests.line.floor import found, ports, serve, spec
from tests.line.process import line, read_until


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
            process = line(factory, "--loop", *ports(board.url))
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
            process = line(factory, "--loop", *ports(board.url))
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
            process = line(factory, "--loop", *ports(board.url))
            events = read_until(process, lambda event: "in use by another program" in event.get("text", ""))
            held.close()
            read_until(process, lambda event: event["event"] == "unit")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        assert events[-1]["level"] == "warning"


class Hand:
    """Puts the next board in whenever the ledger says that the last one is done."""

    def __init__(self, factory, board, swaps, boards):
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
