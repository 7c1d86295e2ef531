"""Slots that take themselves out of service while the line runs, and a supervisor who puts them back."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from rmfab.board.esp.loader import SlotLink
from rmfab.board.port import open_port
from rmfab.board.presence import ByCommand, ByModemLine, ByUsb, ClosedByCommand
from rmfab.board.restart import Auto
from rmfab.errors import StationError
from rmfab.ledger.events import Outcome
from rmfab.line.slot_watch import SlotWatch
from rmfab.line.starts import Starts
from rmfab.line.station import Slot
from rmfab.virtual.spec import Strap
from tests.line.floor import beside, found, serve, spec
from tests.patience import until
from tests.terminal import environment


@pytest.fixture(autouse=True)
def _host(monkeypatch, tmp_path):
    """A host of its own, and a line that does not wait long."""
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)
    monkeypatch.setattr("rmfab.line.slot_watch._FIRST_LOOK_SECONDS", 0.5)


def stationed(factory, boards, *lines):
    """Write a station.toml with a slot A1, A2, … per board, and *lines* for the slots in turn."""
    text = ""
    for number, board in enumerate(boards, 1):
        more = lines[number - 1] if len(lines) >= number else ""
        text += f'[[slot]]\nname = "A{number}"\nport = "{board.url}"\nunit = "{board.provisioning_url}"\n{more}\n'
    (factory.root / "station.toml").write_text(text)


def slot(factory, *argv):
    """Run `rmfab slot` in a process of its own, as a supervisor does while the line runs."""
    argv = (sys.executable, "-m", "rmfab", "-C", str(factory.root), "slot", *argv)
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def ended(name, number):
    """Return whether the events have *number* units of the slot *name*."""
    return lambda factory: sum(e["event"] == "unit" and e["slot"] == name for e in factory.events()) >= number


def said(factory, name, text):
    """Return whether the line has said *text* of the slot *name*."""
    return any(text in event.get("text", "") and event["slot"] == name for event in factory.events())


@pytest.mark.slow
def test_a_shift(tmp_path):
    """Three boards that fail with one cause lock their slot, the second brown-out is the slot's fault and no FAIL, a
    slot of station.toml stays off; unlocked from a different process, the slot goes on with the board in it."""
    factory = found(tmp_path / "ws", units=6)

    def play():
        for number in (1, 2):
            until(lambda number=number: ended("A1", number)(factory))
            one.control("swap panic")
        until(lambda: ended("A2", 1)(factory))
        two.control("swap brownout")
        until(lambda: said(factory, "A1", "locked: ") and said(factory, "A2", "locked: "), "no slot is locked")
        code, words = slot(factory, "list")
        assert (code, "A3" in words, words.count("locked")) == (0, True, 2)
        one.control("swap")
        assert not ended("A1", 4)(factory)
        assert slot(factory, "unlock", "A1", "--reason", "pin replaced") == (0, "rmfab: slot A1 is unlocked\n")

    specs = [spec(faults=("panic",)), spec(index=1, faults=("brownout",)), spec(index=2)]
    with serve(specs) as (one, two, three), beside(play):
        stationed(factory, (one, two, three), "", "", "enabled = false")
        result = factory.do("run", "--loop")
    units = [(unit["slot"], unit["outcome"], unit["class"]) for unit in result.units]
    assert [unit for unit in units if unit[0] == "A1"] == [("A1", "FAIL", "panic")] * 3 + [("A1", "PASS", None)]
    assert [unit for unit in units if unit[0] == "A2"] == [("A2", "FAIL", "brownout"), ("A2", "ERROR", "slot-fault")]
    assert not [unit for unit in units if unit[0] == "A3"]
    states = [(e["slot"], e["state"]) for e in result.events if e["event"] == "slot"]
    assert sorted(states) == [("A1", "in service"), ("A1", "locked"), ("A2", "locked"), ("A3", "disabled")]
    assert result.code == 1
    assert result.logs[-1].startswith("all batches of Lamp are used up; 6 units: 1 passed, 4 failed")
    assert sorted(factory.states().values()) == ["failed"] * 4 + ["flashed", "verified"]
    assert "3 boards in a row ended with FAIL (panic): a worn pin?" in [
        e["reason"] for e in result.events if e["event"] == "slot"
    ]


@pytest.mark.slow
def test_a_run_without_a_slot_in_service(tmp_path):
    """A run that names only slots out of service starts no board: exit code 4, with the reason and the way back. The
    others of a run are not disturbed by one."""
    factory = found(tmp_path / "ws", units=1)
    with serve([spec(), spec(index=1)]) as boards:
        stationed(factory, boards)
        assert slot(factory, "disable", "A2", "--reason", "cable is loose")[0] == 0
        result = factory.do("run", "--port", "A2")
        assert (result.code, result.units) == (4, [])
        assert "slot A2 is disabled: cable is loose" in result.words
        assert "hint: `rmfab slot enable A2`" in result.words
        result = factory.do("run")
        assert (result.code, [unit["slot"] for unit in result.units]) == (0, ["A1"])
        assert [word for word in result.logs if "disabled" in word] == [
            "disabled: cable is loose; this slot starts no board"
        ]
        assert slot(factory, "enable", "A2") == (0, "rmfab: slot A2 is in service\n")
        assert slot(factory, "enable", "A2") == (0, "rmfab: slot A2 was not disabled\n")
        assert slot(factory, "unlock", "a2", "--reason", "x")[0] == 3
        assert "did you mean A" in slot(factory, "disable", "A22")[1]
        assert slot(factory, "unlock", "A2", "--reason", " ")[0] == 2


@pytest.mark.slow
def test_ports_doctor_and_status_name_them(tmp_path):
    """`ports`, `doctor` and `status` say which slots are out of service."""
    factory = found(tmp_path / "ws", units=1)
    with serve([spec()]) as boards:
        stationed(factory, boards)
        slot(factory, "disable", "A1", "--reason", "cable is loose")
    for command in ("ports", "doctor", "status"):
        done = subprocess.run(
            [sys.executable, "-m", "rmfab", "-C", str(factory.root), command],
            env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "disabled: cable is loose" in done.stdout + done.stderr, command


def test_a_modem_line(tmp_path):
    """A modem line of the port tells whether a board is in the slot, without a byte to it; inverted, the other way."""
    with serve([spec()]) as (board,):
        port = open_port(board.url)
        assert [ByModemLine(line).sees(port) for line in ("cts", "dsr", "dcd", "ri")] == [True, True, True, False]
        assert not ByModemLine("cts", low=True).sees(port)
        board.control("power off")
        assert not ByModemLine("cts").sees(port)
        port.close()


@pytest.mark.slow
def test_a_watch_by_modem_line(tmp_path):
    """With a modem line a finished board is seen to leave and the next one to come; neither is restarted meanwhile."""
    with serve([spec(strap=Strap.DOWNLOAD)]) as (board,):
        link = SlotLink(board.url, 921600, Auto())
        watch = SlotWatch(Slot("A1", link, presence=ByModemLine("cts")), board.mac, 115200, lambda: None)
        before = board.state()["restarts"]
        assert [watch.look().board for _ in range(3)] == [board.mac] * 3
        board.control("power off")
        assert [watch.look().board for _ in range(2)] == [None] * 2
        assert board.state()["restarts"] == before
        board.control("power on")
        assert watch.look().board == board.mac
        watch.close()


def test_a_command_of_the_fixture(tmp_path):
    """A fixture's command tells by its exit code; any other code is a trouble that does not count as an empty slot."""
    code = tmp_path / "code"
    program = tmp_path / "present"
    program.write_text(f"#!/bin/sh\nexit $(cat {code})\n")
    program.chmod(0o755)
    way = ByCommand((str(program),))
    code.write_text("0")
    assert way.sees(lambda: None)
    link = SlotLink("rfc2217://127.0.0.1:1", 921600, Auto())
    watch = SlotWatch(Slot("A1", link, presence=way), "mac", 115200, lambda: None)
    assert watch.look().board == "mac"
    code.write_text("7")
    with pytest.raises(StationError, match="exited with 7"):
        way.sees(lambda: None)
    assert (watch.look().board, getattr(watch.look().trouble, "cause", None)) == (None, "fixture")
    code.write_text("0")
    assert watch.look().board == "mac", "a trouble is no removal"
    code.write_text("1")
    assert watch.look().board is None


