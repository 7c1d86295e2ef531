"""The data to write: blocks that inflate to the data, with checksums as esptool computes them."""

import hashlib
import zlib

import esptool.loader
from hypothesis import given
from hypothesis import strategies as st

from rmfab.board.esp.payload import BLOCK_SIZE, blank_md5, compress


@given(st.binary(max_size=70_000), st.booleans())
def test_blocks_inflate_to_the_padded_data(data, long):
    """The blocks are one zlib stream of the data, padded to words; each has the size it inflates to."""
    if long:
        data = hashlib.shake_256(data).digest(50_000)
    region = compress("app", 0x20000, data)
    padded = data + b"\xff" * (-len(data) % 4)
    inflater = zlib.decompressobj()
    inflated = b""
    for block in region.blocks:
        piece = inflater.decompress(block.data)
        assert len(piece) == block.inflated
        assert block.checksum == esptool.loader.ESPLoader.checksum(block.data)
        assert 0 < len(block.data) <= BLOCK_SIZE
        inflated += piece
    assert inflated == padded
    assert inflater.eof
    assert (region.size, region.md5) == (len(padded), hashlib.md5(padded).hexdigest())
    assert region.compressed == sum(len(block.data) for block in region.blocks)


def test_blank():
    """A blank region is all 0xFF."""
    assert blank_md5(0x1000) == hashlib.md5(b"\xff" * 0x1000).hexdigest()
