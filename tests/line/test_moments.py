"""Ports that go away, boards that are swapped, and answers that are lost, at every step."""

from __future__ import annotations

import time

import pytest

from rmfab.board.esp.loader import Loader
from rmfab.board.watched_port import _WatchedPort
from rmfab.identity.sealing import create_station_key
from rmfab.line import worker
from rmfab.line.events import Step
from rmfab.product.vocabulary import Chip
from rmfab.virtual.spec import BoardSpec, PortKind, Strap
from tests.line.floor import found, serve, spec
from tests.line.proxy import GarblingProxy
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

STEPS = (Step.DETECT, Step.CLAIM, Step.FLASH, Step.READBACK, Step.BOOT, Step.IDENTIFY)
_LOOK_SECONDS = 0.02


def before_step(monkeypatch, wanted, slot, deed):
    """Run *deed* right before *wanted* starts on *slot*."""
    original = worker.take_step

    def take_step(step, visit, stage):
        if step is wanted and visit.slot.name == slot:
            deed()
        return original(step, visit, stage)

    monkeypatch.setattr(worker, "take_step", take_step)


@pytest.mark.parametrize("step", STEPS)
def test_port_goes_away(factory, monkeypatch, step):
    """If the port goes away before a step, its slot ends as ERROR, the other passes, and the next run passes."""
    with serve([spec(), spec(index=1)]) as (board, other):
        before_step(monkeypatch, step, board.url, lambda: board.control("vanish"))
        monkeypatch.setattr("rmfab.line.connection._RETURN_SECONDS", 0.0)  # it comes back only for the next run
        said = factory.run(board.url, other.url)
        verdicts = {unit["slot"]: unit for unit in said.units}
        assert verdicts[board.url]["outcome"] == "ERROR"
        assert verdicts[board.url]["class"] == "port-gone"
        assert verdicts[other.url]["outcome"] == "PASS"
        assert said.code == 4
        before = factory.bindings()
        monkeypatch.undo()
        board.control("return")
        again = factory.run(board.url)
    assert again.code == 0
    assert set(before.items()) <= set(factory.bindings().items())
    assert len(factory.bindings()) == 2
    factory.check()


@pytest.mark.parametrize("step", STEPS[1:])
def test_port_comes_back_as_another_board(factory, monkeypatch, step):
    """If the board is swapped before a step, the unit ends as ERROR: the second attempt asks the new board for its MAC,
    and it is neither written nor claimed."""
    with serve([spec()]) as (board,):

        def swap():
            board.control("vanish")
            board.control("swap")
            while board.state()["mode"] != "running":
                pass

        before_step(monkeypatch, step, board.url, swap)
        said = factory.run(board.url)
        assert said.verdict == ("ERROR", "board-swapped")
        assert board.state()["mac"] != said.unit["mac"]
        causes = [(e["step"], e["class"]) for e in said.events if e["event"] == "step" and e["outcome"] == "ERROR"]
        assert causes == [(step, "port-gone"), ("boot" if step in ("boot", "identify") else "detect", "board-swapped")]
        assert board.state()["mac"] not in factory.bindings()


def test_mac_is_read_again(factory, monkeypatch):
    """A different MAC after the write is a swapped board: ERROR, and the unit is not flashed."""
    with serve([spec()]) as (board,):
        monkeypatch.setattr(Loader, "mac", lambda _: "24:0a:c4:ff:ff:ff")
        said = factory.run(board.url)
    assert said.steps()["readback"] == "ERROR"
    assert said.verdict == ("ERROR", "board-swapped")
    assert list(factory.states().values()) == ["claimed"]


def test_another_board_at_a_slower_baud(factory, monkeypatch):
    """A board that is swapped while the line looks for a working baud is not worked on."""
    original = Loader.connect
    seen = []

    def connect(loader):
        facts = original(loader)
        seen.append(facts)
        return (
            facts
            if len(seen) == 1
            else type(facts)(facts.chip_name, facts.revision, "24:0a:c4:00:00:00", None, facts.security)
        )

    with serve([spec()]) as (board,), GarblingProxy(board.url, 115200) as url:
        monkeypatch.setattr(Loader, "connect", connect)
        said = factory.run(url)
    assert said.verdict == ("ERROR", "board-swapped")
    assert factory.bindings() == {}


def give_up_lost_answers(monkeypatch, proxy):
    """Let the line wait for the answer to a block as long as it takes, but no longer once *proxy* has lost it."""
    read, given_up = _WatchedPort.read, 0

    def read_or_give_up(port, size=1):
        nonlocal given_up
        limit, port.timeout = port.timeout, _LOOK_SECONDS
        ending = time.monotonic() + limit
        while not (received := read(port, size)) and time.monotonic() < ending:
            if proxy.lost > given_up:
                given_up = proxy.lost
                break
        port.timeout = limit
        return received

    monkeypatch.setattr(_WatchedPort, "read", read_or_give_up)
    monkeypatch.setattr("esptool.cmds.DEFAULT_TIMEOUT", PATIENCE)
    monkeypatch.setattr("esptool.cmds._get_flash_defl_block_timeout", lambda *_: PATIENCE)


