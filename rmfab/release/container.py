"""The container of a bundle: an uncompressed USTAR archive (POSIX.1-1988) in which every byte is determined.

Plain files of mode 0644, owner and group 0 without names, one time for all, two zero blocks at the end. The reader
rejects everything that the writer does not write. It never opens or creates a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Octets = bytes | memoryview

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_TIME = slice(136, 147)
_MOST_MEMBERS = 1 << 16
"""Far more than any archive of rmfab has, and few enough to look at each."""


def encode(members: Iterable[tuple[str, Octets]], time: int) -> bytes:
    """Return the archive of *members* (name, bytes), all with the modification time *time* in Unix seconds."""
    return b"".join(pieces(members, time))


def pieces(members: Iterable[tuple[str, Octets]], time: int) -> Iterator[Octets]:
    """Return the bytes of `encode`, piece by piece, without copying large members."""
    for name, data in members:
        yield _header(name, len(data), time)
        yield data
        yield bytes(-len(data) % _BLOCK)
    yield _END


def looks_like(data: bytes) -> bool:
    """Whether *data* may be such an archive, damaged or not."""
    return data[257:262] == b"ustar"


def decode(data: bytes) -> tuple[list[tuple[str, memoryview]], int]:
    """Return the members of an archive, as views into *data*, and their time.

    Raise ValueError unless *data* is exactly what `encode` writes.
    """
    whole = memoryview(data)
    places, time = locate(lambda at, size: data[at : at + size], len(data))
    return [(place.name, whole[place.start : place.start + place.size]) for place in places], time


@dataclass(frozen=True)
class MemberPlace:
    """Where a member is in its archive: *size* bytes from *start*."""

    name: str
    start: int
    size: int


def locate(read: Callable[[int, int], bytes], length: int) -> tuple[list[MemberPlace], int]:
    """Return the places of the members of an archive of *length* bytes, without reading them, and their time.

    *read* returns as many bytes from a position, fewer at the end. Raise ValueError as `decode` does.
    """
    try:
        time = int(read(_TIME.start, _TIME.stop - _TIME.start), 8)
    except ValueError:
        raise ValueError("its first header is invalid") from None
    places = list(_places(read, length, time))
    seen: set[str] = set()
    for place in places:
        if place.name in seen:
            raise ValueError(f"it contains {place.name} twice")
        seen.add(place.name)
    return places, time


def _places(read: Callable[[int, int], bytes], length: int, time: int) -> Iterator[MemberPlace]:
    at, left = 0, _MOST_MEMBERS
    while (block := read(at, _BLOCK)).strip(b"\0"):
        try:
            name = block[:100].rstrip(b"\0").decode("ascii")
            size = int(block[124:135], 8)
        except ValueError:
            raise ValueError(f"the header at 0x{at:x} is invalid") from None
        end = at + _BLOCK + size
        if size < 0 or end > length:
            raise ValueError("it is truncated")
        if block != _header(name, size, time):
            raise ValueError(f"the header of {name} is not as rmfab writes it")
        at = at + _BLOCK + -(-size // _BLOCK) * _BLOCK
        if read(end, at - end).strip(b"\0"):
            raise ValueError(f"the padding after {name} is not zero")
        yield MemberPlace(name, end - size, size)
        left -= 1
        if not left:
            raise ValueError("it contains too many members")
    if length - at != len(_END) or read(at, len(_END)) != _END:
        raise ValueError("its end marker is invalid")


def _header(name: str, size: int, time: int) -> bytes:
    """Return a USTAR header block; its checksum is the sum of its bytes with spaces in the checksum field."""
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
