"""Files that rmfab writes and files that it ships.

A target that is absent appears whole or not at all: a temporary file beside it, fsync, then a link that
fails if somebody was faster. Present and equal is fine; present and different is refused without `force`.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from rmfab.errors import InputError

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_CHUNK = 1 << 20
_LARGEST_INPUT = 1 << 30


def is_safe_name(name: str) -> bool:
    """Whether *name* may become a file name: `[A-Za-z0-9._-]{1,64}`, no leading dot."""
    return _SAFE_NAME.fullmatch(name) is not None


def shipped(folder: str, name: str) -> Path:
    """The path of a file of `templates/` or `csv/`, in a wheel, an editable install or a checkout.

    Raises FileNotFoundError, naming the places looked at: the installation is incomplete.
    """
    package = Path(__file__).parent
    places = (package / folder / name, package.parent / folder / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{folder}/{name} is not installed; looked at {', '.join(map(str, places))}")


def read_input(path: Path, what: str = "file", *, most: int = _LARGEST_INPUT) -> bytes:
    """The bytes of an input file. Raises InputError where it is missing, unreadable, or of more than *most* bytes."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size <= most and len(data := stream.read(most + 1)) <= most:
                return data
    except OSError as error:
        raise InputError(f"cannot read this {what}: {error.strerror or error}", where=str(path)) from error
    except ValueError as error:  # a name that no file can have
        raise InputError(f"cannot read this {what}: {error}", where=repr(str(path))) from None
    raise InputError(f"this is too large for a {what}", where=str(path), hint=f"at most {most} bytes")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time, by the lock file *path*; the lock goes with its process. Raises InputError."""
    if sys.platform == "win32":
        yield
        return
    try:
        stream = path.open("ab")
    except OSError as error:
        raise InputError(f"cannot take this lock: {error.strerror or error}", where=str(path)) from error
    with stream:
        _lock(stream, path)
        yield


@contextmanager
def changing(path: Path) -> Iterator[Path]:
    """One process at a time reads the path that is yielded, *path* without its links, and replaces the file there with
    what it made of it; no lock file stays beside it.

    The lock is on the file itself, and taken again where another process has replaced it meanwhile. One that cannot be
    opened is not locked: whoever reads it says what is wrong. Raises InputError where there are no locks.
    """
    path = path.resolve() if path.is_symlink() else path
    if sys.platform == "win32":
        yield path
        return
    while True:
        try:
            stream: IO[bytes] = path.open(
                "r+b" if os.access(path, os.W_OK) else "rb"
            )  # NFS locks only what may be written
        except OSError:
            break
        with stream:
            _lock(stream, path)
            if _is_open(path, stream):
                yield path
                return
    yield path


def _lock(stream: IO[bytes], path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX)
    except OSError as error:
        raise InputError(
            f"cannot lock this file: {error.strerror or error}",
            where=str(path),
            hint="a folder on a file system that has locks",
        ) from error


def _is_open(path: Path, stream: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except OSError:
        return False


def make_folder(path: Path, *, secret: bool = False) -> Path:
    """Makes *path* and its parents; with *secret* the last one is 0700. Raises InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700 if secret else 0o777, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make this folder: {error.strerror or error}", where=str(path)) from error
    return path


def write_file(path: Path, data: bytes, *, secret: bool = False, force: bool = False, sync: bool = True) -> bool:
    """Writes *data* to *path*, whole or not at all; returns False where the same bytes already stand there.

    Raises InputError where other bytes stand there and *force* is not given, or the file cannot be written.
    """
    if not force and _holds(path, data):
        return False
    with output_file(path, secret=secret, force=force, sync=sync) as stream:
        stream.write(data)
    return True


@contextmanager
def output_file(path: Path, *, secret: bool = False, force: bool = False, sync: bool = True) -> Iterator[BinaryIO]:
    """A stream whose content becomes *path* when the block ends well, and nothing when it does not.

    An equal file that is already there is left alone. Raises InputError as `write_file` does.
    """
    if not path.name or path.is_dir():
        raise InputError("a folder stands here, and a file is to be written", where=str(path), hint="name a file in it")
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        try:  # ^C during the opening comes after it: the file is there by then
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                if sync:
                    os.fsync(stream.fileno())
            _put_in_place(temporary, path, force)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(temporary), str(path)):
            raise
        raise InputError(f"cannot write this file: {error.strerror or error}", where=str(path)) from error
    if sync:
        sync_folder(path.parent)


def sweep(folder: Path, prefix: str) -> None:
    """Removes the temporary files that killed processes left in *folder* of files whose names start with *prefix*."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(f".{prefix}") and path.suffix == ".tmp":
            path.unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        if not _same(temporary, path):
            raise InputError(
                "this file exists with other content", where=str(path), hint="--force replaces it", cause="exists"
            ) from None
    except OSError:  # a file system without hard links (exFAT, some network shares)
        if path.exists() and not _same(temporary, path):
            raise InputError(
                "this file exists with other content", where=str(path), hint="--force replaces it", cause="exists"
            ) from None
        temporary.replace(path)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _same(left: Path, right: Path) -> bool:
    if left.stat().st_size != right.stat().st_size:
        return False
    with left.open("rb") as one, right.open("rb") as other:
        while chunk := one.read(_CHUNK):
            if chunk != other.read(_CHUNK):
                return False
    return True


def sync_folder(folder: Path) -> None:
    """Makes the names in *folder* survive a power cut; nothing to do where the system has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
