"""The unmodified command line of esptool flashes virtual boards over a pseudo-terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, PortKind, serve
from rmfab.virtual.build.build_folder import make_bootloader
from tests.patience import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="pty boards need Linux")]

# One interpreter runs several command lines, because the start of esptool takes longer than its work here.
_DRIVER = """
import contextlib, io, json, sys
import esptool
results = []
for line in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            esptool.main(line)
            code = 0
        except SystemExit as exit:
            code = exit.code or 0
        except esptool.FatalError as error:
            code, _ = 2, out.write(str(error))
    results.append([code, out.getvalue()])
sys.stdout.write(json.dumps(results))
"""


def _esptool(lines, cwd):
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DRIVER], input=json.dumps(lines), cwd=cwd, env=environment,
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _session(board, cwd, *commands, stub=True):
    head = ["--port", board.url, "--before", "no-reset", "--after", "no-reset"] + ([] if stub else ["--no-stub"])
    return _esptool([[*head, *command] for command in commands], cwd)


def _pattern(size):
    return b"".join((n * 2654435761 & 0xFFFFFFFF).to_bytes(4, "little") for n in range(size // 4))


_TABLE = list(Chip)


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    state = tmp_path_factory.mktemp("boards")
    specs = [BoardSpec(chip, index, link=PortKind.PTY) for index, chip in enumerate(_TABLE)]
    with serve(specs, state=state) as handles:
        yield {handle.chip: handle for handle in handles}


@pytest.mark.parametrize("chip", _TABLE, ids=lambda chip: chip.value)
def test_stub_session(boards, chip, tmp_path):
    """With the stub, every command that a line or a maker needs works on every chip and changes the flash file."""
    board = boards[chip]
    data = _pattern(100_000)
    (tmp_path / "data.bin").write_bytes(data)
    (tmp_path / "noise.bin").write_bytes(noise := os.urandom(20_000))
    results = _session(
        board, tmp_path,
        ["--baud", "921600", "write-flash", "0x20000", "data.bin"],
        ["write-flash", "--no-compress", "0x60000", "noise.bin"],
        ["verify-flash", "0x20000", "data.bin"],
        ["read-flash", "0x20000", "100000", "back.bin"],
        ["read-mac"], ["flash-id"], ["chip-id"], ["read-flash-status", "--bytes", "2"], ["get-security-info"],
        ["erase-region", "0x20000", "0x1000"],
        ["verify-flash", "0x20000", "data.bin"],
    )  # fmt: skip
    codes = [code for code, _ in results]
    texts = [text for _, text in results]
    refused = 2 if chip is Chip.ESP32 else 0
    assert [0, 0, 0, 0, 0, 0, 0, 0, refused, 0, 2] == codes, texts[codes.index(2)] if 2 in codes else texts
    assert data == (tmp_path / "back.bin").read_bytes()
    assert "Hash of data verified" in texts[0]
    assert "Hash of data verified" in texts[1]
    assert board.mac in texts[4].replace("ff:fe:", "")
    assert "Detected flash size: 4MB" in texts[5]
    flash = board.flash_file.read_bytes()
    assert b"\xff" * 0x1000 + data[0x1000:] == flash[0x20000 : 0x20000 + len(data)]
    assert noise == flash[0x60000 : 0x60000 + len(noise)]


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32S3, Chip.ESP32C3, Chip.ESP32C6], ids=lambda chip: chip.value)
def test_rom_session(boards, chip, tmp_path):
    """Without a stub, the ROM itself writes, verifies and reads, and rejects commands of the stub."""
    board = boards[chip]
    board.control("restart")
    data = _pattern(9_000)
    (tmp_path / "data.bin").write_bytes(data)
    results = _session(
        board, tmp_path,
        ["write-flash", "0x1000", "data.bin"],
        ["write-flash", "--no-compress", "0x8000", "data.bin"],
        ["verify-flash", "0x1000", "data.bin"],
        ["read-flash", "0x1000", "256", "back.bin"],
        ["get-security-info"],
        ["erase-flash"],
        stub=False,
    )  # fmt: skip
    codes = [code for code, _ in results]
    refused = 2 if chip is Chip.ESP32 else 0
    assert [0, 0, 0, 0, refused, 2] == codes, [text for _, text in results]
    assert data[:256] == (tmp_path / "back.bin").read_bytes()
    flash = board.flash_file.read_bytes()
    assert data == flash[0x1000 : 0x1000 + len(data)] == flash[0x8000 : 0x8000 + len(data)]


def test_erase_flash_and_wrong_chip(boards, tmp_path):
    """`erase-flash` blanks the flash; a `--chip` that differs from the board's is rejected."""
    board = boards[Chip.ESP32C3]
    results = _session(board, tmp_path, ["erase-flash"], ["--chip", "esp32", "read-mac"])
    assert [code for code, _ in results] == [0, 2]
    assert board.flash_file.read_bytes().count(0xFF) == 4 << 20


