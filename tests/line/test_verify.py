"""Verify, ports without reset lines, fixtures, lower bauds, and the log of a console."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.virtual.spec import BoardSpec, PortKind, Strap
from tests.line.floor import FCTRY, UNITS, copied, found, serve, spec
from tests.line.proxy import GarblingProxy
from tests.patience import until

pytestmark = pytest.mark.slow

SOCKET_RUN = {"link": PortKind.SOCKET, "strap": Strap.RUN}


def station(factory, port, restart, baud=921600):
    """Write a station.toml with one slot, with the URL of its board's unit."""
    (factory.root / "station.toml").write_text(
        f'[station]\nname = "bench-7"\n\n[[slot]]\nname = "A1"\nport = "{port}"\nbaud = {baud}\nrestart = {restart}\n'
        f'unit = "{UNITS[port]}"\n'
    )


def restarting(factory, board):
    """Restart the board by its control socket when the line asks for it."""

    def play():
        factory.wait_for(lambda event: "restart the board now" in event.get("text", ""))
        board.control("restart")

    thread = threading.Thread(target=play)
    thread.start()
    return thread


class TestVerify:
    """`rmfab verify` writes nothing, and passes only units that it can identify."""

    def test_flashed_unit(self, factory):
        """A flashed unit passes, and is then verified."""
        with serve([spec()]) as (board,):
            flashed = factory.run(board.url, command="flash")
            assert factory.states() == {flashed.unit["serial"]: "flashed"}
            said = factory.run(board.url, command="verify")
        assert said.code == 0
        assert said.steps() == dict.fromkeys(("detect", "boot", "identify", "provision"), "PASS")
        assert factory.states() == {flashed.unit["serial"]: "verified"}

    def test_unknown_board(self, founded, tmp_path):
        """A board flashed with a different ledger is unbound here, whatever its console prints."""
        elsewhere, here = copied(founded, tmp_path / "elsewhere"), copied(founded, tmp_path / "here")
        with serve([spec()]) as (board,):
            elsewhere.run(board.url, command="flash")
            said = here.run(board.url, command="verify")
        assert (said.code, said.verdict) == (1, ("FAIL", "unbound"))
        assert "alone is no proof" in said.unit["reason"]
        assert here.bindings() == {}

    def test_failed_unit_is_verified_again(self, factory):
        """A unit that failed after it was flashed can be verified again; one that was not flashed cannot."""
        with serve([spec(faults=("panic",))]) as (board,):
            assert factory.run(board.url).verdict == ("FAIL", "panic")
            board.control("fault none")
            assert factory.run(board.url, command="verify").code == 0
        assert list(factory.states().values()) == ["verified"]
        factory.check()

    def test_other_firmware(self, factory, tmp_path):
        """The wrong version, project or build of the app fails with its own cause."""
        others = {
            "version-mismatch": found(tmp_path / "a", units=1, version="0.9"),
            "project-mismatch": found(tmp_path / "b", units=1, project="other"),
            "elf-mismatch": found(tmp_path / "c", units=1, seed=5),
        }
        with serve([spec()]) as (board,):
            factory.run(board.url, command="flash")
            for cause, other in others.items():
                said = factory.run(board.url, extra=("--release", str(other.root / "build")), command="verify")
                assert (said.code, said.verdict) == (1, ("FAIL", cause))

    def test_without_a_release(self, factory):
        """Without a release, the health of the boot and the identity are judged."""
        with serve([spec()]) as (board,):
            factory.run(board.url, command="flash")
            factory.edit('path = "build"', '# path = "build"')
            assert factory.run(board.url, command="verify").code == 0

    def test_damaged_flash(self, factory, tmp_path):
        """The reason is what the bootloader found, not the restart that follows it."""
        one = spec(flash_file=tmp_path / "flash.bin")
        with serve([one]) as (board,):
            serial = factory.run(board.url, command="flash").unit["serial"]
        good = one.flash_file.read_bytes()
        for offset, cause in (
            (0x30000, "image-hash"),
            (0xC00C, "partition-table"),
            (0xC004, "table-exceeds-flash"),
            (0, "no-bootloader"),
        ):
            one.flash_file.write_bytes(good[:offset] + b"\x00\x11\x22\x33" * 4 + good[offset + 16 :])
            with serve([one]) as (board,):
                said = factory.run(board.url, command="verify")
            assert said.verdict == ("FAIL", cause), said.unit["reason"]
            assert factory.states() == {serial: "failed"}

    def test_erased_factory_partition(self, factory, tmp_path):
        """An erased factory partition fails in identify, not in boot."""
        one = spec(flash_file=tmp_path / "flash.bin")
        with serve([one]) as (board,):
            factory.run(board.url, command="flash")
        data = one.flash_file.read_bytes()
        one.flash_file.write_bytes(data[:FCTRY] + b"\xff" * 0x6000 + data[FCTRY + 0x6000 :])
        with serve([one]) as (board,):
            said = factory.run(board.url, command="verify")
        assert said.unit["outcome"] == "FAIL"
        assert said.unit["class"] in ("no-node-id", "factory-unreadable", "claiming")
        assert said.steps()["boot"] == "PASS"


