"""The output of the mask ROM for a bootloader that is missing or broken.

The ESP32's lines are those of its real ROM in an emulator, those of S3 and C3 are from logs of boards.
"""

from __future__ import annotations

import hashlib
import re
import struct

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.virtual.build.build_folder import make_bootloader
from rmfab.virtual.chip.command import checksum
from rmfab.virtual.chip.models import MODELS
from tests.virtual.rig import Rig, parts

CHIPS = pytest.mark.parametrize("chip", list(Chip), ids=lambda chip: chip.value)
NEWER = pytest.mark.parametrize("chip", [c for c in Chip if c is not Chip.ESP32], ids=lambda chip: chip.value)
RTC, TG0 = "rst:0x10 (RTCWDT_RTC_RESET)", "rst:0x7 (TG0WDT_SYS_RST)"


def _watchdog(chip):
    return RTC if chip is Chip.ESP32 else TG0


def _boot(chip, bootloader=None, seconds=1.0, *, rest=True):
    """Boot with *bootloader* in place of the good one; None leaves its place blank."""
    at = MODELS[chip].chip.bootloader_offset
    content = [part for part in parts(chip) if part[0] != at] if rest else []
    return Rig(chip, parts=content if bootloader is None else [*content, (at, bootloader)]).boot(seconds)


def _good(chip):
    return make_bootloader(chip, 4 << 20)


def _rounds(text):
    return re.split(r"(?m)^(?=rst:0x)", text)[1:]


@CHIPS
def test_blank_flash_loops_in_the_rom(chip):
    """Without a bootloader the ROM prints `invalid header` once, and a watchdog starts the next round."""
    first, *others = _rounds(_boot(chip))
    assert len(others) >= 2
    for text in (first, *others):
        assert text.count("invalid header: 0xffffffff\n") == 1
        assert "ets_main.c" not in text
    assert all(text.startswith(_watchdog(chip)) for text in others)


@CHIPS
@pytest.mark.parametrize("word", [b"\0\0\0\0", b"\x50\xaa\x00\x01", b"\xe9\x00\x02\x20", b"\xe9\x11\x02\x20"])
def test_the_header_is_printed_as_it_is(chip, word):
    """What is no image header is named as the number that it is."""
    text = _boot(chip, word + _good(chip)[4:])
    assert f"invalid header: 0x{int.from_bytes(word, 'little'):08x}\n" in text
    assert "load:" not in text


def _loads(chip, image):
    """Return the load lines for the segments of *image*."""
    lines = []
    for segment in AppImage.parse(image, "bootloader").segments:
        length = segment.length if chip is Chip.ESP32 else hex(segment.length)
        lines.append(f"load:0x{segment.load_address:08x},len:{length}\n")
    return lines


@CHIPS
@pytest.mark.parametrize("flip", [0x01, 0x55, 0xFF])
def test_a_wrong_checksum(chip, flip):
    """The ROM prints what it has loaded, then both checksums as they are: those of the bytes in the flash."""
    good = _good(chip)
    image = AppImage.parse(good, "bootloader")
    at = image.segments[1].file_offset + 100
    data = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    stored = good[image.length - 33]
    text = _boot(chip, data)
    places = [text.find(line) for line in _loads(chip, good)]
    assert -1 not in places
    assert sorted(places) == places
    if chip is Chip.ESP32:
        words = f"csum err:0x{stored ^ flip:02x}!=0x{stored:02x}\n"
        assert text.endswith(words + "Falling back to built-in command interpreter.\nOK\n>")
    else:
        words = f"Checksum failure. Calculated 0x{stored ^ flip:02x} stored 0x{stored:02x}\nets_main.c "
        assert text.count(words) >= 2
        assert _rounds(text)[1].startswith(TG0)
    assert "entry 0x" not in text


