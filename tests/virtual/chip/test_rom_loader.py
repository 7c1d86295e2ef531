"""The serial protocol of ROM and stub, byte by byte: strict where the chips are strict."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.command import checksum
from tests.virtual.rig import Rig, frame

OK = bytes(4)


def _code(replies):
    return replies[0][2][-2:].hex()


def _rom_error(replies):
    (_, _, payload), *_ = replies
    assert len(payload) == 4
    return payload[1] if payload[0] else 0


def test_sync_is_answered_eight_times():
    """SYNC has eight replies with the ROM's value; what is not a request has none."""
    rig = Rig()
    assert rig.sync() == [(0x08, 0x20120707, OK)] * 8
    assert rig.send(frame(b"\x01" + bytes(11))) == []


def test_unknown_command_echoes_the_one_before():
    """An unknown command gets the previous command's number and status 01 05."""
    rig = Rig(Chip.ESP32)
    rig.words(0x0A, 0x40001000)
    assert rig.command(0x14) == [(0x0A, 0x00F01D83, b"\1\5\0\0")]
    assert rig.command(0xD0) == [(0x0A, 0x00F01D83, b"\1\5\0\0")]


@pytest.mark.parametrize(("chip", "size"), [(Chip.ESP32C3, 20), (Chip.ESP32S2, 12)])
def test_security_info_names_the_chip(chip, size):
    """GET_SECURITY_INFO returns flags, counter, key purposes and, except on the S2, the chip id."""
    ((_, _, payload),) = Rig(chip).command(0x14)
    assert size + 4 == len(payload)
    if size == 20:
        assert struct.unpack("<I", payload[12:16])[0] == 5


@pytest.mark.parametrize(("op", "size"), [(0x05, 12), (0x02, 16), (0x13, 8), (0x0B, 20), (0x0E, 12), (0x04, 0)])
def test_rom_insists_on_lengths(op, size):
    """A request of these commands is an invalid message if it has the wrong length."""
    rig = Rig()
    rig.sync()
    assert _rom_error(rig.command(op, bytes(size))) == 5


def test_header_length_must_hold():
    """A request is an invalid message if the length in its header is not that of its data."""
    rig = Rig()
    rig.sync()
    replies = rig.send(frame(struct.pack("<BBHI", 0, 0x0A, 8, 0) + bytes(4)))
    assert replies[0][8:] == b"\1\5\0\0"


def test_rom_flash_needs_attach_and_erases_first():
    """Before SPI_ATTACH the ROM rejects flash operations; FLASH_BEGIN erases, and a wrong checksum writes nothing."""
    rig = Rig()
    rig.sync()
    rig.board.flash.program(0x1000, b"\0" * 16)
    assert _rom_error(rig.words(0x02, 0x400, 1, 0x400, 0x1000, 0)) == 6
    rig.words(0x0D, 0, 0)
    assert _rom_error(rig.words(0x02, 0x400, 1, 0x400, 0x1000, 0)) == 0
    assert rig.board.flash.is_blank(0x1000, 0x1000)
    block = os.urandom(0x400)
    assert _rom_error(rig.data(0x03, block, 0, check=checksum(block) ^ 1)) == 7
    assert rig.board.flash.is_blank(0x1000, 0x400)
    assert _rom_error(rig.data(0x03, block, 0)) == 0
    assert block == rig.board.flash.read(0x1000, 0x400)
    digest = rig.words(0x13, 0x1000, 0x400, 0, 0)[0][2]
    assert hashlib.md5(block).hexdigest().encode() == digest[:-4]


def test_rom_knows_no_flash_beyond_its_size():
    """The ROM rejects access beyond the configured flash size."""
    rig = Rig()
    rig.sync()
    rig.words(0x0D, 0, 0)
    rig.words(0x0B, 0, 1 << 20, 65536, 4096, 256, 0xFFFF)
    assert _rom_error(rig.words(0x02, 0x1000, 4, 0x400, 1 << 20, 0)) == 6


def test_esp32_rom_takes_four_words_to_begin():
    """FLASH_BEGIN of the ESP32 has no fifth word."""
    rig = Rig(Chip.ESP32)
    rig.sync()
    rig.words(0x0D, 0, 0)
    assert _rom_error(rig.words(0x02, 0x400, 1, 0x400, 0, 0)) == 5
    assert _rom_error(rig.words(0x02, 0x400, 1, 0x400, 0)) == 0


