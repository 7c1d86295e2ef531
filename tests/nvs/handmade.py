"""NVS pages built by hand from the description of the format, for images that no generator writes."""

from __future__ import annotations

import struct
from zlib import crc32

PAGE = 4096
ACTIVE, FULL, FREEING = 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8
BLANK = b"\xff" * PAGE


def crc(data: bytes) -> int:
    return crc32(data, 0xFFFFFFFF) & 0xFFFFFFFF


class HandPage:
    """A page that is built entry by entry."""

    def __init__(self, sequence: int = 0, state: int = ACTIVE, version: int = 0xFE) -> None:
        self.data = bytearray(BLANK)
        struct.pack_into("<IIB", self.data, 0, state, sequence, version)
        struct.pack_into("<I", self.data, 28, crc(bytes(self.data[4:28])))
        self.used = 0

    def mark(self, entry: int, state: int) -> None:
        """Set the two bits of an entry: 0b11 empty, 0b10 written, 0b00 erased."""
        at, shift = 32 + entry // 4, entry % 4 * 2
        self.data[at] = self.data[at] & ~(3 << shift) | state << shift

    def put(self, namespace: int, kind: int, key: bytes, data8: bytes, *, span: int = 1, chunk: int = 0xFF) -> int:
        """Write one entry with its CRC, and return its index."""
        entry = bytearray(b"\xff" * 32)
        entry[0:4] = bytes((namespace, kind, span, chunk))
        entry[8:24] = key.ljust(16, b"\0")
        entry[24 : 24 + len(data8)] = data8
        struct.pack_into("<I", entry, 4, crc(bytes(entry[0:4] + entry[8:32])))
        return self.raw(bytes(entry))

    def raw(self, entry: bytes) -> int:
        index = self.used
        self.data[64 + 32 * index : 96 + 32 * index] = entry
        self.mark(index, 0b10)
        self.used += 1
        return index

    def u8(self, namespace: int, key: bytes, value: int) -> int:
        return self.put(namespace, 0x01, key, bytes((value,)))

    def long(self, namespace: int, kind: int, key: bytes, payload: bytes, *, chunk: int = 0xFF) -> int:
        """Write a string (0x21), a version 1 blob (0x41) or a chunk (0x42), and return its index."""
        count = (len(payload) + 31) // 32
        head = struct.pack("<HHI", len(payload), 0xFFFF, crc(payload))
        index = self.put(namespace, kind, key, head, span=1 + count, chunk=chunk)
        padded = payload.ljust(count * 32, b"\xff")
        for start in range(0, len(padded), 32):
            self.raw(padded[start : start + 32])
        return index

    def index(self, namespace: int, key: bytes, size: int, count: int, start: int = 0) -> int:
        return self.put(namespace, 0x48, key, struct.pack("<IBB", size, count, start))


def image(*pages: HandPage | bytes) -> bytes:
    return b"".join(page if isinstance(page, bytes) else bytes(page.data) for page in pages)