class Lid:
    """The lid of a fixture: its command exits with what the file `code` says."""

    def __init__(self, folder):
        self._code = folder / "code"
        self.program = folder / "closed"
        self.program.write_text(f"#!/bin/sh\nexit $(cat {self._code})\n")
        self.program.chmod(0o755)
        self.set(1)

    def set(self, code):
        self._code.with_suffix(".new").write_text(str(code))
        self._code.with_suffix(".new").replace(self._code)

    @property
    def key(self):
        return f"start = ['{self.program}']"


@pytest.mark.slow
def test_a_fixture_starts_its_boards(tmp_path):
    """A board starts when its fixture is closed, and the next one when it was opened and is closed again; meanwhile
    nothing touches the board. A command that fails is told, and starts nothing."""
    factory, lid = found(tmp_path / "ws", units=2), Lid(tmp_path)

    def play():
        until(factory.events, "the line says nothing")
        lid.set(7)
        until(lambda: said(factory, "A1", "the start command exited with 7"))
        assert (board.state()["commands"], ended("A1", 1)(factory)) == (0, False)  # without an app, it restarts itself
        lid.set(0)
        until(lambda: ended("A1", 1)(factory))
        lid.set(1)
        board.control("swap")
        until(lambda: said(factory, "A1", "remove the board"))
        lid.set(0)

    with serve([spec()]) as (board,), beside(play):
        stationed(factory, (board,), lid.key)
        result = factory.do("run", "--loop")
    assert (result.code, [unit["outcome"] for unit in result.units]) == (0, ["PASS", "PASS"])
    assert set(factory.states().values()) == {"verified"}


