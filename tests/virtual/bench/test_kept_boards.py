"""TCP ports of virtual boards: fixed ones, and the file with which a state folder keeps them."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
import serial

from rmfab.errors import InputError, StationError, UsageError
from rmfab.listening import free_port
from rmfab.operations.serve_boards import BoardsRequest
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, PortKind, serve
from rmfab.virtual.bench.kept_boards import FILE_NAME, KeptBoard, keep_boards, read_boards
from rmfab.virtual.spec import BoardNumbers, Strap
from tests.patience import PATIENCE
from tests.terminal import Said, environment, words

TWO = [BoardSpec(Chip.ESP32C3), BoardSpec(Chip.ESP32C3, index=1)]
LINE = {"url": "rfc2217://127.0.0.1:4000", "provisioning": "http://127.0.0.1:4001", "control": "127.0.0.1:4002"}


def addresses(specs: list[BoardSpec], state: Path) -> list[tuple[str, str, str]]:
    with serve(specs, state=state) as boards:
        return [(board.url, board.provisioning_url, board.address) for board in boards]


def board_command(*argv: str) -> Said:
    """Run `rmfab board` until it has printed its boards, or has ended."""
    with subprocess.Popen(
        words("board", *argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    return Said(running.returncode, first + out, err)


def test_a_folder_keeps_the_ports(tmp_path: Path) -> None:
    """Boards of a state folder have the same ports each time, whatever their chip and number; without, new ones."""
    first = addresses(TWO, tmp_path)
    assert addresses(TWO, tmp_path) == first
    assert addresses([BoardSpec(Chip.ESP32S3)], tmp_path) == first[:1]
    assert addresses(TWO, tmp_path) == first
    assert addresses(TWO, tmp_path / "other") != first


def test_new_ports(tmp_path: Path) -> None:
    """`--tcp-port 0` gives boards new ports, which are kept from then on."""
    first = json.loads(board_command("--json", "--state", str(tmp_path)).out)
    assert json.loads(board_command("--json", "--state", str(tmp_path)).out)["url"] == first["url"]
    second = json.loads(board_command("--json", "--state", str(tmp_path), "--tcp-port", "0").out)
    assert second["url"] != first["url"]
    assert json.loads(board_command("--json", "--state", str(tmp_path)).out)["url"] == second["url"]


def test_kept_ports_are_no_clients(tmp_path: Path) -> None:
    """A port that a folder keeps is one that no outgoing connection gets while the boards are not served."""
    addresses(TWO, tmp_path)
    kept = read_boards(tmp_path).values()
    assert all(number < 32768 for board in kept for number in astuple(board.numbers))


def test_fixed_ports() -> None:
    """The first board has the ports from --tcp-port on, and each next one those 10 higher."""
    specs = BoardsRequest(count=3, tcp_port=4000).specs()
    assert [spec.numbers for spec in specs] == [BoardNumbers(n, n + 1, n + 2) for n in (4000, 4010, 4020)]
    assert BoardsRequest(count=2).specs()[1].numbers == BoardsRequest(count=2, tcp_port=0).specs()[1].numbers
    assert BoardsRequest(count=3, tcp_port=65506).specs()[2].numbers.control == 65528
    with pytest.raises(UsageError) as refused:
        BoardsRequest(count=3, tcp_port=65507)
    assert "at most 65506" in (refused.value.hint or "")


def test_fixed_ports_are_served(tmp_path: Path) -> None:
    """The ports that were asked for win over those of the folder, and are kept."""
    first = addresses(TWO[:1], tmp_path)[0]
    number = free_port("127.0.0.1")
    with serve([BoardSpec(Chip.ESP32C3, numbers=BoardNumbers(port=number))], state=tmp_path) as (board,):
        assert board.url == f"rfc2217://127.0.0.1:{number}"
        assert (board.provisioning_url, board.address) == first[1:]
    assert addresses(TWO[:1], tmp_path)[0][0] == f"rfc2217://127.0.0.1:{number}"


@pytest.mark.parametrize("which", ["port", "provisioning", "control"])
def test_a_port_in_use(tmp_path: Path, which: str) -> None:
    """A port that a different program has is an error that names it and what to do; no board stays behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        numbers = {name: free_port("127.0.0.1") for name in LINE} | {"url" if which == "port" else which: number}
        keep_boards(tmp_path, [{name: LINE[name][:-4] + str(numbers[name]) for name in LINE}])
        said = board_command("--state", str(tmp_path))
    said.refused(4, f"127.0.0.1:{number}: cannot listen: address already in use", "or 0 for any free one")
    assert said.out == ""


