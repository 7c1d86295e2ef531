"""Files that rmfab writes and files that it ships.

A new file appears complete or not at all: a temporary file beside it, fsync, then a hard link, which fails if a
different process was faster. A file with the same content is left as it is; one with different content is
replaced only with `force`.
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
    """Return whether *name* is safe as a file name: `[A-Za-z0-9._-]{1,64}`, no leading dot."""
    return _SAFE_NAME.fullmatch(name) is not None


def shipped(folder: str, name: str) -> Path:
    """Return the path of a file of `templates/` or `csv/`, in a wheel, an editable install or a checkout.

    Raise FileNotFoundError, naming the places searched, if the installation is incomplete.
    """
    package = Path(__file__).parent
    places = (package / folder / name, package.parent / folder / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{folder}/{name} is not installed; searched {', '.join(map(str, places))}")


def read_input(path: Path, what: str = "file", *, most: int = _LARGEST_INPUT) -> bytes:
    """Return the bytes of an input file. Raise InputError if it is missing, unreadable or longer than *most* bytes."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size <= most and len(data := stream.read(most + 1)) <= most:
                return data
    except OSError as error:
        cause = "no-permission" if isinstance(error, PermissionError) else None
        raise InputError(f"cannot read this {what}: {error.strerror or error}", where=str(path), cause=cause) from error
    except ValueError as error:  # not a valid file name, such as one with NUL
        raise InputError(f"cannot read this {what}: {error}", where=repr(str(path))) from None
    raise InputError(f"too large for a {what}", where=str(path), hint=f"the limit is {most} bytes")


def is_there(path: Path) -> bool:
    """Return whether *path* exists, also if this user may not look: then opening it reports that.

    `Path.exists` raises PermissionError instead.
    """
    try:
        return path.exists()
    except PermissionError:
        return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path*: one process at a time. The lock ends with its process. Raise InputError."""
    if sys.platform == "win32":
        yield
        return
    try:
        stream = path.open("ab")
    except OSError as error:
        raise InputError(f"cannot open this lock file: {error.strerror or error}", where=str(path)) from error
    with stream:
        _lock(stream, path)
        yield


@contextmanager
def changing(path: Path) -> Iterator[Path]:
    """Lock *path* while it is read and replaced: one process at a time. Yield the path with its links resolved.

    The lock is on the file itself, so no lock file is left behind; it is taken again if a different process replaced
    the file while this one waited. A file that cannot be opened is not locked: reading it reports the reason. Raise
    InputError if the file system has no locks.
    """
    path = path.resolve() if path.is_symlink() else path
    if sys.platform == "win32":
        yield path
        return
    while True:
        try:
            stream: IO[bytes] = path.open(
                "r+b" if os.access(path, os.W_OK) else "rb"
            )  # NFS locks only files that are open for writing
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
            hint="use a folder on a file system with locks",
        ) from error


def _is_open(path: Path, stream: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except OSError:
        return False


def make_folder(path: Path, *, secret: bool = False) -> Path:
    """Create *path* and its parents; with *secret* the mode of *path* is 0700. Raise InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700 if secret else 0o777, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create this folder: {error.strerror or error}", where=str(path)) from error
    return path


def write_file(path: Path, data: bytes, *, secret: bool = False, force: bool = False, sync: bool = True) -> bool:
    """Write *data* to *path*, completely or not at all; return False if *path* already contains it.

    Raise InputError if *path* has different content and *force* is not given, or if it cannot be written.
    """
    if not force and _holds(path, data):
        return False
    with output_file(path, secret=secret, force=force, sync=sync) as stream:
        stream.write(data)
    return True


@contextmanager
def output_file(path: Path, *, secret: bool = False, force: bool = False, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a stream that becomes *path* if the block succeeds, and is discarded if it fails.

    An existing file with the same content is left as it is. Raise InputError as `write_file` does.
    """
    if not path.name or path.is_dir():
        raise InputError("is a directory, expected a file", where=str(path), hint="name a file in it")
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
                "already exists with different content", where=str(path), hint="--force replaces it", cause="exists"
            ) from None
    except OSError:  # a file system without hard links (exFAT, some network shares)
        if path.exists() and not _same(temporary, path):
            raise InputError(
                "already exists with different content", where=str(path), hint="--force replaces it", cause="exists"
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
    """Make the file names in *folder* survive a power cut. A no-op except on POSIX systems."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
