"""Files that rmfab writes and files that it ships.

A new file appears complete or not at all: a temporary file beside it, fsync, then a hard link, which fails if a
different process was faster. A file with the same content is left as it is; one with different content is
replaced only with `force`. A temporary file is locked while its process lives; what a killed process left is removed by
the next writer in the folder.

If this host is short of something, such as disk space, functions raise StationError instead of InputError: see
`file_error`.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from rmfab.errors import InputError, RmfabError, StationError

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_CHUNK = 1 << 20
_LARGEST_INPUT = 1 << 30
_LARGEST_SYSTEM_FILE = 1 << 20
_TEMPORARY = ".rmfab-tmp"

_SHORTAGES = (
    ({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}, "disk-full", "free disk space, then run the same command again"),
    ({errno.EMFILE, errno.ENFILE}, "too-many-files", "raise the limit (`ulimit -n`), or do less at a time"),
    ({errno.EIO}, "disk-error", "check the disk, then run the same command again"),
)


def file_error(what: str, error: OSError, where: str) -> RmfabError:
    """Return the error for a file operation that failed: StationError if this host is short of something."""
    text = f"{what}: {error.strerror or error}"
    for numbers, cause, hint in _SHORTAGES:
        if error.errno in numbers:
            return StationError(text, where=where, hint=hint, cause=cause)
    advice = _hint(error, Path(where))
    if isinstance(error, PermissionError):
        return InputError(text, where=where, hint=advice, cause="no-permission")
    return InputError(text, where=where, hint=advice)


def _hint(error: OSError, path: Path) -> str | None:
    """Return what may be done about *error*, which using the file or folder *path* raised."""
    match error:
        case FileNotFoundError():
            try:
                folder_is_there = path.parent.is_dir()
            except (OSError, ValueError):
                return None
            if not folder_is_there:
                return f"there is no folder {path.parent}: make it first, or check the path"
            return near_file(path) or "check the name and the folder"
        case IsADirectoryError():
            return "name a file, not a folder"
        case NotADirectoryError() | FileExistsError():
            return "a file is where a folder should be: choose a different name"
        case PermissionError():
            return "get access to it (`ls -ld` shows owner and mode), or choose a different place"
        case OSError(errno=errno.EROFS):
            return "its disk is read-only: choose a different place"
    return None


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


def shipped_files(folder: str, suffix: str) -> list[Path]:
    """Return the files that end with *suffix* in a folder below `templates/`, found as `shipped` finds them, sorted."""
    package = Path(__file__).parent
    for place in (package / folder, package.parent / folder):
        if place.is_dir():
            return sorted(place.glob(f"*{suffix}"))
    return []


def home_folder() -> Path | None:
    """Return the home folder of this user, None if there is none: the user of a container, or an empty HOME.

    `Path.home` raises RuntimeError for the one, and is `/` for the other.
    """
    home = os.path.expanduser("~")  # noqa: PTH111
    return Path(home) if os.path.isabs(home) and os.environ.get("HOME") != "" else None  # noqa: PTH117


def read_input(path: Path, what: str = "file", *, most: int = _LARGEST_INPUT) -> bytes:
    """Return the bytes of an input file. Raise InputError if it is missing, unreadable or longer than *most* bytes."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size <= most and len(data := stream.read(most + 1)) <= most:
                return data
    except OSError as error:
        raise file_error(f"cannot read this {what}", error, str(path)) from error
    except ValueError as error:  # not a valid file name, such as one with NUL
        raise InputError(f"cannot read this {what}: {error}", where=repr(str(path))) from None
    raise InputError(f"too large for a {what}", where=str(path), hint=f"the limit is {most} bytes")


def system_text(path: Path) -> str:
    """Return the text of a file of the system, as in /proc, /sys or /etc, empty if it cannot be read.

    It is without the blanks around it, and what does not fit into a MiB.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_LARGEST_SYSTEM_FILE).strip()
    except OSError:
        return ""


def near_file(path: Path) -> str | None:
    """Return a hint that names the file of the same folder that *path* may mean, None if there is none like it."""
    from difflib import get_close_matches

    try:
        close = get_close_matches(path.name, [one.name for one in path.parent.iterdir()], n=1, cutoff=0.75)
    except OSError:
        return None
    return f"did you mean {path.parent / close[0]}?" if close else None


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
        raise file_error("cannot open this lock file", error, str(path)) from error
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
        raise file_error("cannot create this folder", error, str(path)) from error
    return path


def write_file(path: Path, data: bytes, *, secret: bool = False, force: bool = False, sync: bool = True) -> bool:
    """Write *data* to *path*, completely or not at all; return False if *path* already contains it.

    Raise InputError if *path* has different content and *force* is not given, or if it cannot be written.
    """
    if not force and _holds(str(path), data):
        return False
    with output_file(path, secret=secret, force=force, sync=sync) as stream:
        stream.write(data)
    return True


@contextmanager
def output_file(path: Path, *, secret: bool = False, force: bool = False, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a stream that becomes *path* if the block succeeds, and is discarded if it fails.

    An existing file with the same content is left as it is. With *sync*, the file survives a power cut, and what killed
    processes left in the folder is removed. Raise InputError as `write_file` does.
    """
    with _output(path, secret=secret, force=force, sync=sync) as (_, stream):
        yield stream