@pytest.mark.skipif(sys.platform != "linux", reason="pty boards need Linux")
def test_a_terminal_has_a_name_instead(tmp_path: Path) -> None:
    """A pseudo-terminal keeps its name in the folder, its other ports as they are."""
    spec = BoardSpec(Chip.ESP32C3, link=PortKind.PTY)
    first = addresses([spec], tmp_path)
    assert first[0][0] == str(tmp_path / "esp32c3-0")
    assert addresses([spec], tmp_path) == first


def test_an_empty_port() -> None:
    """A board that is not plugged in has a port that nobody can open, and no power, until `return`."""
    with serve([BoardSpec(Chip.ESP32C3, link=PortKind.SOCKET, strap=Strap.RUN, unplugged=True)]) as (board,):
        assert (board.state()["plugged"], board.state()["mode"]) == (False, "off")
        with pytest.raises(serial.SerialException):
            serial.serial_for_url(board.url)
        board.control("return")
        assert (board.state()["plugged"], board.state()["mode"]) == (True, "running")
        serial.serial_for_url(board.url).close()
        board.control("vanish")
        assert board.state()["plugged"] is False


def test_the_help_lists_the_control_commands() -> None:
    """`rmfab board --help` lists the commands that a board lists when it receives an unknown one."""
    listed = re.search(r"Control commands.*?:\n(.*?)\n\n", _help(), re.DOTALL)
    assert listed is not None
    with serve(TWO[:1]) as (board,), pytest.raises(StationError) as refused:
        board.control("help")
    forms = str(refused.value).split("error: ")[1].split(" | ")
    assert [line[2:31].strip() for line in listed[1].splitlines() if line[2] != " "] == forms


def _help() -> str:
    done = subprocess.run(words("board", "--help"), capture_output=True, text=True, env=environment(), check=True)
    return done.stdout


def test_the_file(tmp_path: Path) -> None:
    """The file has one row per board; boards that are not served now stay in it."""
    keep_boards(tmp_path, [LINE, LINE | {"url": str(tmp_path / "esp32c3-1")}])
    keep_boards(tmp_path, [LINE | {"control": "127.0.0.1:5000"}])
    boards = read_boards(tmp_path)
    assert boards[0] == KeptBoard(0, LINE["url"], LINE["provisioning"], "127.0.0.1:5000")
    assert (boards[0].numbers, boards[1].numbers) == (BoardNumbers(4000, 4001, 5000), BoardNumbers(0, 4001, 4002))
    assert read_boards(tmp_path / "nowhere") == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"boards": 7}',
        '{"boards": [7]}',
        json.dumps({"boards": [LINE]}),
        json.dumps({"boards": [LINE | {"index": True}]}),
        json.dumps({"boards": [LINE | {"index": 256}]}),
        json.dumps({"boards": [LINE | {"index": 0, "control": "10.0.0.7:22"}]}),
        json.dumps({"boards": [LINE | {"index": 0, "control": "127.0.0.1:70000"}]}),
        json.dumps({"boards": [LINE | {"index": 0, "control": "127.0.0.1:4000"}]}),
        json.dumps({"boards": [LINE | {"index": 0, "url": None}]}),
    ],
)
def test_a_damaged_file(tmp_path: Path, text: str) -> None:
    """A file with anything else is rejected, with the way to new ports."""
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(InputError, match="not the addresses of virtual boards") as refused:
        read_boards(tmp_path)
    assert refused.value.where == str(tmp_path / FILE_NAME)
    board_command("--state", str(tmp_path)).refused(3, "boards.json", "remove it")