def test_command_line_over_rfc2217(tmp_path):
    """`python -m esptool` over stock rfc2217:// resets the board into its loader and out of it with DTR and RTS."""
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,):
        assert board.state()["mode"] == "running"
        line = ["--port", board.url, "--chip", "esp32c3", "--no-stub", "read-mac"]
        done = subprocess.run(
            [sys.executable, "-m", "esptool", *line], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert board.mac in done.stdout
        state = board.state()
        assert state["mode"] == "running"
        assert state["restarts"] >= 3


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32C3, Chip.ESP32S2], ids=lambda chip: chip.value)
def test_a_paced_board_stays_in_its_loader(chip, tmp_path):
    """On a paced board, `write-flash --after no-reset` at 921600 baud ends well, twice in a row."""
    (tmp_path / "data.bin").write_bytes(data := os.urandom(30_000))
    with serve([BoardSpec(chip, link=PortKind.PTY, paced=0)], state=tmp_path / "state") as (board,):
        for _ in range(2):
            line = ["--port", board.url, "--before", "no-reset", "-b", "921600", "--after", "no-reset"]
            ((code, text),) = _esptool([[*line, "write-flash", "0x20000", "data.bin"]], tmp_path)
            assert code == 0, text
            assert board.state()["mode"] == "download"
        assert board.flash_file.read_bytes()[0x20000 : 0x20000 + len(data)] == data


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32C3], ids=lambda chip: chip.value)
def test_code_in_ram_is_the_end_of_the_loader(boards, chip, tmp_path):
    """After `load-ram` the code has the chip, and the next command finds no loader."""
    board = boards[chip]
    board.control("restart")
    (tmp_path / "code.bin").write_bytes(make_bootloader(chip, 4 << 20))
    knock = ["--connect-attempts", "2", "read-mac"]
    ran, after = _session(board, tmp_path, ["load-ram", "code.bin"], knock, stub=False)
    board.control("restart")
    assert (ran[0], after[0]) == (0, 2), (ran, after)


@pytest.mark.parametrize(("chip", "code"), [(Chip.ESP32, 0), (Chip.ESP32C3, 2)], ids=["esp32", "esp32c3"])
def test_encrypted_writes_of_esptool(boards, chip, code, tmp_path):
    """`write-flash --encrypt` writes ciphertext to an ESP32 with a blank key, and is rejected by a C3."""
    (tmp_path / "data.bin").write_bytes(data := bytes(0x1000))
    board = boards[chip]
    board.control("restart")
    line = ["write-flash", "--encrypt", "--ignore-flash-enc-efuse", "0x30000", "data.bin"]
    ((ended, text),) = _session(board, tmp_path, line)
    assert code == ended, text
    written = board.flash_file.read_bytes()[0x30000:0x31000]
    assert written != data
    assert (written == b"\xff" * 0x1000) is (code == 2)