@contextmanager
def output_path(path: Path, *, secret: bool = False, force: bool = False) -> Iterator[Path]:
    """Yield the path of an empty file that becomes *path* if the block succeeds, for writers that open it by name."""
    with _output(path, secret=secret, force=force, sync=True) as (temporary, _):
        try:
            yield temporary
        finally:
            _remove_companions(temporary)


def refuse_output(path: Path) -> None:
    """Raise what `write_file` with *force* would raise, before the work whose result *path* shall hold."""
    with suppress(_Discarded), _output(path, secret=False, force=True, sync=False):
        raise _Discarded


class _Discarded(Exception):
    """The file that is being written is not wanted."""


def refuse_target(path: Path) -> None:
    """Raise InputError for a folder, and for a device or a pipe: a file must not take its place."""
    if not path.name or path.is_dir():
        raise InputError("is a directory, expected a file", where=str(path), hint="name a file in it")
    if is_there(path) and not path.is_file():
        raise InputError("is a device or a pipe, expected a file", where=str(path), hint="name a file, or a new one")


@contextmanager
def _output(path: Path, *, secret: bool, force: bool, sync: bool) -> Iterator[tuple[Path, BinaryIO]]:
    refuse_target(path)
    if sync:
        sweep(path.parent)
    temporary = path.with_name(f".{path.name[:80]}.{os.urandom(4).hex()}{_TEMPORARY}")
    try:
        try:  # ^C during the opening comes after it: the file is there by then
            with os.fdopen(_create(str(temporary), 0o600 if secret else 0o666), "wb") as stream:
                yield temporary, stream
                stream.flush()
                if sync:
                    os.fsync(stream.fileno())
                if os.name == "posix":
                    put_in_place(str(temporary), str(path), force)  # while the lock keeps `sweep` away
            if os.name != "posix":
                put_in_place(str(temporary), str(path), force)  # Windows does not move open files
        finally:
            _remove(str(temporary))
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(temporary), str(path)):
            raise
        raise file_error("cannot write this file", error, str(path)) from error
    except BaseException:
        _remove(str(temporary))  # ^C can also come at the start of the `finally` above
        raise
    if sync:
        sync_folder(path.parent)


class FolderWriter:
    """Writer of many files into the existing *folder*, with fewer system calls than `write_file`.

    Each file appears complete or not at all; call `sync_folder` after the last one. ^C leaves no temporary file, and
    `sweep` removes those of killed processes.
    """

    def __init__(self, folder: Path, *, secret: bool = False, force: bool = False) -> None:
        self._folder = os.path.join(folder, "")  # noqa: PTH118 - Path objects cost as much as the system calls
        self._mode = 0o600 if secret else 0o666
        self._force = force
        self._token = os.urandom(4).hex()
        with os.scandir(folder) as standing:
            self._was_empty = next(standing, None) is None

    def write(self, name: str, data: bytes) -> bool:
        """Write *data* to the file *name*; return False if it already contains that. Raise InputError."""
        path = self._folder + name
        if not self._force and not self._was_empty and _holds(path, data):
            return False
        temporary = f"{self._folder}.{name[:80]}.{self._token}{_TEMPORARY}"
        try:
            try:
                descriptor = _create(temporary, self._mode)
                try:
                    left = data[os.write(descriptor, data) :]
                    while left:
                        left = left[os.write(descriptor, left) :]
                    if os.name == "posix":
                        put_in_place(temporary, path, self._force)
                finally:
                    os.close(descriptor)
                if os.name != "posix":
                    put_in_place(temporary, path, self._force)
            finally:
                _remove(temporary)
        except OSError as error:
            raise file_error("cannot write this file", error, path) from error
        except BaseException:
            _remove(temporary)  # ^C can also come at the start of the `finally` above
            raise
        return True