@pytest.mark.parametrize(
    ("lost", "flashes"),
    [(1, ["PASS"]), (3, ["PASS"]), (9, ["ERROR", "MARGINAL"]), (50, ["ERROR", "ERROR"])],
)
def test_lost_answers(factory, monkeypatch, lost, flashes):
    """If an answer is lost, its block may have been written: the region starts again, once more at each rate. Then the
    board is restarted, and the step is tried again; there is no lower rate left."""
    with serve([spec()]) as (board,):
        proxy = GarblingProxy(board.url, lose=lost)
        give_up_lost_answers(monkeypatch, proxy)
        with proxy as url:
            said = factory.run(url, command="flash")
        state = board.state()
    tried = [event for event in said.events if event["event"] == "step" and event["step"] == "flash"]
    assert [event["outcome"] for event in tried] == flashes, said.unit["reason"]
    assert [event["measurements"].get("retry") for event in tried] == ["as it was", None][-len(tried) :]
    assert state["mac"] in factory.bindings()
    if said.unit["outcome"] == "PASS":
        assert said.steps()["readback"] == "PASS"


def test_port_without_reset_lines(factory, tmp_path):
    """A pseudo-terminal has no reset lines, and the hint names the setting in station.toml."""
    with serve([BoardSpec(Chip.ESP32C3, link=PortKind.PTY, strap=Strap.DOWNLOAD)], state=tmp_path) as (board,):
        said = factory.run(board.url)
        assert said.verdict == ("ERROR", "no-reset-lines")
        assert 'restart = "none"' in said.unit["reason"]
        assert said.steps()["readback"] == "PASS"
        board.control("restart")
        flashed = factory.run(board.url, command="flash")
    assert flashed.code == 0
    assert any("no reset lines" in word for word in flashed.logs)


@pytest.mark.parametrize(("chip", "otg"), [(Chip.ESP32C3, False), (Chip.ESP32S3, False), (Chip.ESP32S3, True)])
def test_own_usb(tmp_path, monkeypatch, chip, otg):
    """A chip with native USB is restarted as esptool does it: by its watchdog if USB-OTG ignores the lines.

    The USB numbers are made up: a network port stands in for the USB port, at one baud only, since USB has none.
    """
    factory = found(tmp_path / "ws", chip, units=1)
    asked = []

    def number(address):
        asked.append(address)
        return "24:0A:C4:1F:67:7D"

    monkeypatch.setattr("rmfab.line.connection.usb_number", number)
    monkeypatch.setattr("rmfab.board.native_usb.usb_number", number)
    if otg:
        monkeypatch.setattr("esptool.targets.esp32s3.ESP32S3ROM.uses_usb_otg", lambda _: True)
    with serve([spec(chip)]) as (board,):
        said = factory.run(board.url, extra=("--baud", "115200"))
    assert said.code == 0, said.unit["reason"]
    assert asked


def test_own_usb_that_comes_back_as_another_board(factory, monkeypatch):
    """A different USB number after the restart is a swapped board: ERROR, and not the unit's fault."""
    numbers = iter(["24:0A:C4:00:00:01", "24:0A:C4:00:00:02"])
    monkeypatch.setattr("rmfab.line.connection.usb_number", lambda _: next(numbers))
    monkeypatch.setattr("rmfab.board.native_usb.returned.__defaults__", (lambda _: next(numbers),))
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.verdict == ("ERROR", "board-swapped")
    assert list(factory.states().values()) == ["flashed"]


def test_bug_of_rmfab(factory, monkeypatch, tmp_path):
    """A bug on one slot ends its unit as ERROR and the command with 70; the unit on the other slot passes."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the traceback is written there
    with serve([spec(), spec(index=1)]) as (board, other):
        before_step(monkeypatch, Step.FLASH, board.url, lambda: 1 // 0)
        said = factory.run(board.url, other.url)
    verdicts = {unit["slot"]: (unit["outcome"], unit["class"]) for unit in said.units}
    assert verdicts == {board.url: ("ERROR", "bug"), other.url: ("PASS", None)}
    assert said.code == 70
    assert "a bug in rmfab" in said.words
    assert said.summary["passed"] == said.summary["errors"] == 1
    factory.check()


@pytest.mark.parametrize("other_key", [False, True])
def test_station_that_opens_nothing(factory, other_key):
    """A station without its key, or not admitted, gives no identities."""
    key = factory.root / "keys" / "station.key"
    key.unlink()
    if other_key:
        create_station_key(key)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 4
    assert "station" in said.words
    assert factory.bindings() == {}