class TestSocket:
    """`socket://` ports carry no reset lines: the operator restarts the board."""

    def test_flash_leaves_the_board_in_its_loader(self, factory):
        """A board in its loader is flashed and stays there."""
        with serve([BoardSpec(Chip.ESP32C3, link=PortKind.SOCKET)]) as (board,):
            said = factory.run(board.url, command="flash")
            state = board.state()
            again = factory.run(board.url, command="flash")
        assert said.code == again.code == 0
        assert (state["mode"], state["restarts"]) == ("download", 1)
        assert again.step("flash")["measurements"]["kept"] == 5

    def test_a_board_that_runs(self, factory):
        """A board that is not in its loader is a station error with a hint."""
        with serve([BoardSpec(Chip.ESP32C3, **SOCKET_RUN)]) as (board,):
            said = factory.run(board.url, command="flash")
        assert (said.code, said.verdict) == (4, ("ERROR", "not-in-loader"))
        assert factory.bindings() == {}

    @pytest.fixture
    def flashed(self, factory, tmp_path):
        """A flashed unit that runs behind a socket: its start is over before anyone hears its log."""
        one = BoardSpec(Chip.ESP32C3, flash_file=tmp_path / "flash.bin")
        with serve([one]) as (board,):
            serial = factory.run(board.url, command="flash").unit["serial"]
        with serve([BoardSpec(Chip.ESP32C3, flash_file=one.flash_file, **SOCKET_RUN)]) as (board,):
            until(lambda: board.state()["serving"], "the unit does not start")
            yield factory, serial, board

    def test_verify_by_serial(self, flashed):
        """With --serial the console of a board that the operator restarts is judged, and passes."""
        factory, serial, board = flashed
        hand = restarting(factory, board)
        said = factory.run(board.url, extra=("--serial", serial), command="verify")
        hand.join()
        assert said.code == 0, said.unit["reason"]
        assert said.steps() == {"detect": "SKIP", "boot": "PASS", "identify": "PASS", "provision": "PASS"}
        assert said.step("provision")["measurements"]["checks"]["wrong-pop"] == "SKIP"
        assert said.unit["serial"] == serial
        assert any("restart the board now" in word for word in said.logs)
        assert factory.states() == {serial: "verified"}

    def test_verify_without_serial(self, flashed):
        """Without --serial the unit is unbound, although its console prints its node id."""
        factory, serial, board = flashed
        hand = restarting(factory, board)
        said = factory.run(board.url, command="verify")
        hand.join()
        assert (said.code, said.verdict) == (1, ("FAIL", "unbound"))
        assert factory.states() == {serial: "flashed"}

    def test_verify_of_another_unit(self, flashed):
        """A console with a different node id than that of --serial fails."""
        factory, _, board = flashed
        with serve([spec(index=4)]) as (second,):
            other = factory.run(second.url, command="flash").unit["serial"]
        hand = restarting(factory, board)
        said = factory.run(board.url, extra=("--serial", other), command="verify")
        hand.join()
        assert (said.code, said.verdict) == (1, ("FAIL", "other-identity"))

    def test_nobody_restarts_it(self, flashed):
        """If the board is not restarted, the station is at fault, not the unit."""
        factory, serial, board = flashed
        factory.edit("boot_timeout = 60.0", "boot_timeout = 1.0")
        said = factory.run(board.url, extra=("--serial", serial), command="verify")
        assert (said.code, said.verdict) == (4, ("ERROR", "not-restarted"))
        assert factory.states() == {serial: "flashed"}

    @pytest.mark.parametrize(("serial", "cause"), [("LMP-000008", "not-claimed"), ("LMP-99", "no-serial")])
    def test_serial_that_no_board_has(self, flashed, serial, cause):
        """A serial that no board has cannot be verified."""
        factory, _, board = flashed
        said = factory.run(board.url, extra=("--serial", serial), command="verify")
        assert (said.code, said.verdict) == (3, ("ERROR", cause))

    def test_loop_needs_restarts(self, factory):
        """--loop on a port without reset lines is bad input."""
        assert factory.run("socket://127.0.0.1:1", extra=("--loop",)).code == 3


FIXTURE = """
import socket, sys
host, port, mode = sys.argv[1:]
with socket.create_connection((host, int(port))) as control:
    for command in ("strap " + mode, "restart"):
        control.sendall(command.encode() + b"\\n")
        assert control.makefile().readline() == "ok\\n"
"""


