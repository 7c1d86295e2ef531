"""The container of a bundle: an uncompressed USTAR archive (POSIX.1-1988) of which every byte is determined.

Plain files of mode 0644, owner and group 0, no names of either, one time for all, two zero blocks at the end. The
reader takes nothing that the writer would not write; it never looks for a file and never makes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Octets = bytes | memoryview

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_TIME = slice(136, 147)


def encode(members: Iterable[tuple[str, Octets]], time: int) -> bytes:
    """The archive of *members* (name, bytes), all of them of *time* in seconds of Unix time."""
    return b"".join(pieces(members, time))


def pieces(members: Iterable[tuple[str, Octets]], time: int) -> Iterator[Octets]:
    """The same, piece by piece: what is large is not copied."""
    for name, data in members:
        yield _header(name, len(data), time)
        yield data
        yield bytes(-len(data) % _BLOCK)
    yield _END


def looks_like(data: bytes) -> bool:
    """Whether *data* may be such an archive, damaged or not."""
    return data[257:262] == b"ustar"


def decode(data: bytes) -> tuple[list[tuple[str, memoryview]], int]:
    """The members of an archive, which lie in *data*, and their time.

    Raises ValueError where `encode` would not write these bytes.
    """
    try:
        time = int(data[_TIME], 8)
    except ValueError:
        raise ValueError("its first header cannot be read") from None
    members = list(_members(data, time))
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise ValueError(f"{name} stands in it twice")
        seen.add(name)
    return members, time


def _members(data: bytes, time: int) -> Iterator[tuple[str, memoryview]]:
    at, whole = 0, memoryview(data)
    while (block := data[at : at + _BLOCK]).strip(b"\0"):
        try:
            name = block[:100].rstrip(b"\0").decode("ascii")
            size = int(block[124:135], 8)
        except ValueError:
            raise ValueError(f"the header at 0x{at:x} cannot be read") from None
        end = at + _BLOCK + size
        if size < 0 or end > len(data):
            raise ValueError("it is cut short")
        if block != _header(name, size, time):
            raise ValueError(f"the header of {name} is not as rmfab writes it")
        at = at + _BLOCK + -(-size // _BLOCK) * _BLOCK
        if data[end:at].strip(b"\0"):
            raise ValueError(f"something stands behind {name}")
        yield name, whole[end - size : end]
    if data[at:] != _END:
        raise ValueError("it does not end as it should")


def _header(name: str, size: int, time: int) -> bytes:
    """A USTAR header block; its checksum is the sum of its bytes with spaces in the checksum's place."""
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0",  # owner
        b"0000000\0",  # group
        b"%011o\0" % size,
        b"%011o\0" % time,
        b"        ",  # checksum
        b"0",  # a plain file
        bytes(100),
        b"ustar\x0000",
        bytes(32),
        bytes(32),
        b"0000000\0",
        b"0000000\0",
        bytes(155 + 12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
