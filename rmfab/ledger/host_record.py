"""The host's record of a pool: which ledger may give identities on this host, and what it has given.

One file per ledger id, in the state folder of the host and outside every workspace, so that a workspace that is copied
or restored does not bring its record along. It is written in place and never renamed, in two slots in turn, each with a
checksum: a write that is cut off leaves the older slot.

A copy of the file is recognised by its times. Our own write sets mtime and ctime to the moment of the write, which is
also in the content. A copy has a later mtime, and one that keeps the mtime (`cp -a`, tar, rsync -a) a later ctime,
which no program can set. The record is synced with fsync: fdatasync need not write the times (fsync(2)). Windows has no
ctime of this kind; there the content names the file id, which a copy does not share.

    <magic, 8 bytes> <generation, 8 bytes> <length, 4 bytes> <SHA-256 of generation, length and content> <content: JSON>
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from rmfab.errors import InputError, StationError
from rmfab.files import file_error, make_folder, sync_folder
from rmfab.json_text import parse_json
from rmfab.ledger.host import STATE_ENVIRONMENT, PoolHost

SLOT_BYTES = 1 << 18
"""The distance of the two slots: room for two thousand chains. The file is sparse."""

_MAGIC = b"rmfabrec"
_HEAD = struct.Struct("<8sQI32s")
_TOLERANCE_NS = 100_000_000
"""How far the times of the file may be from the moment of the write: the kernel's clock for files is coarse, up to
10 ms behind (clock_getres(2), CLOCK_REALTIME_COARSE)."""
_TRIES = 50
_POLL_SECONDS = 0.0005
"""Only one process polls, the one whose turn at the ledger it is: the others wait in the queue of its writers."""


@dataclass(frozen=True)
class Head:
    """A place in a chain of events: the event number *seq* had *hash*."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Given:
    """The numbers of a series of serials that a ledger gave: all below *end*. *where*: its place then, for messages.

    *sure*: it gave no others. Not so if a different host may have given some, or after a loss that this cannot cover.
    """

    end: int
    where: str
    sure: bool = True


@dataclass(frozen=True)
class Holding:
    """What a host knows of a pool that it holds.

    *holder* is the id of the ledger file that may give identities, new at each adoption. *machine* is a salted hash of
    the machine id. *heads* maps the id of each chain to its head after the last event that took from the pool.
    *numbers* maps each series of serials (`BatchOrder.series`) to what was given. *moved*: a different host goes on.
    *superseded* are the holders before this one, as far as this host knows them.
    """

    holder: str
    salt: str
    machine: str
    heads: Mapping[str, Head] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Mapping[str, Given] = field(default_factory=lambda: MappingProxyType({}))
    moved: bool = False
    superseded: frozenset[str] = frozenset()

    @classmethod
    def new(
        cls,
        host: PoolHost,
        heads: Mapping[str, Head],
        numbers: Mapping[str, Given] = MappingProxyType({}),
        holder: str | None = None,
    ) -> Holding:
        """Return the holding of a new holder on *host*, or its part in that of *holder* on a server."""
        salt = secrets.token_hex(16)
        return cls(holder or secrets.token_hex(16), salt, _salted(host, salt), heads, numbers)

    def is_on(self, host: PoolHost) -> bool:
        """Return whether this was written on the machine of *host*."""
        return hmac.compare_digest(self.machine, _salted(host, self.salt))

    def with_heads(self, heads: Mapping[str, Head]) -> Holding:
        """Return this with those of *heads* that are newer; itself if none is."""
        newer = {chain: head for chain, head in heads.items() if head.seq > self._seq(chain)}
        return replace(self, heads={**self.heads, **newer}) if newer else self

    def with_given(self, series: str, given: Given) -> Holding:
        """Return this with the numbers of *series* that were *given*; itself if it has them."""
        if series in self.numbers and self.numbers[series].end >= given.end:
            return self
        return replace(self, numbers={**self.numbers, series: given})

    def _seq(self, chain: str) -> int:
        return self.heads[chain].seq if chain in self.heads else -1


