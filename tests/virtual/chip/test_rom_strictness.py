"""What the mask ROMs of ESP32 and ESP32-C3 answer to requests that are not quite right, in an emulator.

Chips that were not observed there follow the C3.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from espsecure import encrypt_flash_data
from esptool.loader import StubFlasher

from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.command import checksum
from rmfab.virtual.chip.models import MODELS
from rmfab.virtual.chip.ram import Ram
from tests.virtual.rig import SYNC, Rig, frame

BOTH = pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32C3], ids=lambda chip: chip.value)
FAMILIES = pytest.mark.parametrize(
    "chip", [Chip.ESP32, Chip.ESP32S2, Chip.ESP32S3, Chip.ESP32C3, Chip.ESP32C6, Chip.ESP32P4], ids=lambda c: c.value
)
FLASH_BEGIN, FLASH_DATA, FLASH_END, MEM_BEGIN, MEM_END, MEM_DATA = 2, 3, 4, 5, 6, 7
READ_SLOW, DEFL_BEGIN, DEFL_DATA, DEFL_END, MD5 = 0x0E, 0x10, 0x11, 0x12, 0x13
GOOD, INVALID = "00000000", "01050000"


def _attached(chip, **fields):
    rig = Rig(chip, **fields)
    rig.sync()
    rig.words(0x0D, 0, 0)
    return rig


def _begin(rig, op, size, offset, *, blocks=4, encrypted=0):
    more = () if rig.board.model.chip is Chip.ESP32 else (encrypted,)
    return _status(rig.words(op, size, blocks, 0x400, offset, *more))


def _status(replies):
    """Return the four status bytes of a single reply."""
    ((_, _, payload),) = replies
    return payload[-4:].hex()


def _is_dead(rig):
    return rig.sync() == [] and rig.sync() == []


@BOTH
@pytest.mark.parametrize("op", [FLASH_BEGIN, DEFL_BEGIN])
@pytest.mark.parametrize("offset", [1, 0x100, 0x1004, 0x2FFF])
def test_a_write_begins_at_a_sector(chip, op, offset):
    """An offset that is not a multiple of 0x1000 fails with 06, and nothing is erased."""
    rig = _attached(chip)
    rig.board.flash.program(0, bytes(0x4000))
    assert _begin(rig, op, 0x400, offset) == "01060000"
    assert rig.board.flash.read(0, 0x4000) == bytes(0x4000)
    assert _begin(rig, op, 0x400, 0x3000) == GOOD


@BOTH
@pytest.mark.parametrize("sequence", [1, 7, 0xFFFFFFFF])
def test_blocks_come_in_order(chip, sequence):
    """FLASH_DATA with a wrong sequence number fails with 05 and writes nothing; the right one still counts."""
    rig = _attached(chip)
    _begin(rig, FLASH_BEGIN, 0x1000, 0x1000)
    first, second = os.urandom(0x400), os.urandom(0x400)
    assert _status(rig.data(FLASH_DATA, first, sequence)) == INVALID
    assert rig.board.flash.is_blank(0x1000, 0x1000)
    assert _status(rig.data(FLASH_DATA, first, 0)) == GOOD
    assert _status(rig.data(FLASH_DATA, first, 0)) == INVALID, "the same block a second time"
    assert _status(rig.data(FLASH_DATA, second, 1)) == GOOD
    assert rig.board.flash.read(0x1000, 0x800) == first + second


@BOTH
@pytest.mark.parametrize("op", [FLASH_DATA, DEFL_DATA, MEM_DATA])
def test_a_block_needs_its_begin(chip, op):
    """A block without the BEGIN of its kind fails with 05, also after the BEGIN of another kind."""
    rig = _attached(chip)
    assert _status(rig.data(op, zlib.compress(b"x" * 16), 0)) == INVALID
    _begin(rig, DEFL_BEGIN if op == FLASH_DATA else FLASH_BEGIN, 0x400, 0)
    assert _status(rig.data(op, zlib.compress(b"x" * 16), 0)) == INVALID
    assert len(rig.sync()) == 8


@FAMILIES
def test_a_wrong_block_for_the_ram_is_refused(chip):
    """MEM_DATA with a wrong sequence number fails with 05, and the loader lives."""
    rig = Rig(chip)
    rig.sync()
    rig.words(MEM_BEGIN, 128, 2, 64, rig.board.model.ram[0][0] + 0x1000)
    assert _status(rig.data(MEM_DATA, bytes(64), 1)) == INVALID
    assert _status(rig.data(MEM_DATA, bytes(64), 0)) == GOOD
    assert _status(rig.data(MEM_DATA, bytes(64), 0)) == INVALID
    assert _status(rig.data(MEM_DATA, bytes(64), 1)) == GOOD


DEATHS = {
    Chip.ESP32: "",
    Chip.ESP32S2: "Fatal exception",
    Chip.ESP32S3: "Fatal exception",
    Chip.ESP32C3: "Guru Meditation Error: Core 0 panic'ed (",
    Chip.ESP32C6: "Guru Meditation Error: Core 0 panic'ed (",
    Chip.ESP32P4: "Guru Meditation Error: Core 0 panic'ed (",
}


def _killed_by(rig, data):
    """Send what kills the loader; return what the chip says."""
    assert rig.send(data) == []
    words = rig.text
    assert _is_dead(rig)
    rig.board.restart()
    assert len(rig.sync()) == 8, "a restart brings the loader back"
    return words


@FAMILIES
@pytest.mark.parametrize(
    "noise", [b"\xdb\x00", b"\x08\xdb\xdb\xdc", b"abc\xdb"], ids=["at once", "twice", "at the end"]
)
def test_an_invalid_escape_kills_the_loader(chip, noise):
    """After an invalid escape sequence no loader answers; only the ESP32 dies without a word."""
    rig = Rig(chip)
    rig.sync()
    words = _killed_by(rig, b"\xc0" + noise + b"\xc0")
    assert words.startswith(DEATHS[chip])
    assert bool(words) is bool(DEATHS[chip])


@FAMILIES
def test_data_after_the_end_of_the_stream_kills_the_loader(chip):
    """A block after the end of the compressed stream gets no answer, nor does anything later."""
    rig = _attached(chip)
    data = os.urandom(0x300)
    _begin(rig, DEFL_BEGIN, 0x400, 0x2000)
    assert _status(rig.data(DEFL_DATA, zlib.compress(data), 0)) == GOOD
    assert rig.data(DEFL_DATA, b"\0" * 16, 1) == []
    assert DEATHS[chip] in rig.text
    assert rig.board.flash.read(0x2000, 0x300) == data
    assert _is_dead(rig)


@FAMILIES
@pytest.mark.parametrize("size", [0x2001, 0x4018, 0x20000])
def test_a_frame_that_is_too_long(chip, size):
    """A frame over 0x2000 bytes makes the ESP32 miss the next request, and kills the loader of newer chips."""
    rig = Rig(chip)
    rig.sync()
    if chip is not Chip.ESP32:
        assert DEATHS[chip] in _killed_by(rig, frame(bytes(size)))
        return
    assert rig.send(frame(bytes(size))) == []
    assert rig.sync() == []
    assert len(rig.sync()) == 8


def test_a_frame_of_the_largest_size():
    """A frame of 0x2000 bytes is an ordinary one."""
    rig = Rig()
    rig.sync()
    rig.send(frame(b"\0\x99" + bytes(0x1FFE)))
    assert len(rig.sync()) == 8


@BOTH
def test_a_failing_read_keeps_its_payload(chip):
    """READ_FLASH_SLOW fails after 64 bytes of payload, MD5 after 32; the code says whether the length was too large."""
    rig = _attached(chip)
    for replies, size, status in (
        (rig.words(READ_SLOW, 0, 65), 64, "010a0000"),
        (rig.words(READ_SLOW, 0, 0xFFFFFFFF), 64, "010a0000"),
        (rig.words(READ_SLOW, 4 << 20, 16), 64, "01090000"),
        (rig.words(MD5, 4 << 20, 16, 0, 0), 32, "01090000"),
        (rig.words(MD5, 0, (4 << 20) + 1, 0, 0), 32, "01090000"),
    ):
        ((_, _, payload),) = replies
        assert (size + 4, status) == (len(payload), payload[-4:].hex())
    assert _status(rig.words(READ_SLOW, 0, 64)) == GOOD


LENIENT = {"READ_REG": (0x0A, 4), "WRITE_REG": (0x09, 16), "ATTACH": (0x0D, 8), "CHANGE_BAUD": (0x0F, 8)}


@BOTH
@pytest.mark.parametrize("name", LENIENT)
@pytest.mark.parametrize("change", [-3, -1, 1, 4, 20])
def test_lengths_that_the_rom_does_not_check(chip, name, change):
    """READ_REG, WRITE_REG, SPI_ATTACH and CHANGE_BAUD are accepted at any length."""
    op, size = LENIENT[name]
    data = ((115200).to_bytes(4, "little") if name == "CHANGE_BAUD" else b"").ljust(64, b"\0")
    rig = Rig(chip)
    rig.sync()
    assert _status(rig.command(op, data[: size + change])) == GOOD
    assert _status(rig.command(op, b"")) == GOOD
    assert len(rig.sync()) == 8


def test_a_short_write_and_a_long_read_have_their_effect():
    """A WRITE_REG without its delay writes, and a READ_REG with more behind the address reads."""
    rig = Rig()
    rig.sync()
    at = 0x60002058
    assert _status(rig.words(0x09, at, 0x12345678, 0xFFFFFFFF)) == GOOD
    ((_, value, _),) = rig.words(0x0A, at, 0, 0)
    assert value == 0x12345678


@BOTH
@pytest.mark.parametrize("data", [SYNC[:-1], SYNC[:4], b"", SYNC + b"U" * 100], ids=len)
def test_any_sync_counts(chip, data):
    """SYNC is answered whatever its length."""
    assert Rig(chip).command(0x08, data) == [(0x08, 0x20120707, bytes(4))] * 8


@BOTH
@pytest.mark.parametrize("data", [b"\1\0\0\0", b"\1", b"\1" + bytes(30)], ids=len)
def test_mem_end_of_any_length(chip, data):
    """MEM_END is accepted at any length; if it says so, the loader stays."""
    rig = Rig(chip)
    rig.sync()
    assert _status(rig.command(MEM_END, data)) == GOOD
    assert len(rig.sync()) == 8


@BOTH
@pytest.mark.parametrize("said", [0x10, 0x400, 0x401])
def test_flash_data_of_a_wrong_length(chip, said):
    """FLASH_DATA whose length word does not match is accepted, and as many bytes are written as the word says."""
    rig = _attached(chip)
    _begin(rig, FLASH_BEGIN, 0x1000, 0x3000)
    block = b"\xa5" * 0x100
    body = said.to_bytes(4, "little") + bytes(12) + block
    assert _status(rig.command(FLASH_DATA, body, checksum(block))) == GOOD
    assert rig.board.flash.read(0x3000, said) == block[:said].ljust(said, b"\0")
    assert rig.board.flash.is_blank(0x3000 + said, 0x100)


@BOTH
def test_the_end_of_a_compressed_write_stays(chip):
    """DEFL_END with 1 stays in the loader, DEFL_END with 0 restarts."""
    rig = _attached(chip)
    _begin(rig, DEFL_BEGIN, 0, 0)
    restarts = rig.board.restarts
    assert _status(rig.words(DEFL_END, 1)) == GOOD
    rig.timeline.run(2)
    assert (restarts, 8) == (rig.board.restarts, len(rig.sync()))
    rig.words(DEFL_END, 0)
    assert restarts + 1 == rig.board.restarts


@FAMILIES
def test_the_end_of_a_write_leaves_the_loader(chip):
    """FLASH_END with 1 leaves the loader for the flash, from which nothing starts, whatever is in it."""
    rig = _attached(chip)
    _begin(rig, FLASH_BEGIN, 0, 0)
    restarts = rig.board.restarts
    assert _status(rig.words(FLASH_END, 1)) == GOOD
    rig.timeline.run(2)
    esp32 = "flash read err, 631\r\nFalling back to built-in command interpreter.\r\nOK\r\n>"
    assert rig.text.endswith(esp32 if chip is Chip.ESP32 else "user code done\r\n")
    assert restarts == rig.board.restarts
    assert _is_dead(rig)


@FAMILIES
def test_code_in_ram_takes_the_chip(chip):
    """Code that is not a stub runs after MEM_END: no greeting, and no loader that would answer."""
    rig = Rig(chip)
    rig.sync()
    (reply,) = rig.start_stub(code=b"Hello world!")
    assert reply[8:] == bytes(4)
    assert _is_dead(rig)
    rig.board.restart()
    rig.sync()
    assert rig.start_stub()[-1] == b"OHAI"


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("greeting", [b"OHAI", b"\xb7\x57\x41\x49\x93\x87\xf7\x84"], ids=["text", "lui"])
def test_a_stub_is_told_by_its_greeting(greeting, cut):
    """The greeting counts as text and as the operand of `lui`, also across two blocks."""
    rig = Rig()
    rig.sync()
    at = rig.board.model.ram[0][0] + 0x1000
    code = bytes(64 - cut) + greeting.ljust(64 + cut, b"\0")
    rig.words(MEM_BEGIN, 128, 2, 64, at)
    rig.data(MEM_DATA, code[:64], 0)
    rig.data(MEM_DATA, code[64:], 1)
    assert rig.send(frame(b"\0\6\x08\0" + bytes(8) + at.to_bytes(4, "little")))[-1] == b"OHAI"


@pytest.mark.parametrize(
    ("chip", "last"),
    [(Chip.ESP32C3, 12), (Chip.ESP32S3, 12), (Chip.ESP32S2, 12), (Chip.ESP32C6, 12), (Chip.ESP32P4, 13)],
    ids=lambda value: getattr(value, "value", value),
)
def test_the_seventh_key_purpose(chip, last):
    """For the seventh key block, which does not exist, the ROM returns the number after its last purpose."""
    for faults in ([], ["flash-encryption"], ["secure-boot"]):
        ((_, _, payload),) = Rig(chip, faults=faults).command(0x14)
        assert last == payload[11]


@pytest.mark.parametrize("compressed", [False, True])
def test_encryption_with_a_blank_key(compressed):
    """The ESP32's stub writes what its blank key makes of the data: the same that espsecure does."""
    data = os.urandom(0x1010)
    encrypt_flash_data(BytesIO(bytes(32)), out := BytesIO(), 0x10000, 0, False, BytesIO(data + b"\xff" * 16))
    rig = _attached(Chip.ESP32)
    rig.start_stub()
    stream = zlib.compress(data) if compressed else data
    rig.words(DEFL_BEGIN if compressed else FLASH_BEGIN, len(data), 2, 0x4000, 0x10000, 1)
    for number, at in enumerate(range(0, len(stream), 999)):
        ((_, _, status),) = rig.data(DEFL_DATA if compressed else FLASH_DATA, stream[at : at + 999], number)
        assert status == b"\0\0"
    assert rig.words(DEFL_END if compressed else FLASH_END, 1)[0][2] == b"\0\0"
    assert rig.board.flash.read(0x10000, len(data)) == out.getvalue()[: len(data)]


def test_a_burned_key_is_unknown():
    """With a key burned, and on other chips, a write that requests encryption is still rejected."""
    rig = _attached(Chip.ESP32, faults=["flash-encryption"])
    rig.start_stub()
    assert rig.words(DEFL_BEGIN, 0x400, 1, 0x4000, 0, 1)[0][2].hex() == "c400"


@pytest.mark.parametrize("chip", list(Chip), ids=lambda chip: chip.value)
def test_the_stubs_of_esptool_are_stubs(chip):
    """Both generations of the stub that esptool ships for a chip are told from other code."""
    files = [path for path in Path(StubFlasher.STUB_DIR).glob("*/*.json") if path.stem.split("-")[0] == chip.value]
    assert files
    for path in files:
        stub = json.loads(path.read_text())
        text = base64.b64decode(stub["text"]) + base64.b64decode(stub["data"])
        ram = Ram(MODELS[chip])
        ram.begin(len(text), 0x1800, ram.model.ram[0][0])
        for number, at in enumerate(range(0, len(text), 0x1800)):
            assert ram.take(number, text[at : at + 0x1800])
        assert ram.greets, path
