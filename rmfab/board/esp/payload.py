"""The data to write to a board, deflated and checksummed once for all boards.

libdeflate at level 12 makes about 2 % fewer bytes of firmware than zlib at level 9, and the wire is what a write waits
for. Loaders inflate with miniz: a zlib stream with a window of 32 KB.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from rmfab.release.app_image import xor_checksum

DEFL_DATA = 0x11
BLOCK_SIZE = 0x4000  # the stub's FLASH_WRITE_SIZE
PIECE_SIZE = 0x10000
SAMPLE_SIZE = _SECTOR = 0x1000
_MOST_EFFORT = 12  # of libdeflate
_SOME_EFFORT = 6  # a tenth of the time, 2 % more bytes
_ZLIB_32K = 0x78  # CMF of RFC 1950: deflate, window of 32 KB


@dataclass(frozen=True)
class Block:
    """One DEFL_DATA block: its bytes, their checksum, the number of flash bytes they inflate to, and the whole request.

    *frame* is the request as it is sent, in SLIP (esptool documentation, "Serial Protocol").
    """

    data: bytes
    checksum: int
    inflated: int
    frame: bytes


@dataclass(frozen=True)
class Piece:
    """A part of a region that a board may already hold: where it is, its MD5, and that of its first sector, in hex."""

    offset: int
    size: int
    md5: str
    sample_md5: str


@dataclass(frozen=True)
class Region:
    """A region to write: its offset and size in bytes, its MD5 in hex, its compressed blocks, and its *pieces*.

    The blocks are of the first *written* bytes; the rest, whole sectors, is blank.
    """

    name: str
    offset: int
    size: int
    written: int
    md5: str
    blocks: tuple[Block, ...] = field(repr=False)
    pieces: tuple[Piece, ...]
    data: bytes = field(repr=False)

    @property
    def compressed(self) -> int:
        """Number of bytes sent, before framing."""
        return sum(len(block.data) for block in self.blocks)

    def part(self, start: int, end: int) -> Region:
        """Return the region of the pieces from number *start* up to *end*, compressed for one board."""
        if (start, end) == (0, len(self.pieces)):
            return self
        first, last = self.pieces[start], self.pieces[end - 1]
        data = self.data[first.offset - self.offset : last.offset + last.size - self.offset]
        return compress(self.name, first.offset, data, effort=_SOME_EFFORT)


def compress(name: str, offset: int, data: bytes, *, effort: int = _MOST_EFFORT) -> Region:
    """Return *data* for the flash at *offset*, padded with 0xFF to whole words as esptool does.

    *effort* is the level of libdeflate, 1 to 12.
    """
    padded = data + b"\xff" * (-len(data) % 4)
    written = _written(offset, padded)
    blocks, pieces = _blocks(padded[:written], effort), tuple(_pieces(offset, padded))
    return Region(name, offset, len(padded), written, _md5(padded), blocks, pieces, padded)


def blank_md5(size: int) -> str:
    """Return the MD5 of *size* erased bytes, in hex."""
    return _md5(b"\xff" * size)


def _written(offset: int, data: bytes) -> int:
    """Return the size of *data* without the blank sectors at its end, if it ends with a sector."""
    end = offset + len(data)
    if end % _SECTOR:
        return len(data)
    used = offset + len(data.rstrip(b"\xff"))
    return min(max(-(-used // _SECTOR) * _SECTOR - offset, 0), len(data))


def _deflated(data: bytes, effort: int) -> bytes:
    """Return the zlib stream of *data* with a window of 32 KB."""
    import deflate

    stream = deflate.zlib_compress(data, effort)
    if stream[0] != _ZLIB_32K or int.from_bytes(stream[:2], "big") % 31 or stream[1] & 0x20:
        raise AssertionError("not the header of a zlib stream with a window of 32 KB and no dictionary")
    return bytes(stream)


def _blocks(data: bytes, effort: int) -> tuple[Block, ...]:
    """Return the blocks of the stream of *data*; inflating them proves that it is this data."""
    if not data:
        return ()
    stream, inflater, rest = _deflated(data, effort), zlib.decompressobj(), memoryview(data)
    blocks = []
    for number, start in enumerate(range(0, len(stream), BLOCK_SIZE)):
        piece = stream[start : start + BLOCK_SIZE]
        inflated = inflater.decompress(piece)
        if inflated != rest[: len(inflated)]:
            raise AssertionError("the deflated data does not inflate to itself")
        rest = rest[len(inflated) :]
        checksum = xor_checksum(piece)
        blocks.append(Block(piece, checksum, len(inflated), _framed(piece, number, checksum)))
    if rest or not inflater.eof or inflater.unused_data:
        raise AssertionError("the deflated stream is not whole")
    return tuple(blocks)


def _framed(data: bytes, number: int, checksum: int) -> bytes:
    head = struct.pack("<BBHIIIII", 0, DEFL_DATA, 16 + len(data), checksum, len(data), number, 0, 0)
    escaped = (head + data).replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
    return b"\xc0" + escaped + b"\xc0"


def _pieces(offset: int, data: bytes) -> Iterator[Piece]:
    """Cut *data* at multiples of 64 KB of the flash, so that no two pieces share a sector."""
    at = offset
    while at < offset + len(data):
        end = min((at // PIECE_SIZE + 1) * PIECE_SIZE, offset + len(data))
        piece = data[at - offset : end - offset]
        yield Piece(at, len(piece), _md5(piece), _md5(piece[:SAMPLE_SIZE]))
        at = end


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
