"""Two files that prove that no one has copied or restored them, and of which one is whole after every interruption.

Their times are the proof. A write of ours sets mtime and ctime to its moment, which is also in the file. A copy has a
later mtime, and one that keeps the mtime (`cp -a`, tar, rsync -a) a later ctime, which no program can set. Windows has
no ctime of this kind; there the file contains its own file id, which a copy does not share.

Each write goes to the file that the last one did not use, in place. A write changes the times of its file at once: a
file whose write was cut off, or came later than its content says and was not repeated, proves nothing any more. The
other one still does, and says what the first one was to contain:

- The newest is proven: it counts. The one before it is proven, too, or was cut off.
- The newest is not proven, and the one before it is: a write that was not finished, after its change was durable
  elsewhere. It counts, too: it demands more of the ledger than the one before.
- Anything else was copied, restored, renamed, linked, or had its owner or mode changed: it is void.

They are synced with fsync: fdatasync need not write the times (fsync(2)).

    <magic, 8 bytes> <generation, 8> <moment in ns, 8> <file id, 8> <length, 4> <SHA-256 of all else, 32> <data>
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BYTES = 1 << 18
"""Room for two thousand chains."""
TOLERANCE_NS = 100_000_000
"""How far the times of a file may be from the moment of the write: the kernel's clock for files is coarse, up to
10 ms behind (clock_getres(2), CLOCK_REALTIME_COARSE)."""
TRIES = 50

_MAGIC = b"rmfabre2"
_HEAD = struct.Struct("<8sQqQI32s")


@dataclass(frozen=True)
class Stored:
    """What a pair of files says: *data*, None if both are damaged, which is *proven* or not.

    *generation* and *at* are those of the newest write that is proven, and the file it went to.
    """

    data: bytes | None
    proven: bool
    generation: int = 0
    at: int = 1


@dataclass(frozen=True)
class FileLook:
    """A file at one moment: its id, size, times, and head. If all are the same, so is its content."""

    inode: tuple[int, int]
    size: int
    mtime: int
    ctime: int
    head: bytes


Pair = Sequence[int | None]
"""The descriptors of two files, None for one that does not exist."""


def look_at(files: Pair) -> tuple[FileLook | None, ...]:
    """Return what the two *files* look like."""
    return tuple(None if one is None else _look(one) for one in files)


def stored_in(files: Pair, looks: Sequence[FileLook | None]) -> Stored:
    """Return what is in *files*, of which *looks* was seen. They may be written meanwhile, if they are not locked."""
    writes = [_write_in(one, look) for one, look in zip(files, looks, strict=True)]
    at = 0 if writes[0].generation > writes[1].generation else 1
    newest, other = writes[at], writes[1 - at]
    if newest is _NOTHING:
        return Stored(None, proven=False)
    if newest.proven:
        whole = _is_cut_off(looks[1 - at], newest) if other is _NOTHING else other.proven
        return Stored(newest.data, whole, newest.generation, at)
    if other.proven and newest.generation == other.generation + 1:
        return Stored(newest.data, True, other.generation, 1 - at)
    return Stored(newest.data, False, newest.generation, at)


def write_to(descriptor: int, data: bytes, generation: int) -> FileLook:
    """Write *data* durably; return what the file looks like then.

    Raise OSError, or NoProof if the file system does not keep the time of a write.
    """
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, "too many chains of events")
    for _ in range(TRIES):
        # The process may have waited for the CPU between the look at the clock and the write.
        moment, file_id = time.time_ns(), os.fstat(descriptor).st_ino if sys.platform == "win32" else 0
        digest = _digest(generation, moment, file_id, data)
        pwrite(descriptor, _HEAD.pack(_MAGIC, generation, moment, file_id, len(data), digest) + data)
        os.fsync(descriptor)
        if _is_own_write(look := _look(descriptor), moment, file_id):
            return look
    raise NoProof


class NoProof(Exception):
    """The file system does not keep the time of a write."""


@dataclass(frozen=True)
class _Write:
    """A write with a correct checksum; *proven* by the times of its file."""

    generation: int
    data: bytes
    proven: bool


_NOTHING = _Write(0, b"", proven=False)


def _is_cut_off(look: FileLook | None, newest: _Write) -> bool:
    """Return whether a file without a write can be what an interruption left: nobody has removed or replaced it."""
    return newest.generation == 1 or (look is not None and look.head.startswith(_MAGIC))


def _look(descriptor: int) -> FileLook:
    stat = os.fstat(descriptor)
    head = pread(descriptor, _HEAD.size, 0)
    return FileLook((stat.st_dev, stat.st_ino), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, head)


def _write_in(descriptor: int | None, look: FileLook | None) -> _Write:
    if descriptor is None or look is None or len(look.head) < _HEAD.size:
        return _NOTHING
    magic, generation, moment, file_id, length, digest = _HEAD.unpack(look.head)
    if magic != _MAGIC or length > MOST_BYTES:
        return _NOTHING
    data = pread(descriptor, length, _HEAD.size)
    if _digest(generation, moment, file_id, data) != digest:
        return _NOTHING
    return _Write(generation, data, _is_own_write(look, moment, file_id))


def _is_own_write(look: FileLook, moment: int, file_id: int) -> bool:
    if sys.platform == "win32":
        return look.inode[1] == file_id
    return all(abs(look.mtime - one) <= TOLERANCE_NS for one in (look.ctime, moment))


def _digest(generation: int, moment: int, file_id: int, data: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<QqQI", generation, moment, file_id, len(data)) + data).digest()


def pread(descriptor: int, size: int, at: int) -> bytes:
    """Read up to *size* bytes from the offset *at*."""
    if sys.platform == "win32":
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)
    return os.pread(descriptor, size, at)


def pwrite(descriptor: int, data: bytes) -> None:
    """Write *data* at the beginning of a file."""
    at = 0
    while data:
        if sys.platform == "win32":
            os.lseek(descriptor, at, os.SEEK_SET)
            done = os.write(descriptor, data)
        else:
            done = os.pwrite(descriptor, data, at)
        data, at = data[done:], at + done
