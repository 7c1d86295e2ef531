"""A write as ROM and stub make it: inflated into a dictionary, blank sectors skipped until the first that is not."""

from __future__ import annotations

import random
import zlib

import pytest

from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.chip.flash_write import (
    BLOCK_ERASE_SECONDS,
    PAGE_PROGRAM_SECONDS,
    SECTOR_ERASE_SECONDS,
    FlashWriting,
    Overrun,
)

DATA = random.Random(1).randbytes(0x9000)


def writing(flash, size=0x9000):
    """Start a write as the stub does."""
    return FlashWriting(flash, 0x10000, size, compressed=True, erase_ahead=True)


def test_data_is_written_when_the_dictionary_is_full():
    """What is inflated reaches the flash in lumps of 32 KB, and the rest at the end of the stream."""
    flash, stream = Flash(1 << 20), zlib.compress(DATA, 0)
    one = writing(flash)
    assert one.write(stream[:0x7000]) == 0
    assert flash.is_blank(0x10000, len(DATA))
    assert one.write(stream[0x7000:0x8400]) == pytest.approx(0x8000 // 256 * PAGE_PROGRAM_SECONDS)
    assert one.remaining == 0x1000
    assert not one.ended
    one.write(stream[0x8400:])
    assert (one.remaining, one.ended) == (0, True)
    assert flash.read(0x10000, len(DATA)) == DATA


def test_a_new_stream_forgets_the_dictionary():
    """A stream that starts again, with block 0, does not write what the first one left."""
    flash, stream = Flash(1 << 20), zlib.compress(DATA[:0x1000])
    one = writing(flash, 0x1000)
    one.write(stream[:100])
    one.restart_stream()
    one.write(stream)
    assert flash.read(0x10000, 0x1000) == DATA[:0x1000]


def test_too_much_data():
    """A stream that inflates to more than was announced is refused, though nothing was written yet."""
    one = writing(Flash(1 << 20), 0x1000)
    with pytest.raises(Overrun):
        one.write(zlib.compress(DATA[:0x1001]))


def test_blank_flash_is_not_erased():
    """On blank flash a write takes the time of its pages only."""
    assert writing(Flash(1 << 20)).write(zlib.compress(DATA)) == pytest.approx(0x9000 // 256 * PAGE_PROGRAM_SECONDS)


def test_everything_after_the_first_dirty_sector_is_erased():
    """From the first sector that is not blank on, blank ones are erased, too: the stub no longer looks."""
    flash = Flash(1 << 20)
    flash.program(0x12000, b"\0")
    seconds = writing(flash).write(zlib.compress(DATA))
    pages = 0x9000 // 256 * PAGE_PROGRAM_SECONDS
    assert seconds == pytest.approx(pages + 7 * SECTOR_ERASE_SECONDS)
    assert flash.read(0x10000, len(DATA)) == DATA


def test_whole_blocks_are_erased_as_blocks():
    """Aligned 64 KB are erased at once."""
    flash, data = Flash(1 << 20), bytes(0x11000)
    flash.program(0x10000, b"\0")
    one = writing(flash, len(data))
    seconds = one.write(zlib.compress(data))
    pages = len(data) // 256 * PAGE_PROGRAM_SECONDS
    assert seconds == pytest.approx(pages + BLOCK_ERASE_SECONDS + SECTOR_ERASE_SECONDS)
