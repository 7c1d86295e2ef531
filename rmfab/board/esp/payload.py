"""The data to write to a board, compressed and checksummed once for all boards."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from rmfab.release.app_image import xor_checksum

BLOCK_SIZE = 0x4000  # the stub's FLASH_WRITE_SIZE


@dataclass(frozen=True)
class Block:
    """One DEFL_DATA block: its bytes, their checksum, and the number of flash bytes they inflate to."""

    data: bytes
    checksum: int
    inflated: int


@dataclass(frozen=True)
class Region:
    """A region to write: its offset and size in bytes, its MD5 in hex, and its compressed blocks."""

    name: str
    offset: int
    size: int
    md5: str
    blocks: tuple[Block, ...]

    @property
    def compressed(self) -> int:
        """Number of bytes sent, before framing."""
        return sum(len(block.data) for block in self.blocks)


def compress(name: str, offset: int, data: bytes) -> Region:
    """Return *data* for the flash at *offset*, padded with 0xFF to whole words as esptool does."""
    padded = data + b"\xff" * (-len(data) % 4)
    stream = zlib.compress(padded, 9)
    inflater = zlib.decompressobj()
    blocks = []
    for start in range(0, len(stream), BLOCK_SIZE):
        piece = stream[start : start + BLOCK_SIZE]
        blocks.append(Block(piece, xor_checksum(piece), len(inflater.decompress(piece))))
    return Region(name, offset, len(padded), hashlib.md5(padded, usedforsecurity=False).hexdigest(), tuple(blocks))


def blank_md5(size: int) -> str:
    """Return the MD5 of *size* erased bytes, in hex."""
    return hashlib.md5(b"\xff" * size, usedforsecurity=False).hexdigest()