def test_flash_id_is_unknown_before_attach():
    """RDID reads all ones before SPI_ATTACH and the flash chip's id after it."""
    rig = Rig()
    base = 0x60002000

    def rdid():
        for offset, value in ((0x28, 23), (0x18, 1 << 31 | 1 << 28), (0x20, 7 << 28 | 0x9F), (0x58, 0), (0, 1 << 18)):
            rig.words(0x09, base + offset, value, 0xFFFFFFFF, 0)
        assert rig.words(0x0A, base)[0][1] & 1 << 18 == 0
        return rig.words(0x0A, base + 0x58)[0][1]

    assert rdid() == 0xFFFFFF
    rig.words(0x0D, 0, 0)
    assert rdid() == 0x1640C8


def test_stub_must_lie_in_ram():
    """Code outside the chip's RAM, or an entry outside the uploaded code, leaves a board that does not answer."""
    assert Rig().start_stub()[-1] == b"OHAI"
    elsewhere = Rig()
    elsewhere.words(0x05, 64, 1, 64, 0x40800000)
    assert elsewhere.data(0x07, bytes(64), 0) == []
    assert elsewhere.sync() == []
    astray = Rig()
    assert len(astray.start_stub(entry=0x4037C000)) == 1
    assert astray.sync() == []
    astray.board.restart()
    assert len(astray.sync()) == 8


def _stub(**fields):
    rig = Rig(**fields)
    rig.sync()
    assert rig.start_stub()[-1] == b"OHAI"
    return rig


def test_stub_answers_otherwise_than_the_rom():
    """The stub's SYNC has value 0 and two status bytes; its lengths differ, and an unknown command gets 0xC300."""
    rig = _stub()
    assert rig.sync() == [(0x08, 0, b"\0\0")] * 8
    assert _code(rig.command(0x0A, bytes(5))) == "c000"
    assert _code(rig.words(0x0D, 0, 0)) == "c000"
    assert _code(rig.command(0x77)) == "c300"
    assert bytes(rig.send(frame(b"\x01\x0a" + bytes(10)))[0][8:]).hex() == "c300"
    assert _code(rig.data(0x03, b"x" * 16, 0)) == "c600"
    assert _code(rig.words(0xD1, 0x123, 0x1000)) == "c000"


def test_stub_acknowledges_first_and_complains_later():
    """A write error is the reply to the next command, which is then not executed."""
    rig = _stub()
    assert _code(rig.words(0x10, 0x100, 1, 0x4000, 0x1000, 0)) == "0000"
    assert _code(rig.data(0x11, b"this is no zlib stream", 0)) == "0000"
    rig.board.flash.program(0x9000, b"\0")
    assert _code(rig.words(0xD1, 0x9000, 0x1000)) == "c700"
    assert not rig.board.flash.is_blank(0x9000, 1)
    assert _code(rig.words(0xD1, 0x9000, 0x1000)) == "0000"
    assert rig.board.flash.is_blank(0x9000, 1)


def test_stub_writes_compressed_data_over_what_was_there():
    """DEFL commands inflate, erase as they go, and end only when all bytes have arrived."""
    rig = _stub()
    rig.board.flash.program(0x10000, bytes(0x3000))
    data = os.urandom(0x2100)
    packed = zlib.compress(data)
    half = len(packed) // 2
    rig.words(0x10, len(data), 2, 0x4000, 0x10000, 0)
    assert _code(rig.data(0x11, packed[:half], 0)) == "0000"
    assert _code(rig.words(0x12, 1)) == "c000"
    assert _code(rig.data(0x11, packed[half:], 1)) == "0000"
    assert _code(rig.words(0x12, 1)) == "0000"
    assert data == rig.board.flash.read(0x10000, len(data))
    assert hashlib.md5(data).digest() == rig.words(0x13, 0x10000, len(data), 0, 0)[0][2][:-2]


@pytest.mark.parametrize(
    ("block", "check", "code"), [(b"x" * 16, 0, "c100"), (b"x" * 0x4001, None, "c200")], ids=["checksum", "size"]
)
def test_stub_refuses_bad_blocks(block, check, code):
    """A wrong checksum and an oversized block have their own error codes."""
    rig = _stub()
    rig.words(0x02, 0x8000, 2, 0x4000, 0, 0)
    assert code == (_code(rig.data(0x03, block, 0, check)) if len(block) <= 0x4000 else "c200")


