"""The host's record of a pool: which ledger may give identities on this host, and what it has given.

Two files per ledger id, in the state folder of the host and outside every workspace, so that a workspace that is copied
or restored does not bring its record along. `record_files` says how they prove that they are no copies themselves.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from rmfab.errors import InputError, LedgerError, StationError
from rmfab.files import file_error, make_folder, sync_folder
from rmfab.json_text import parse_json
from rmfab.ledger.host import STATE_ENVIRONMENT, PoolHost
from rmfab.ledger.record_files import MOST_BYTES, FileLook, NoProof, Stored, look_at, stored_in, write_to

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
        self.paths = tuple(host.state / f"{ledger_id}{suffix}" for suffix in _SUFFIXES)
        self.path = self.paths[0]
        self._changing = threading.RLock()
        self._files: list[int | None] = [None, None]
        self._holds = 0
        self._known: _Known | None = None
        self._looked = False

    @property
    def missing(self) -> Unusable:
        """What is said if there is no file. A different user, or a different RMFAB_STATE, has a different folder."""
        return Unusable(
            f"this host has no record of it in {self.path.parent}",
            f"if a different folder has it, as of a different user, set {STATE_ENVIRONMENT} to that; else, {_ADOPT}",
        )

    def read(self) -> Holding | Unusable:
        """Return the record without locking it. Raise StationError if this user may not read it."""
        while True:
            files = [self._opened(at, os.O_RDONLY) for at in (0, 1)]
            try:
                if files[0] is None:
                    return self.missing
                found = _settled(files).content
            except OSError as error:  # a folder can be opened, and only reading it fails
                raise self._error(_UNREAD, error) from error
            finally:
                _close(files)
            if isinstance(found, Holding) or files[1] is not None or not self.paths[1].exists():
                return found  # otherwise, the second file was made meanwhile

    def _opened(self, at: int, flags: int) -> int | None:
        """Open a file, None if it does not exist."""
        try:
            return os.open(self.paths[at], flags | _BINARY, 0o600)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("cannot open the record of this pool", error) from error

    def others(self) -> Iterator[Holding | Unusable]:
        """Yield the records of the other ledgers on this host; those that this user may not read are passed over."""
        for path in sorted(self.path.parent.glob(f"*{_SUFFIXES[0]}")):
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
        """Open and lock the record if that is not done yet; with *create*, create it if there is none."""
        if self._files[0] is not None:
            return
        if create:
            self._make_folder()
        files = [self._opened(0, os.O_RDWR | (os.O_CREAT if create else 0)), None]
        if files[0] is None:
            return
        try:
            if create:
                sync_folder(self.path.parent)
            self._lock(files[0], deadline)
            files[1] = self._opened(1, os.O_RDWR)
        except BaseException:
            _close(files)
            raise
        self._files = files

    def leave(self) -> None:
        """Close and unlock it."""
        _close(self._files)
        self._files, self._looked = [None, None], False

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
                raise LedgerError(
                    "a different process of this host takes too long to change this ledger",
                    where=str(self.path),
                    hint="retry when it has ended",
                    cause="ledger-locked",
                )
            time.sleep(_POLL_SECONDS)

    def locked(self) -> Holding | Unusable:
        """Return what is in the record, which nobody else changes: it is locked, unless there was none to lock."""
        return self.read() if self._files[0] is None else self._in_files().content

    def _in_files(self) -> _Known:
        """Return what is in the files; they are looked at once after they were locked, and after each write."""
        if self._known is None or not self._looked:
            try:
                looks = look_at(self._files)
                if self._known is None or list(self._known.looks) != list(looks):
                    self._known = _known(self._files, looks)
            except OSError as error:
                raise self._error(_UNREAD, error) from error
            self._looked = True
        return self._known

    def write(self, holding: Holding) -> None:
        """Write *holding* durably. The record must be locked."""
        if self._files[0] is None:
            raise ValueError("there is no record to write")
        before, data = self._in_files(), _as_data(holding)
        self._known = None
        try:
            known = self._write(before, holding, data)
            if not before.stored.proven:  # nothing may be left of what proves nothing
                known = self._write(known, holding, data)
            self._known = known
        except NoProof as error:
            raise StationError(
                "the file system of the state folder does not keep the time of a write",
                where=str(self.path.parent),
                hint=f"set {STATE_ENVIRONMENT} to a folder on a local disk",
                cause="no-state-folder",
            ) from error
        except OSError as error:
            raise self._error("cannot write the record of this pool", error) from error

    def _write(self, before: _Known, holding: Holding, data: bytes) -> _Known:
        at, generation = 1 - before.stored.at, before.stored.generation + 1
        descriptor = self._files[at]
        if descriptor is None:
            descriptor = self._files[at] = os.open(self.paths[at], os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
            sync_folder(self.path.parent)
        looks = list(before.looks)
        looks[at] = write_to(descriptor, data, generation)
        return _Known(holding, Stored(data, True, generation, at), looks)

    def _error(self, what: str, error: OSError) -> StationError:
        told = file_error(what, error, str(self.path))
        if isinstance(told, StationError):
            return told
        hint = _hint_of_state(self.path.parent)
        return StationError(told.what, where=told.where, hint=hint, cause="no-state-folder")


def has_given(host: PoolHost, where: str) -> bool:
    """Return whether a ledger that was at *where* gave serials on *host*. Raise StationError as `read` does."""
    known = HostRecord(host, "").others()
    return any(given.where == where for one in known for given in one.numbers.values())


class Hold:
    """A hold of a record, by one change of the ledger. Every method may raise StationError."""

    def __init__(self, record: HostRecord, patience: float) -> None:
        self._record = record
        self._deadline = time.monotonic() + patience
        self._joined = False

    def read(self) -> Holding | Unusable:
        """Return the record.

        Only the first use locks it. Later, the server may be locked as well, and whoever has made and locked a record
        since then waits for the server.
        """
        with self._record._changing:
            if not self._joined:
                self._join(create=False)
            return self._record.locked()

    def replace(self, holding: Holding) -> None:
        """Write *holding* durably, whatever was there."""
        with self._record._changing:
            self._join(create=True)
            self._record.write(holding)

    def join(self, part: Callable[[Holding | Unusable], Holding | None]) -> None:
        """Write what *part* returns for the record: the part of this host in a pool on a server; None: it has it."""
        with self._record._changing:
            self._join(create=True)  # before the look: two processes of a new host may join at once
            joined = part(self.read())
            if joined is not None:
                self._record.write(joined)

    def add(self, heads: Mapping[str, Head]) -> None:
        """Add *heads* of chains to the record, durably. Older ones than it has are passed over."""
        self.change(lambda known: known.with_heads(heads))

    def change(self, change: Callable[[Holding], Holding]) -> None:
        """Write what *change* makes of the record, durably; nothing if it returns the same, or if there is none."""
        with self._record._changing:
            self._join(create=False)  # a different process may have made it since `read`
            known = self.read()
            if isinstance(known, Holding) and (newer := change(known)) is not known:
                self._record.write(newer)

    def end(self) -> None:
        """End the hold; the last one unlocks the record."""
        with self._record._changing:
            if not self._joined:
                return
            self._joined = False
            self._record._holds -= 1
            if self._record._holds == 0:
                self._record.leave()

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
_SUFFIXES = (".pool", ".pool2")
_UNREAD = "cannot read the record of this pool"


def _hint_of_state(folder: Path) -> str:
    return (
        f"make {folder} a folder that this user may write to, or set {STATE_ENVIRONMENT} to the folder that has the "
        "records of this host"
    )


def _salted(host: PoolHost, salt: str) -> str:
    return hashlib.sha256(f"rmfab machine {salt} {host.machine}".encode()).hexdigest()


@dataclass(frozen=True)
class _Known:
    """What the files, of which *looks* were seen, say."""

    content: Holding | Unusable
    stored: Stored
    looks: Sequence[FileLook | None]


def _settled(files: Sequence[int | None]) -> _Known:
    """Return what is in *files*, which may be written meanwhile."""
    looks = look_at(files)
    while True:
        known, before = _known(files, looks), looks
        looks = look_at(files)
        if looks == before:
            return known


def _known(files: Sequence[int | None], looks: Sequence[FileLook | None]) -> _Known:
    stored = stored_in(files, looks)
    holding = None if stored.data is None else _in_data(stored.data)
    if holding is None:
        return _Known(Unusable("this host's record of it is damaged", _ADOPT), stored, looks)
    return _Known(holding if stored.proven else Unusable(_TOUCHED, _ADOPT, holding.numbers), stored, looks)


def _in_data(data: bytes) -> Holding | None:
    """Return the holding in *data*, None if it is not one."""
    try:
        value = parse_json(data)
        if not isinstance(value, dict):
            return None
        heads = {chain: Head(int(seq), str(digest)) for chain, (seq, digest) in value["heads"].items()}
        numbers = {
            series: Given(int(end), str(where), sure is True) for series, (end, where, sure) in value["numbers"].items()
        }
        return Holding(
            str(value["holder"]),
            str(value["salt"]),
            str(value["machine"]),
            heads,
            numbers,
            value["moved"] is True,
            frozenset(map(str, value["superseded"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _as_data(holding: Holding) -> bytes:
    content = {
        "holder": holding.holder,
        "salt": holding.salt,
        "machine": holding.machine,
        "heads": {chain: [head.seq, head.hash] for chain, head in holding.heads.items()},
        "numbers": {series: [given.end, given.where, given.sure] for series, given in holding.numbers.items()},
        "moved": holding.moved,
        "superseded": sorted(holding.superseded),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")


def _close(files: Sequence[int | None]) -> None:
    for one in reversed(files):  # the lock is that of the first
        if one is not None:
            os.close(one)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 2 * MOST_BYTES, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
