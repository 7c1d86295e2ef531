"""The data to write: blocks that inflate to the data, with checksums as esptool computes them."""

import hashlib
import zlib

import esptool.loader
from hypothesis import given
from hypothesis import strategies as st

from rmfab.board.esp.payload import BLOCK_SIZE, PIECE_SIZE, blank_md5, compress


@given(st.binary(max_size=70_000), st.booleans())
def test_blocks_inflate_to_the_padded_data(data, long):
    """The blocks are one zlib stream of the data, padded to words; each has the size it inflates to."""
    if long:
        data = hashlib.shake_256(data).digest(50_000)
    region = compress("app", 0x20000, data)
    padded = data + b"\xff" * (-len(data) % 4)
    sent = padded[: region.written]
    assert padded[region.written :] == b"\xff" * (region.size - region.written)
    inflater = zlib.decompressobj()
    inflated = b""
    for block in region.blocks:
        piece = inflater.decompress(block.data)
        assert len(piece) == block.inflated
        assert block.checksum == esptool.loader.ESPLoader.checksum(block.data)
        assert 0 < len(block.data) <= BLOCK_SIZE
        inflated += piece
    assert inflated == sent
    assert inflater.eof or not sent
    assert (region.size, region.md5) == (len(padded), hashlib.md5(padded).hexdigest())
    assert region.compressed == sum(len(block.data) for block in region.blocks)


def test_blank():
    """A blank region is all 0xFF."""
    assert blank_md5(0x1000) == hashlib.md5(b"\xff" * 0x1000).hexdigest()


class Wire:
    """A port that keeps what is written to it."""

    def __init__(self):
        self.sent = b""

    def write(self, data):
        self.sent += data


@given(st.binary(min_size=1, max_size=3000))
def test_frames_are_those_of_esptool(data):
    """The request of a block is byte for byte what esptool sends for it."""
    region = compress("app", 0x20000, data)
    wire = Wire()
    esp = object.__new__(esptool.loader.ESPLoader)
    esp._port, esp._trace_enabled = wire, False
    for number, block in enumerate(region.blocks):
        body = len(block.data).to_bytes(4, "little") + number.to_bytes(4, "little") + bytes(8) + block.data
        head = bytes((0, 0x11)) + len(body).to_bytes(2, "little") + block.checksum.to_bytes(4, "little")
        esp.write(head + body)
    assert b"".join(block.frame for block in region.blocks) == wire.sent


def test_the_stream_has_a_window_of_32_kb():
    """Loaders inflate with a dictionary of 32 KB: the header names that window and no preset dictionary (RFC 1950)."""
    first = compress("app", 0x20000, bytes(range(256)) * 400).blocks[0].data
    assert first[0] == 0x78
    assert int.from_bytes(first[:2], "big") % 31 == 0
    assert not first[1] & 0x20
    assert zlib.decompressobj(15).decompress(first).startswith(bytes(range(256)))


@given(st.integers(1, 3 * PIECE_SIZE), st.integers(0, 40))
def test_pieces_are_the_region_cut_at_64_kb(size, sector):
    """The pieces are the region, cut at multiples of 64 KB of the flash, each with its MD5s."""
    data = hashlib.shake_256(b"x").digest(size)
    region = compress("app", sector * 0x1000, data)
    at = region.offset
    for piece in region.pieces:
        held = region.data[piece.offset - region.offset :][: piece.size]
        assert piece.offset == at
        assert (piece.md5, piece.sample_md5) == (hashlib.md5(held).hexdigest(), hashlib.md5(held[:0x1000]).hexdigest())
        at += piece.size
        assert at % PIECE_SIZE == 0 or at == region.offset + region.size
    assert at == region.offset + region.size
    count = len(region.pieces)
    assert region.part(0, count) is region
    last = region.part(count - 1, count)
    assert (last.offset, last.md5) == (region.pieces[-1].offset, region.pieces[-1].md5)


def test_blank_sectors_at_the_end_are_not_sent():
    """Blank sectors at the end of a region are left to an erase; a region that is all blank sends nothing."""
    used = compress("fctry", 0x3FA000, b"nvs".ljust(0x6000, b"\xff"))
    assert (used.written, used.size) == (0x1000, 0x6000)
    assert used.md5 == hashlib.md5(b"nvs".ljust(0x6000, b"\xff")).hexdigest()
    blank = compress("otadata", 0x16000, b"\xff" * 0x2000)
    assert (blank.written, blank.blocks, blank.compressed) == (0, (), 0)
    unaligned = compress("table", 0xC000, b"\xff" * 0xC00)
    assert unaligned.written == 0xC00


def test_secrets_do_not_show():
    """A region may be an identity: its repr has neither its data nor its blocks."""
    shown = repr(compress("fctry", 0x3FA000, b"secret".ljust(0x1000, b"\xff")))
    assert "secret" not in shown
    assert "Block" not in shown