def test_stub_reads_with_one_packet_in_flight():
    """READ_FLASH sends the next packet only after the host's acknowledgement, and the MD5 at the end."""
    rig = _stub()
    rig.board.flash.program(0, data := os.urandom(0x180))
    reply, first = rig.send(frame(struct.pack("<BBHIIIII", 0, 0xD2, 16, 0, 0, 0x180, 0x100, 64)))
    assert (b"\0\0", data[:0x100]) == (reply[8:], first)
    assert rig.send(frame(struct.pack("<I", 0x80))) == []
    assert [data[0x100:]] == rig.send(frame(struct.pack("<I", 0x100)))
    assert [hashlib.md5(data).digest()] == rig.send(frame(struct.pack("<I", 0x180)))


def test_rates_must_agree():
    """After CHANGE_BAUD a host at the old rate is not understood; at the new rate it is."""
    rig = _stub()
    rig.words(0x0F, 921600, 115200)
    assert rig.sync() == []
    rig.board.uart.host_baud = 921600
    assert len(rig.sync()) == 8


def test_rom_finds_the_rate_by_itself_once():
    """The ROM detects the host's rate from the first bytes and keeps it."""
    rig = Rig()
    rig.board.uart.host_baud = 460800
    assert len(rig.sync()) == 8
    rig.board.uart.host_baud = 115200
    assert rig.sync() == []


@pytest.mark.parametrize("chip", [Chip.ESP32C3, Chip.ESP32S3, Chip.ESP32C6])
def test_secure_download_mode_leaves_little(chip):
    """In secure download mode the ROM reads no registers and runs no code, but still answers GET_SECURITY_INFO."""
    rig = Rig(chip, faults=["secure-download"])
    rig.sync()
    assert _rom_error(rig.words(0x0A, 0x60000000)) == 5
    assert _rom_error(rig.words(0x05, 64, 1, 64, rig.board.model.ram[0][0])) == 5
    assert rig.command(0x14)[0][2][0] == 1 << 2


def test_esp32_in_secure_download_is_deaf():
    """The ESP32 can only disable its loader completely."""
    assert Rig(Chip.ESP32, faults=["secure-download"]).sync() == []


@pytest.mark.parametrize("data", [b"", b"a", b"ab" * 7, os.urandom(1000), os.urandom(16384)], ids=len)
def test_checksum_is_that_of_a_loop(data):
    """The folded checksum equals the one computed byte by byte."""
    value = 0xEF
    for byte in data:
        value ^= byte
    assert value == checksum(data)


def test_watchdog_restarts_the_chip():
    """The RTC watchdog restarts the chip if it is unlocked and armed (esptool's watchdog-reset), else not."""
    rig = Rig()
    rig.sync()
    rig.words(0x09, 0x60008090, 1 << 31, 0xFFFFFFFF, 0)
    rig.timeline.run(1)
    assert rig.board.restarts == 1
    rig.words(0x09, 0x600080A8, 0x50D83AA1, 0xFFFFFFFF, 0)
    rig.words(0x09, 0x60008090, 1 << 31, 0xFFFFFFFF, 0)
    rig.timeline.run(1)
    assert rig.board.restarts == 2
    assert "rst:0x10 (RTCWDT_RTC_RST)" in rig.text


def test_reboot_from_the_stub_goes_back_to_the_rom():
    """FLASH_END with reboot leaves the stub for the ROM's loader: a software reset does not sample the straps."""
    rig = _stub()
    rig.words(0x02, 0, 0, 0x4000, 0, 0)
    rig.words(0x04, 0)
    assert rig.sync()[0][1] == 0x20120707


def test_encrypted_writes_need_a_key():
    """A C3 without a key rejects a write that requests encryption."""
    rig = Rig()
    rig.sync()
    rig.words(0x0D, 0, 0)
    assert _rom_error(rig.words(0x02, 0x400, 1, 0x400, 0, 1)) == 6
    assert _code(_stub().words(0x10, 0x400, 1, 0x4000, 0, 1)) == "c400"