@CHIPS
@pytest.mark.parametrize("kept", [1, 2])
def test_a_truncated_bootloader(chip, kept):
    """The header of the first segment that is not there reads as ones: the ROM prints it and comes no further."""
    good = _good(chip)
    segments = AppImage.parse(good, "bootloader").segments
    rest = good[: segments[kept - 1].file_offset + segments[kept - 1].length]
    text = _boot(chip, bytes([rest[0], kept + 1]) + rest[2:])
    loads = [line for line in text.splitlines() if line.startswith("load:")]
    if chip is Chip.ESP32:
        assert text.endswith("load:0xffffffff,len:-1\n")
        assert len(loads) == kept + 1
    else:
        assert text.count("load:0xffffffff,len:0xffffffff\nets_loader.c 78\n") >= 2
        assert _rounds(text)[1].startswith(TG0)
    assert "entry 0x" not in text
    assert "boot: " not in text


def test_a_segment_that_is_too_long():
    """The ESP32 prints a length as a signed number."""
    good = _good(Chip.ESP32)
    text = _boot(Chip.ESP32, good[:28] + struct.pack("<I", 0xC0066F62) + good[32:])
    assert text.endswith("load:0x3fff0030,len:-1073320094\n")


def test_bootloader_of_another_chip():
    """A bootloader that loads outside this chip's RAM is not entered."""
    text = _boot(Chip.ESP32C3, _good(Chip.ESP32S3))
    assert "load:0x3fce2820,len:0x1800\nets_loader.c 78\n" in text
    assert "entry 0x" not in text
    assert _boot(Chip.ESP32, _good(Chip.ESP32C3)).endswith("load:0x3fcd5820,len:6144\n")


def test_code_of_another_chip_dies_at_its_entry():
    """A bootloader that fits the RAM of a different chip is entered there, and a watchdog ends that."""
    text = _boot(Chip.ESP32C5, _good(Chip.ESP32C6))
    assert "load:0x4086b000" in text
    rounds = _rounds(_boot(Chip.ESP32C6, _good(Chip.ESP32C5)))
    assert len(rounds) >= 2
    assert all("entry 0x" in text and "boot: " not in text for text in rounds)


@NEWER
@pytest.mark.parametrize("erased", [False, True])
def test_a_wrong_digest_is_a_warning(chip, erased):
    """The ROM names both digests and starts the bootloader anyway."""
    good = _good(chip)
    stored = b"\xff" * 32 if erased else good[-32:-1] + bytes([good[-1] ^ 1])
    text = _boot(chip, good[:-32] + stored)
    calculated = hashlib.sha256(good[:-32]).hexdigest()
    words = f"SHA-256 comparison failed:\nCalculated: {calculated}\nExpected: {stored.hex()}\n"
    assert words + "Attempting to boot anyway...\nentry 0x" in text
    assert "boot: ESP-IDF v5.5.1 2nd stage bootloader" in text
    assert "SPI Speed      : " in text
    assert "Project name:     rmfab-demo" in text


def test_the_esp32_does_not_look_at_the_digest():
    """The ESP32's ROM checks no digest; nor does any ROM that of an image without one."""
    good = _good(Chip.ESP32)
    text = _boot(Chip.ESP32, good[:-1] + bytes([good[-1] ^ 1]))
    assert "SHA-256" not in text
    assert "Project name" in text
    bare = _good(Chip.ESP32C3)
    assert "SHA-256" not in (text := _boot(Chip.ESP32C3, bare[:23] + b"\0" + bare[24:-32]))
    assert "Project name" in text


@pytest.mark.parametrize(("length", "printed"), [(7132, True), (6984, False), (1184, False), (380, True)])
def test_the_line_about_a_header_across_blocks(length, printed):
    """On the ESP32 a line follows a segment whose successor's header crosses a 16-byte block, as in logs of boards."""
    data = bytes(length)
    segments = struct.pack("<II", 0x3FFF0030, length) + data + struct.pack("<II", 0x40078000, 4) + bytes(4)
    head = _good(Chip.ESP32)[:24]
    image = head[:1] + b"\2" + head[2:23] + b"\0" + segments
    image = image.ljust(len(image) // 16 * 16 + 15, b"\0") + bytes([checksum(data + bytes(4))])
    text = _boot(Chip.ESP32, image)
    assert f"load:0x3fff0030,len:{length}\n{'ho 0 tail 12 room 4' if printed else 'load:0x40078000,len:4'}\n" in text