class TestFixture:
    """A fixture's command restarts the board of a pty, which has no reset lines."""

    def test_run(self, factory, tmp_path):
        """The whole line passes through a fixture, by the slot's name."""
        script = tmp_path / "fixture.py"
        script.write_text(FIXTURE)
        with serve([BoardSpec(Chip.ESP32C3, link=PortKind.PTY, strap=Strap.RUN)], state=tmp_path) as (board,):
            words = [sys.executable, str(script), *board.address.split(":"), "{mode}"]
            station(factory, board.url, json.dumps(words))
            said = factory.run("A1")
        assert said.code == 0, said.unit["reason"]
        assert said.unit["slot"] == "A1"
        assert said.unit["station"] == "bench-7"

    def test_failing_command(self, factory, tmp_path):
        """A fixture that fails is a station error with its last line of output."""
        with serve([BoardSpec(Chip.ESP32C3, link=PortKind.PTY)], state=tmp_path) as (board,):
            station(factory, board.url, json.dumps([sys.executable, "-c", "import sys; sys.exit('no air')", "{mode}"]))
            said = factory.run()
        assert (said.code, said.verdict) == (4, ("ERROR", "fixture"))
        assert "no air" in said.unit["reason"]


class TestPorts:
    """Which ports are worked on."""

    def test_same_port_twice(self, factory):
        """One port cannot be two slots."""
        assert factory.run("/dev/ttyUSB0", "/dev/ttyUSB0").code == 2

    def test_no_port(self, factory):
        """Without --port and station.toml the command is bad input."""
        assert factory.run().code == 3

    def test_absent_port(self, factory):
        """A port that does not exist is recorded as ERROR, with exit code 4."""
        said = factory.run("/dev/not-there")
        assert (said.code, said.verdict) == (4, ("ERROR", "port-absent"))
        assert said.summary["errors"] == 1
        factory.check()


@pytest.mark.parametrize(("limit", "baud"), [(460800, 460800), (230400, 230400), (115200, 115200)])
def test_slower_baud(factory, limit, baud):
    """On a connection that garbles data above a baud, the line falls back to the fastest baud that works."""
    with serve([spec()]) as (board,), GarblingProxy(board.url, limit) as url:
        said = factory.run(url, command="flash")
    assert said.code == 0, said.unit["reason"]
    assert said.step("detect")["measurements"]["baud"] == baud


@pytest.mark.parametrize(
    "once",
    [
        (b"Node ID ----- ", b"Node ID ----- x"),
        (b"Project name:     ", b"Project name:     x"),
        (b"Node ID: ", b"Node ID: x"),
    ],
    ids=["node id", "project", "answer"],
)
def test_one_wrong_character(factory, once):
    """A character that the cable changed once is the cable's ERROR, not another node or app: a second attempt from the
    restart on passes, and is MARGINAL."""
    with serve([spec()]) as (board,), GarblingProxy(board.url, once=once) as url:
        UNITS[url] = board.provisioning_url
        said = factory.run(url)
    assert said.verdict == ("PASS", None)
    (first,) = [event for event in said.events if event["event"] == "step" and event["outcome"] == "ERROR"]
    again = [event for event in said.events if event["event"] == "step" and event["step"] == first["step"]][-1]
    assert (first["class"], again["outcome"], again["class"]) == ("console-garbled", "MARGINAL", "console-garbled")
    assert list(factory.states().values()) == ["verified"]


def test_console_log_is_kept_without_secrets(factory):
    """Nothing that the line writes contains a PoP, `random` or key: not logs, events, output or the ledger's file."""
    with serve([spec(), spec(index=1, faults=("other-identity",)), spec(index=2, faults=("panic",))]) as boards:
        said = factory.run(*(board.url for board in boards))
    logs = list((factory.root / "logs").iterdir())
    assert len(logs) == 3
    assert {Path(unit["log"]) for unit in said.units} == set(logs)
    assert all(unit["log"] for unit in said.units)
    texts = [path.read_text() for path in logs]
    assert sum("Project name" in text for text in texts) == 3
    assert any("<redacted>" in text for text in texts)
    haystack = [path.read_bytes() for path in logs]
    haystack += [json.dumps(said.events).encode(), said.words.encode()]
    haystack += [path.read_bytes() for path in factory.root.glob("ledger.db*")]
    for serial in factory.states():
        identity = factory.identity(serial)
        secrets = [identity.pop.reveal().encode(), identity.random.reveal(), identity.random.reveal().hex().encode()]
        for secret in secrets:
            for hay in haystack:
                assert secret.lower() not in hay.lower()
    for path in logs:
        assert path.stat().st_mode & 0o077 == 0
    assert (factory.root / "logs").stat().st_mode & 0o077 == 0
