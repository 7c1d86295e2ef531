"""NOR flash: programming clears bits, erasing sets them."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.virtual.chip.flash import Flash, FlashError


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64), st.integers(0, 5000))
def test_programming_only_clears_bits(first, second, at):
    """Two writes to one address leave the AND of both."""
    flash = Flash(1 << 20)
    flash.program(at, first)
    flash.program(at, second)
    size = min(len(first), len(second))
    assert bytes(a & b for a, b in zip(first, second, strict=False)) == flash.read(at, size)


def test_erasing_takes_whole_sectors():
    """Erasing one byte blanks only its sector, and returns how many sectors were not blank."""
    flash = Flash(1 << 20)
    flash.program(0xFFF, b"\0\0\0")
    assert flash.erase(0x1001, 1) == 1
    assert flash.read(0xFFF, 3) == b"\0\xff\xff"
    assert flash.erase(0, 0x20000) == 1
    assert flash.erase(0, 0x20000) == 0


def test_file_keeps_the_flash(tmp_path):
    """Programmed data is in the file at once, only its owner can read it, and a second process finds it there."""
    path = tmp_path / "deep" / "flash.bin"
    flash = Flash(1 << 20, path)
    flash.program(0x100, b"kept")
    assert path.read_bytes()[0x100:0x104] == b"kept"
    assert path.stat().st_size == 1 << 20
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    assert Flash(1 << 20, path).read(0x100, 4) == b"kept"
    assert hashlib.md5(b"kept").digest() == flash.md5(0x100, 4)


@pytest.mark.parametrize(
    "call", [("read", 0xFFFFF, 2), ("program", 0xFFFFF, b"12"), ("erase", 0x100000, 1), ("md5", -1, 1)]
)
def test_nothing_lies_beyond_the_end(call):
    """Every access beyond the end is rejected."""
    name, *arguments = call
    with pytest.raises(FlashError):
        getattr(Flash(1 << 20), name)(*arguments)


def test_block_protection_swallows_writes():
    """With a block protection bit set, programming and erasing do nothing and report no error."""
    flash = Flash(1 << 20)
    flash.program(0, b"old")
    flash.status[0] = 0x1C
    flash.program(8, b"new")
    flash.erase(0, 0x1000)
    assert flash.read(0, 11) == b"old\xff\xff\xff\xff\xff\xff\xff\xff"


def test_a_flawed_cell_reads_zero():
    """A flawed flash keeps one bit of the first larger write at 0, even after later writes."""
    flash = Flash(1 << 20)
    flash.flawed = True
    flash.program(0x2000, data := os.urandom(0x1000))
    assert data != flash.read(0x2000, 0x1000)
    flash.erase(0x2000, 0x1000)
    assert sum(bin(byte ^ 0xFF).count("1") for byte in flash.read(0x2000, 0x1000)) == 1


def test_a_flaw_that_ends():
    """A flash that became bad and is good again keeps what is written from then on."""
    flash = Flash(1 << 20)
    flash.flawed = True
    flash.program(0, os.urandom(0x1000))
    flash.flawed = False
    flash.erase(0, 0x1000)
    assert flash.read(0, 0x1000) == b"\xff" * 0x1000
