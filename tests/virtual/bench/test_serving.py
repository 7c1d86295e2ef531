"""Boards in a child process: handles, control, state, faults of the serial line, and no orphans."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys

import pytest
import serial

from rmfab.errors import InputError, StationError
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, FaultCall, PortKind, Strap, serve
from rmfab.virtual.bench.serving import spec_from_json, spec_to_json
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.network import AccessPoint, Route
from rmfab.virtual.spec import BoardNumbers, derived_mac
from tests.forked import START_CHILD
from tests.patience import PATIENCE, until
from tests.virtual.rig import SYNC, frame

_SYNC = frame(b"\x00\x08\x24\x00\x00\x00\x00\x00" + SYNC)
_BEGIN = frame(b"\x00\x10\x14\x00" + bytes(4) + b"".join(n.to_bytes(4, "little") for n in (0x4000, 1, 0x4000, 0, 0)))
_DATA = frame(b"\x00\x11\x10\x00" + bytes(4) + bytes(16))


@pytest.fixture(autouse=True)
def _the_real_child(monkeypatch):
    """The child process that users get, which other tests fork."""
    monkeypatch.setattr("rmfab.virtual.bench.serving.start_child", START_CHILD)


def _spec(*faults, chip=Chip.ESP32C3, link=PortKind.SOCKET, **fields):
    calls = tuple(FaultCall.parse(fault) for fault in faults)
    return BoardSpec(chip, link=link, strap=Strap.DOWNLOAD, faults=calls, **fields)


def _answers(port, wanted=16):
    """Return how many frame marks follow a SYNC: the wanted number, or fewer after a timeout."""
    port.reset_input_buffer()
    port.write(_SYNC)
    said = b""
    port.timeout = PATIENCE if wanted else 0.3
    while piece := port.read(1):
        said += piece
        if 0 < wanted <= said.count(b"\xc0"):
            break
    return said.count(b"\xc0")


def test_spec_survives_json():
    """The child process receives the same specification."""
    around = (AccessPoint("air", -40, routes=(Route("mqtt.example.com", "127.0.0.1", 8883),)), AccessPoint("den"))
    spec = _spec(
        "kill-at=7@2", "panic", mac=derived_mac(Chip.ESP32C3, 9), paced=0, kill_pid=5, revision=3, networks=around,
        numbers=BoardNumbers(4000, 4001, 4002), unplugged=True,
    )  # fmt: skip
    assert spec == spec_from_json(json.loads(json.dumps(spec_to_json(spec))))


@pytest.mark.parametrize("text", ["coffee", "panic=3", "kill-at", "kill-at=0", "panic@x", "", "PANIC"])
def test_fault_names_are_checked(text):
    """A fault that does not exist, lacks its number or has one too many is rejected with a hint."""
    with pytest.raises(InputError) as refusal:
        FaultCall.parse(text)
    assert refusal.value.hint


def test_every_fault_has_a_line():
    """Each fault has a stable name and a one-line summary."""
    for fault in BoardFault:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", fault.value)
        assert 10 < len(fault.summary) < 100


def test_flash_outlives_the_process(tmp_path):
    """With a state folder, flash and MAC are the same in the next process."""
    with serve([_spec()], state=tmp_path) as (board,):
        mac = board.mac
        board.flash_file.write_bytes(b"\xff" * 100 + b"mark" + board.flash_file.read_bytes()[104:])
    with serve([_spec()], state=tmp_path) as (board,):
        assert mac == board.mac
        assert board.flash_file.read_bytes()[100:104] == b"mark"
        assert mac[:8] == "24:0a:c4"


def test_control_plays_the_fixture():
    """restart, strap and power act as a fixture; nonsense is rejected; a fault can be added later."""
    with serve([_spec()]) as (board,):
        assert board.state()["mode"] == "download"
        board.control("strap run")
        board.control("restart")
        assert board.state()["mode"] == "running"
        board.control("power off")
        assert board.state()["mode"] == "off"
        board.control("power on")
        assert board.state()["mode"] == "running"
        for nonsense in ("dance", "strap sideways", "fault coffee"):
            with pytest.raises(StationError):
                board.control(nonsense)
        board.control("strap download")
        board.control("fault no-sync")
        board.control("restart")
        with serial.serial_for_url(board.url) as port:
            assert _answers(port, 0) == 0


def test_faults_from_the_start_need_a_different_board():
    """`fault` refuses what a board has from its start or never; `swap FAULT` puts in a board that has it."""
    with serve([_spec()]) as (board,):
        with pytest.raises(StationError, match="use `swap small-flash`"):
            board.control("fault small-flash")
        with pytest.raises(StationError, match="not a fault"):
            board.control("swap coffee")
        first = board.state()["mac"]
        board.control("swap small-flash no-sync")
        assert board.state()["mac"] != first
        with serial.serial_for_url(board.url) as port:
            assert _answers(port, 0) == 0


def _read_on(port):
    while port.read(64):
        pass


def _write_until_gone(board):
    with serial.serial_for_url(board.url, timeout=PATIENCE) as port:
        port.write(_SYNC + _BEGIN + _DATA * 3)
        with pytest.raises((serial.SerialException, OSError)):
            _read_on(port)


def test_vanish_and_return():
    """The port disappears during a write and stays closed until `return`; then the same board is there."""
    with serve([_spec("vanish")]) as (board,):
        _write_until_gone(board)
        with pytest.raises(serial.SerialException):
            serial.serial_for_url(board.url)
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", int(board.url.rpartition(":")[2])))
        board.control("return")
        with serial.serial_for_url(board.url) as port:
            assert _answers(port) == 16
        assert board.mac == board.state()["mac"]


def test_vanish_is_answered_when_the_port_is_closed():
    """After the answer to `vanish` the port is closed, and after that to `return` it is open."""
    with serve([_spec()]) as (board,):
        host, _, number = board.url.rpartition("/")[2].partition(":")
        for command, open_then in [("vanish", False), ("return", True)] * 20:
            board.control(command)
            assert _listens(host, int(number)) is open_then


@pytest.mark.slow
def test_vanish_and_swap():
    """The port disappears during a write and comes back by itself as a different board."""
    with serve([_spec("vanish-and-swap")]) as (board,):
        _write_until_gone(board)
        until(lambda: (state := board.state())["plugged"] and state["mac"] != board.mac)
        with serial.serial_for_url(board.url) as port:
            assert _answers(port) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="pty boards need Linux")
def test_pty_vanishes_and_returns_under_its_name():
    """A pseudo-terminal that vanishes gives its host an error, and comes back under the same name."""
    with serve([_spec(link=PortKind.PTY)]) as (board,):
        with serial.serial_for_url(board.url) as port:
            assert _answers(port) == 16
            board.control("vanish")
            with pytest.raises((serial.SerialException, OSError)):
                port.read(1)
        assert not os.path.lexists(board.url)
        board.control("return")
        with serial.serial_for_url(board.url) as port:
            assert _answers(port) == 16


def test_stall_at():
    """The board stops answering at the N-th command."""
    with serve([_spec("stall-at=3")]) as (board,), serial.serial_for_url(board.url) as port:
        assert [_answers(port, wanted) for wanted in (16, 16, 0, 0)] == [16, 16, 0, 0]


def test_kill_at():
    """The N-th command kills the given process before it is executed."""
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    try:
        boards = serve([_spec("kill-at=2", kill_pid=victim.pid)])
        with boards as (board,), serial.serial_for_url(board.url) as port:
            assert _answers(port) == 16
            assert victim.poll() is None
            port.write(_SYNC)
            assert victim.wait(PATIENCE) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.wait()


def test_drop_bytes_once():
    """`drop-bytes` breaks one large block; its repetition is received."""
    head = struct.pack("<BBHII", 0, 3, 1016, 0xEF, 1000)
    begin = frame(b"\x00\x02\x14\x00" + bytes(4) + b"".join(n.to_bytes(4, "little") for n in (4000, 4, 1000, 0, 0)))
    attach = frame(b"\x00\x0d\x08\x00" + bytes(4) + bytes(8))
    with serve([_spec("drop-bytes")]) as (board,), serial.serial_for_url(board.url) as port:
        _answers(port)
        port.write(attach)
        port.write(begin)
        port.read(28)
        statuses = []
        for _ in range(5):
            sequence = statuses.count(0)
            port.write(frame(head + struct.pack("<III", sequence, 0, 0) + bytes(1000)))
            statuses.append(port.read(14)[9])
        assert statuses.count(1) == 1


def test_boards_die_with_their_parent():
    """If the process that serves boards is killed, no board is left behind."""
    code = (
        "import sys, time\n"
        "from rmfab.virtual import BoardSpec, serve\n"
        "from rmfab.product.vocabulary import Chip\n"
        "with serve([BoardSpec(Chip.ESP32C3)]) as (board,):\n"
        "    sys.stdout.write(board.address + '\\n'); sys.stdout.flush(); time.sleep(1000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    host, _, number = parent.stdout.readline().strip().rpartition(":")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not _listens(host, int(number)))


def _listens(host, number):
    """Return whether a board takes connections. pyserial would leave its socket open if the board dies meanwhile."""
    try:
        socket.create_connection((host, number)).close()
    except OSError:
        return False
    return True


def _command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "rmfab", "board", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_command_serves_until_it_is_told_to_end(tmp_path):
    """`rmfab board --json` prints one line per board and exits with 0 on SIGTERM, leaving the flash files."""
    running = _command(
        "--chip", "esp32s3", "--count", "2", "--mac", "24:0A:C4:00:00:FF", "--json", "--state", str(tmp_path)
    )
    lines = [json.loads(running.stdout.readline()) for _ in range(2)]
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=PATIENCE) == ("", "")
    assert running.returncode == 0
    assert [line["mac"] for line in lines] == ["24:0a:c4:00:00:ff", "24:0a:c4:00:01:00"]
    assert all(line["url"].startswith("rfc2217://127.0.0.1:") for line in lines)
    assert {".lock", "boards.json", "esp32s3-0.bin", "esp32s3-1.bin"} == {path.name for path in tmp_path.iterdir()}


def test_command_in_plain_words():
    """Without --json a line is chip, MAC and port, and the control socket if there are no reset lines."""
    running = _command("--transport", "socket", "--paced", "460800")
    line = running.stdout.readline()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=PATIENCE)
    assert re.fullmatch(
        r"esp32c3  24:0a:c4(:[0-9a-f]{2}){3}  socket://127\.0\.0\.1:\d+"
        r"  http://127\.0\.0\.1:\d+  control 127\.0\.0\.1:\d+\n",
        line,
    )


@pytest.mark.parametrize(
    "arguments", [["--fault", "coffee"], ["--chip", "esp8266"], ["--mac", "01:02:03:04:05:06"], ["--paced", "fast"]]
)
def test_command_refuses_nonsense(arguments):
    """A bad argument is a usage error that names it."""
    refused = _command(*arguments)
    _, said = refused.communicate(timeout=PATIENCE)
    assert refused.returncode == 2
    assert arguments[1] in said


def test_state_folder_has_one_user(tmp_path):
    """A second process on the same state folder is rejected."""
    with serve([_spec()], state=tmp_path), pytest.raises(StationError), serve([_spec()], state=tmp_path):
        pass


def test_kill_at_needs_a_process():
    """`--fault kill-at` without --kill-pid is a usage error."""
    refused = _command("--fault", "kill-at=1")
    assert "--kill-pid" in refused.communicate(timeout=PATIENCE)[1]


def test_an_endless_control_line():
    """A control line over 64 KiB is rejected and its connection closed, without a traceback; the next one is obeyed."""
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,):
        host, _, number = board.address.rpartition(":")
        with socket.create_connection((host, int(number)), timeout=PATIENCE) as connection:
            connection.sendall(b"x" * 200_000)
            received = b""
            try:
                while data := connection.recv(4096):
                    received += data
            except ConnectionError:  # it was closed with bytes of ours unread
                pass
        assert received in (b"", b"error: a control command is at most 64 KiB long\n")
        assert board.control("restart") == "ok"


def test_no_traceback_of_an_endless_control_line(capfd):
    """The process of the boards prints nothing about it."""
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,):
        host, _, number = board.address.rpartition(":")
        with socket.create_connection((host, int(number)), timeout=PATIENCE) as connection:
            connection.sendall(b"x" * 200_000)
        assert board.control("restart") == "ok"
    assert "Traceback" not in capfd.readouterr().err