@pytest.mark.slow
def test_a_single_run_waits_for_the_fixture(tmp_path):
    """Without --loop, the line says that the fixture is open, and waits; a command that fails ends it with 4."""
    factory, lid = found(tmp_path / "ws", units=1), Lid(tmp_path)

    def play():
        until(lambda: said(factory, "A1", "close the fixture"))
        lid.set(0)

    with serve([spec()]) as (board,):
        stationed(factory, (board,), lid.key)
        with beside(play):
            result = factory.do("run")
        assert (result.code, [unit["outcome"] for unit in result.units]) == (0, ["PASS"])
        lid.program.unlink()
        result = factory.do("run")
    assert (result.code, result.units) == (4, [])
    assert "the start command failed: [Errno 2]" in result.words


def test_an_open_fixture(tmp_path):
    """An open fixture is empty; what sees its board without contact still tells that it is there."""
    lid, code = Lid(tmp_path), tmp_path / "there"
    present = tmp_path / "present"
    present.write_text(f"#!/bin/sh\nexit $(cat {code})\n")
    present.chmod(0o755)
    code.write_text("0")
    link, start = SlotLink("rfc2217://127.0.0.1:1", 921600, Auto()), ClosedByCommand((str(lid.program),))
    bare = SlotWatch(Slot("A1", link, start=start), "mac", 115200, lambda: None)
    assert (bare.look().board, bare.look().waiting) == (None, "waiting: close the fixture")
    seeing = Slot("A1", link, presence=ByCommand((str(present),)), start=start)
    watch = SlotWatch(seeing, "mac", 115200, lambda: None)
    assert (watch.look().board, watch.look().fixture_open) == ("mac", True)
    lid.set(0)
    assert (watch.look().board, watch.look().fixture_open) == ("mac", False)
    code.write_text("1")
    assert watch.look().board is None


def test_a_closed_fixture_is_a_start_by_hand():
    """Where boards wait for a hand, closing the fixture is one; a FAIL still wants to be acknowledged."""
    starts = Starts()
    starts.acknowledged = starts.by_hand = True
    assert [starts.allows("A1", new=True, closed=closed) for closed in (False, True)] == [False, True]
    starts.began("A1", threading.Event())
    starts.ended("A1", Outcome.FAIL)
    assert not starts.allows("A1", new=True, closed=True)
    starts.acknowledge("A1")
    assert starts.allows("A1", new=True, closed=True)


def test_the_usb_port_goes_with_its_board(tmp_path, monkeypatch):
    """A board with its own USB plug is gone when its port is, and there as long as the port is.

    Looking at the port alone tells: every second on every slot, listing all ports would take too long.
    """
    monkeypatch.delattr("serial.tools.list_ports.comports")
    port = tmp_path / "ttyUSB0"
    port.touch()
    watch = SlotWatch(Slot("A1", SlotLink(str(port), 921600, Auto()), presence=ByUsb()), "mac", 115200, lambda: None)
    assert [watch.look().board, watch.look().board] == ["mac", "mac"]
    port.unlink()
    assert watch.look().board is None
    assert watch.look().absent


def test_a_port_without_modem_lines(tmp_path):
    """A slot whose port has no modem lines says so, with what to set instead."""

    class Bare:
        port = "socket://x"

    with pytest.raises(StationError) as caught:
        ByModemLine("cts").sees(Bare())
    assert caught.value.cause == "no-modem-lines"
    assert "presence" in str(caught.value.hint)