@dataclass(frozen=True)
class Unusable:
    """Why there is no valid record, and what to do: a clause each. *numbers* of a void one were given all the same."""

    why: str
    hint: str
    numbers: Mapping[str, Given] = field(default_factory=lambda: MappingProxyType({}))


class HostRecord:
    """The record of the ledger *ledger_id* on *host*; usable from every thread."""

    def __init__(self, host: PoolHost, ledger_id: str) -> None:
        self.path = host.state / f"{ledger_id}.pool"
        self._changing = threading.RLock()
        self._descriptor: int | None = None
        self._holds = 0
        self._known: _Known | None = None

    @property
    def missing(self) -> Unusable:
        """What is said if there is no file. A different user, or a different RMFAB_STATE, has a different folder."""
        return Unusable(
            f"this host has no record of it in {self.path.parent}",
            f"if a different folder has it, as of a different user, set {STATE_ENVIRONMENT} to that; else, {_ADOPT}",
        )

    def read(self) -> Holding | Unusable:
        """Return the record without locking it. Raise StationError if this user may not read it."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _BINARY)
            try:
                return _read(descriptor).content
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return self.missing
        except OSError as error:  # a folder can be opened, and only reading it fails
            raise self._error("cannot read the record of this pool", error) from error

    def others(self) -> Iterator[Holding | Unusable]:
        """Yield the records of the other ledgers on this host; those that this user may not read are passed over."""
        for path in sorted(self.path.parent.glob("*.pool")):
            if path != self.path:
                with contextlib.suppress(StationError):
                    yield HostRecord(PoolHost(self.path.parent, ""), path.stem).read()

    @contextlib.contextmanager
    def hold(self, patience: float = 30.0) -> Iterator[Hold]:
        """Yield a hold of the record: it is locked from the first use until the block ends.

        The threads of a process share the lock; a different process waits up to *patience* seconds for it.
        """
        hold = Hold(self, patience)
        try:
            yield hold
        finally:
            hold.end()

    def join(self, *, create: bool, deadline: float) -> None:
        """Open and lock the file if that is not done yet; with *create*, create it if there is none."""
        if self._descriptor is not None:
            return
        if create:
            self._make_folder()
        try:
            descriptor = os.open(self.path, os.O_RDWR | _BINARY | (os.O_CREAT if create else 0), 0o600)
            if create:
                sync_folder(self.path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("cannot open the record of this pool", error) from error
        try:
            self._lock(descriptor, deadline)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _make_folder(self) -> None:
        try:
            make_folder(self.path.parent)
        except InputError as error:
            raise StationError(
                error.what, where=error.where, hint=_hint_of_state(self.path.parent), cause="no-state-folder"
            ) from error

    def _lock(self, descriptor: int, deadline: float) -> None:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise StationError(
                    "the record of this pool is locked by another program",
                    where=str(self.path),
                    hint="close that program, then retry",
                    cause="ledger-locked",
                )
            time.sleep(_POLL_SECONDS)

    def _locked(self, descriptor: int) -> _Known:
        """Return what is in the file, which is locked: nobody else changes it."""
        if self._known is None:
            try:
                self._known = _read(descriptor)
            except OSError as error:
                raise self._error("cannot read the record of this pool", error) from error
        return self._known

    def _write(self, holding: Holding) -> None:
        if self._descriptor is None:
            raise ValueError("there is no record to write")
        try:
            generation = self._locked(self._descriptor).generation + 1
            for _ in range(_TRIES):
                self._known = None
                # The process may have waited for the CPU between the look at the clock and the write.
                if _write(self._descriptor, holding, generation):
                    self._known = _Known(holding, generation)
                    return
        except OSError as error:
            raise self._error("cannot write the record of this pool", error) from error
        raise StationError(
            "the file system of the state folder does not keep the time of a write",
            where=str(self.path.parent),
            hint=f"set {STATE_ENVIRONMENT} to a folder on a local disk",
            cause="no-state-folder",
        )

    def _error(self, what: str, error: OSError) -> StationError:
        told = file_error(what, error, str(self.path))
        if isinstance(told, StationError):
            return told
        hint = _hint_of_state(self.path.parent)
        return StationError(told.what, where=told.where, hint=hint, cause="no-state-folder")


class Hold:
    """A hold of a record, by one change of the ledger. Every method may raise StationError."""

    def __init__(self, record: HostRecord, patience: float) -> None:
        self._record = record
        self._deadline = time.monotonic() + patience
        self._joined = False

    def read(self) -> Holding | Unusable:
        """Return the record."""
        with self._record._changing:
            self._join(create=False)
            descriptor = self._record._descriptor
            return self._record.missing if descriptor is None else self._record._locked(descriptor).content

    def replace(self, holding: Holding) -> None:
        """Write *holding* durably, whatever was there."""
        with self._record._changing:
            self._join(create=True)
            self._record._write(holding)

    def join(self, part: Callable[[Holding | Unusable], Holding | None]) -> None:
        """Write what *part* returns for the record: the part of this host in a pool on a server; None: it has it."""
        with self._record._changing:
            self._join(create=True)  # before the look: two processes of a new host may join at once
            joined = part(self.read())
            if joined is not None:
                self._record._write(joined)

    def add(self, heads: Mapping[str, Head]) -> None:
        """Add *heads* of chains to the record, durably. Older ones than it has are passed over."""
        self.change(lambda known: known.with_heads(heads))

    def change(self, change: Callable[[Holding], Holding]) -> None:
        """Write what *change* makes of the record, durably; nothing if it returns the same, or if there is none."""
        with self._record._changing:
            known = self.read()
            if isinstance(known, Holding) and (newer := change(known)) is not known:
                self._record._write(newer)

    def end(self) -> None:
        """End the hold; the last one unlocks the record."""
        with self._record._changing:
            if not self._joined:
                return
            self._joined = False
            self._record._holds -= 1
            if self._record._holds == 0 and self._record._descriptor is not None:
                os.close(self._record._descriptor)
                self._record._descriptor = self._record._known = None

    def _join(self, *, create: bool) -> None:
        self._record.join(create=create, deadline=self._deadline)
        if not self._joined:
            self._joined = True
            self._record._holds += 1


_TOUCHED = (
    "this host's record of it was copied, restored, renamed, linked, or its owner or mode changed, so it proves nothing"
)
_ADOPT = (
    "if no other copy gives identities, run `rmfab ledger adopt` (free identities go into quarantine); if one does, "
    "use that one, or bring it here with `rmfab ledger move`"
)
_BINARY = getattr(os, "O_BINARY", 0)
_SLOTS = (0, SLOT_BYTES)


def _hint_of_state(folder: Path) -> str:
    return (
        f"make {folder} a folder that this user may write to, or set {STATE_ENVIRONMENT} to the folder that has the "
        "records of this host"
    )


def _salted(host: PoolHost, salt: str) -> str:
    return hashlib.sha256(f"rmfab machine {salt} {host.machine}".encode()).hexdigest()


@dataclass(frozen=True)
class _Known:
    """What a file says, and the generation of the slot that says it, 0 if there is none."""

    content: Holding | Unusable
    generation: int


@dataclass(frozen=True)
class _Slot:
    """A slot with a correct checksum. *written*: the moment of its write in ns; *file_id* only on Windows."""

    generation: int
    holding: Holding
    written: int
    file_id: int


def _read(descriptor: int) -> _Known:
    """Return the record in a file.

    It is the newest slot that the times of the file prove. After a power cut that can be the older one: its successor
    reached the disk, but the times did not. The file may be written meanwhile, if it is not locked.
    """
    while True:
        stat = os.fstat(descriptor)
        known = _proven(descriptor, stat)
        if isinstance(known.content, Holding) or os.fstat(descriptor).st_mtime_ns == stat.st_mtime_ns:
            return known


def _proven(descriptor: int, stat: os.stat_result) -> _Known:
    """Return the record in a file whose times are those of *stat*."""
    newest: _Slot | None = None
    for at in sorted(_SLOTS, key=lambda at: _generation(descriptor, at), reverse=True):
        slot = _read_slot(descriptor, at)
        if slot is not None and _is_own_write(stat, slot.written, slot.file_id):
            return _Known(slot.holding, slot.generation)
        newest = newest or slot
    if newest is None:
        return _Known(Unusable("this host's record of it is damaged", _ADOPT), 0)
    return _Known(Unusable(_TOUCHED, _ADOPT, newest.holding.numbers), newest.generation)


def _is_own_write(stat: os.stat_result, written: int, file_id: int) -> bool:
    if sys.platform == "win32":
        return stat.st_ino == file_id
    return all(abs(stat.st_mtime_ns - moment) <= _TOLERANCE_NS for moment in (stat.st_ctime_ns, written))


def _generation(descriptor: int, at: int) -> int:
    """Return the generation that the slot claims to have, before its checksum is known."""
    data = _pread(descriptor, _HEAD.size, at)
    return _HEAD.unpack(data)[1] if len(data) == _HEAD.size else 0


def _read_slot(descriptor: int, at: int) -> _Slot | None:
    data = _pread(descriptor, _HEAD.size, at)
    if len(data) < _HEAD.size:
        return None
    magic, generation, length, digest = _HEAD.unpack(data)
    if magic != _MAGIC or length > SLOT_BYTES - _HEAD.size:
        return None
    content = _pread(descriptor, length, at + _HEAD.size)
    if _digest(generation, content) != digest:
        return None
    try:
        value = parse_json(content)
        if not isinstance(value, dict):
            return None
        heads = {chain: Head(int(seq), str(digest)) for chain, (seq, digest) in value["heads"].items()}
        numbers = {
            series: Given(int(end), str(where), sure is True)
            for series, (end, where, sure) in value.get("numbers", {}).items()
        }
        holding = Holding(
            str(value["holder"]),
            str(value["salt"]),
            str(value["machine"]),
            heads,
            numbers,
            value.get("moved") is True,
            frozenset(map(str, value.get("superseded", ()))),
        )
        return _Slot(generation, holding, int(value["written_ns"]), int(value["file"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _write(descriptor: int, holding: Holding, generation: int) -> bool:
    """Write *holding* durably to the slot of *generation*; return whether the times of the file prove it."""
    file_id, written = os.fstat(descriptor).st_ino if sys.platform == "win32" else 0, time.time_ns()
    content = {
        "holder": holding.holder,
        "salt": holding.salt,
        "machine": holding.machine,
        "heads": {chain: [head.seq, head.hash] for chain, head in holding.heads.items()},
        "numbers": {series: [given.end, given.where, given.sure] for series, given in holding.numbers.items()},
        "moved": holding.moved,
        "superseded": sorted(holding.superseded),
        "file": file_id,
        "written_ns": written,
    }
    data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
    if _HEAD.size + len(data) > SLOT_BYTES:
        raise OSError(errno.EFBIG, "too many chains of events")
    head = _HEAD.pack(_MAGIC, generation, len(data), _digest(generation, data))
    _pwrite(descriptor, head + data, _SLOTS[generation % 2])
    os.fsync(descriptor)
    return _is_own_write(os.fstat(descriptor), written, file_id)


def _digest(generation: int, content: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<QI", generation, len(content)) + content).digest()


def _pread(descriptor: int, size: int, at: int) -> bytes:
    if sys.platform == "win32":
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)
    return os.pread(descriptor, size, at)


def _pwrite(descriptor: int, data: bytes, at: int) -> None:
    while data:
        if sys.platform == "win32":
            os.lseek(descriptor, at, os.SEEK_SET)
            done = os.write(descriptor, data)
        else:
            done = os.pwrite(descriptor, data, at)
        data, at = data[done:], at + done


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 2 * SLOT_BYTES, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