def _remove(path: str, *, read_only: bool = False) -> None:
    """Remove a file if it is there; with *read_only* the folder may be one that this process cannot change."""
    with suppress(OSError if read_only else FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def _create(temporary: str, mode: int) -> int:
    """Create a file and lock it, so that `sweep` leaves it alone while this process lives. Return its descriptor."""
    while True:
        descriptor = os.open(temporary, _NEW_FILE, mode)
        _try_lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # a different process swept it before it was locked


def is_temporary(name: str) -> bool:
    """Return whether *name* is that of a file being written, which `sweep` removes if its writer was killed."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in *folder*, those of SQLite included."""
    if sys.platform == "win32":
        return
    for path in folder.glob(f".*{_TEMPORARY}"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # it has gone, or belongs to someone else
            continue
        try:
            # Without a name it was swept by a different process, and the name may be that of a new file by now.
            if _try_lock(descriptor, wait=False) and os.fstat(descriptor).st_nlink:
                _remove_companions(path)
                _remove_temporary(path)
        except PermissionError:  # someone else's folder: they sweep it
            continue
        finally:
            os.close(descriptor)


def _remove_temporary(path: Path) -> None:
    if path.is_dir():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a new folder (0700) beside the path *beside*, on its file system; it is removed with its files.

    `sweep` removes that of a killed process. Raise OSError.
    """
    mine = False
    while not mine:
        folder = beside.with_name(f".{beside.name[:80]}.{os.urandom(8).hex()}{_TEMPORARY}")
        lock = None
        try:
            try:
                folder.mkdir(mode=0o700)
                try:
                    lock = _lock_folder(folder)
                except FileNotFoundError:  # a different process swept it before it was opened
                    continue
                mine = lock is None or os.fstat(lock).st_nlink > 0  # else it was swept before it was locked
                if mine:
                    yield folder
            finally:
                _remove_temporary(folder)
        except BaseException:
            _remove_temporary(folder)  # ^C can also come at the start of the `finally` above
            raise
        finally:
            if lock is not None:
                os.close(lock)


@contextmanager
def memory_file(secret: bytes) -> Iterator[str]:
    """Yield the name of a file with *secret* that only this process can open, for libraries that read only files.

    On Linux it is in memory (memfd_create(2)); elsewhere it is a temporary one with mode 0600, removed at the end.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("rmfab", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, secret)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix=".rmfab-")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secret)
        yield name
    finally:
        Path(name).unlink()


@contextmanager
def writer_in(folder: Path) -> Iterator[None]:
    """Let `oldest_writer` know that this process writes into *folder* until the block ends.

    What killed writers left in the folder is removed. Nothing happens if the folder is not writable.
    """
    sweep(folder)
    name = str(folder / f".writer.{os.urandom(4).hex()}{_TEMPORARY}")
    descriptor = None
    try:
        try:
            with suppress(OSError):  # a full disk or a read-only folder: writing there reports that
                descriptor = _create(name, 0o600)
            yield
        finally:
            _remove(name, read_only=True)
    except BaseException:
        _remove(name, read_only=True)  # ^C can also come at the start of the `finally` above
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def oldest_writer(folder: Path) -> float | None:
    """Return since when, in seconds of Unix time, processes write into *folder*; None if none does.

    Call `sweep` before, or killed processes count.
    """
    starts = []
    for path in folder.glob(f".*{_TEMPORARY}"):
        with suppress(FileNotFoundError):
            starts.append(path.stat().st_mtime)
    return min(starts, default=None)


def _lock_folder(folder: Path) -> int | None:
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    _try_lock(descriptor, wait=True)
    return descriptor


def _remove_companions(path: Path) -> None:
    """Remove the files that SQLite keeps beside a database (sqlite.org/tempfiles.html)."""
    for ending in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _try_lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file; return False if a different process holds the lock or the file system has none."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def put_in_place(temporary: str, path: str, force: bool) -> bool:
    """Give *temporary* the name *path*; return False if *path* already has the same content. Raise OSError.

    The name *temporary* may remain. Raise InputError if *path* has different content, unless *force*.
    """
    if force:
        os.replace(temporary, path)  # noqa: PTH105
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        if not _same(temporary, path):
            raise _different(path) from None
        return False
    except OSError:  # a file system without hard links (exFAT, some network shares)
        if not os.path.exists(path):  # noqa: PTH110
            os.replace(temporary, path)  # noqa: PTH105
            return True
        if not _same(temporary, path):
            raise _different(path) from None
        return False
    return True


def _different(path: str) -> InputError:
    return InputError("already exists with different content", where=path, hint="--force replaces it", cause="exists")


def _holds(path: str, data: bytes) -> bool:
    try:
        if os.stat(path).st_size != len(data):  # noqa: PTH116
            return False
        with open(path, "rb") as stream:  # noqa: PTH123
            return stream.read() == data
    except OSError:
        return False


def _same(left: str, right: str) -> bool:
    with open(left, "rb") as one, open(right, "rb") as other:  # noqa: PTH123
        if os.fstat(one.fileno()).st_size != os.fstat(other.fileno()).st_size:
            return False
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
