"""The digests in a board's eFuses, read through esptool from virtual boards, and compared with espefuse."""

import json
import subprocess
import sys

import pytest

from rmfab.board.esp.efuse_digests import burned_digests
from rmfab.board.esp.loader import Loader, SlotLink
from rmfab.board.port import open_port
from rmfab.board.restart import Unwired
from rmfab.cli import main
from rmfab.product.vocabulary import Chip
from rmfab.virtual import spec
from rmfab.virtual.bench.serving import serve
from rmfab.virtual.chip.models import MODELS
from tests.patience import PATIENCE

DIGESTS = tuple(bytes(range(first, first + 32)).hex() for first in (0, 0x40, 0x80))


@pytest.fixture(scope="module")
def boards():
    """A board of every chip in its loader, with as many digests as the chip can hold."""
    specs = [
        spec.BoardSpec(
            chip,
            link=spec.PortKind.SOCKET,
            strap=spec.Strap.DOWNLOAD,
            secure_boot_digests=DIGESTS[: MODELS[chip].secure_boot_keys],
        )
        for chip in Chip
    ]
    with serve(specs) as served:
        yield {board.chip: board for board in served}


def read_security(url):
    """Return what rmfab's loader reads of the board at the port."""
    port = open_port(url)
    try:
        return Loader(port, SlotLink(url, 115200, Unwired())).connect().security
    finally:
        port.close()


@pytest.mark.slow
@pytest.mark.parametrize("chip", Chip, ids=lambda chip: chip.value)
def test_the_loader_reads_every_digest(boards, chip):
    """The loader reads all three digests in order, the one of the ESP32, and the half of one on the ESP32-C2."""
    security = read_security(boards[chip].url)
    assert (security.secure_boot_v1, security.secure_boot_v2) == (False, True)
    expected = {Chip.ESP32: DIGESTS[:1], Chip.ESP32C2: (DIGESTS[0][:32],)}.get(chip, DIGESTS)
    assert security.secure_boot_digests == expected


class Reader:
    """The needed part of esptool's loader: three digests in blocks 4, 0 and 2, some of them revoked."""

    CHIP_NAME = "ESP32-S3"
    EFUSE_BASE = 0x60007000

    def __init__(self, *revoked):
        self._revoked = revoked

    def get_security_info(self):
        return {"parsed_flags": {f"SECURE_BOOT_KEY_REVOKE{n}": n in self._revoked for n in range(3)}}

    def get_key_block_purpose(self, block):
        return {4: 9, 0: 10, 2: 11}.get(block, 0)

    def read_reg(self, address):
        return (address - self.EFUSE_BASE - 0x9C) // 0x20


@pytest.mark.parametrize(
    ("revoked", "blocks"), [((), [0, 2, 4]), ((0,), [0, 2]), ((1,), [2, 4]), ((2,), [0, 4]), ((0, 1, 2), [])]
)
def test_a_revoked_digest_is_not_trusted(revoked, blocks):
    """Purpose and revocation depend on the digest's number, not on its block."""
    reader = Reader(*revoked)
    expected = [(block.to_bytes(4, "little") * 8).hex() for block in blocks]
    assert list(burned_digests(reader, reader.CHIP_NAME)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32C2, Chip.ESP32S3, Chip.ESP32C5], ids=lambda chip: chip.value)
def test_espefuse_reads_the_same(boards, chip):
    """The summary of espefuse shows secure boot on, the purposes, and the same digests in their blocks."""
    boards[chip].control("restart")
    line = ["--chip", chip.value, "--port", boards[chip].url, "--before", "no-reset", "summary", "--format", "json"]
    done = subprocess.run([sys.executable, "-m", "espefuse", *line], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    fuses = json.loads(done.stdout[done.stdout.index("{") :])
    assert fuses["ABS_DONE_1" if chip is Chip.ESP32 else "SECURE_BOOT_EN"]["value"] is True
    if chip is Chip.ESP32:
        blocks = {"BLOCK2": DIGESTS[0]}
    elif chip is Chip.ESP32C2:
        blocks = {"BLOCK_KEY0_HI_128": DIGESTS[0][:32]}
    else:
        blocks = {f"BLOCK_KEY{1 + n}": digest for n, digest in enumerate(DIGESTS)}
        purposes = [fuses[f"KEY_PURPOSE_{n}"]["value"] for n in range(5)]
        assert purposes == ["USER", *(f"SECURE_BOOT_DIGEST{n}" for n in range(3)), "USER"]
    for name, digest in blocks.items():
        assert fuses[name]["value"].replace(" ", "").startswith(digest), name


@pytest.mark.slow
def test_the_command_burns_what_it_is_told():
    """`rmfab board --secure-boot`, given once per key, burns the digests."""
    line = ["--chip", "esp32s3", "--transport", "socket", "--strap", "download", "--json", "--with-parent"]
    line += [word for digest in DIGESTS[:2] for word in ("--secure-boot", digest.upper())]
    command = [sys.executable, "-m", "rmfab", "board", *line]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        url = json.loads(child.stdout.readline())["url"]
        assert read_security(url).secure_boot_digests == DIGESTS[:2]
        child.stdin.close()
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("chip", "digests", "words"),
    [
        ("esp32c6", ["zz"], "not a key digest"),
        ("esp32", DIGESTS[:2], "an esp32 has room for 1\n"),
        ("esp32c6", [*DIGESTS, "0" * 64], "an esp32c6 has room for 3\n"),
    ],
)
def test_the_command_refuses_what_no_chip_has(chip, digests, words, capsys):
    """A value that is not a digest, or more digests than the chip holds, is a usage error."""
    options = [word for digest in digests for word in ("--secure-boot", digest)]
    assert main(["board", "--chip", chip, *options]) == 2
    assert words in capsys.readouterr().err
