"""The files of a build, in a folder or in a zip of one, by the names that the build itself uses.

CI archives often keep only the last part of each path, and builds are copied between machines: a name that is not found
is looked for beside the description of the build too. Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from rmfab.errors import InputError
from rmfab.files import file_error, read_input

MOST_BYTES = 128 << 20
"""The largest flash size of an image header, in bytes; no file of a build is larger."""

PROJECT_MARKS = ("CMakeLists.txt", "platformio.ini")
"""Files in the folder of a firmware's sources, of ESP-IDF and PlatformIO."""

_MOST_ENTRIES = 100_000
_MOST_FOLDERS = 100
_DEPTH = 3
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError)


class BuildFiles(Protocol):
    """The files of one build. *where* is the folder or the zip for messages."""

    where: str

    def place(self, name: str) -> str:
        """Return where the file *name* is, for messages."""

    def names(self) -> list[str]:
        """Return the names of the files beside the description of the build, sorted."""

    def has(self, name: str) -> bool:
        """Return whether the file *name* of the build is there."""

    def read(self, name: str, where: str) -> bytes:
        """Return the bytes of a file. Raise InputError with *where* if it is missing, empty, too large or outside."""


class FolderFiles:
    """The files of the build in *folder*, and those of its project that the build names."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder

    def place(self, name: str) -> str:
        """Return the path of the file *name*."""
        return str(self._folder / name)

    def names(self) -> list[str]:
        """Return the names of the files directly in the folder, sorted."""
        try:
            return sorted(path.name for path in self._folder.iterdir() if path.is_file())
        except OSError as error:
            raise file_error("cannot read this folder", error, self.where) from error

    def has(self, name: str) -> bool:
        """Return whether the file is in the folder or its project."""
        path = self._find(name)
        return path is not None and self._inside(path)

    def read(self, name: str, where: str) -> bytes:
        """Return the bytes of a file. Raise InputError with *where* if it is missing, empty, too large or outside."""
        path = self._find(name)
        if path is None or not self._inside(path):
            raise (
                _missing(name, where)
                if path is None and self._inside(self._folder / _plain(name))
                else _outside(name, where)
            )
        size = path.stat().st_size
        if not 0 < size <= MOST_BYTES:
            raise InputError(f"{name} has {size} bytes", where=where, cause="part-size")
        return read_input(path, "part of the build", most=MOST_BYTES)

    def _find(self, name: str) -> Path | None:
        plain = _plain(name)
        exact, beside = self._folder / plain, self._folder / posixpath.basename(plain)
        try:
            if exact.is_file() and self._inside(exact):
                return exact
            return next((path for path in (beside, exact) if path.is_file()), None)
        except OSError:  # a name that no file can have
            return None

    def _inside(self, path: Path) -> bool:
        """Whether *path*, all links followed, is in the build folder or in the project around it."""
        return path.resolve().is_relative_to(self._root)

    @cached_property
    def _root(self) -> Path:
        """The nearest folder, at most three levels up, that is a project; the build folder itself if none is."""
        folder = self._folder.resolve()
        above = list(folder.parents)[:_DEPTH]
        return next((path for path in above if any((path / mark).is_file() for mark in PROJECT_MARKS)), folder)


class ZipFiles:
    """The files of the build in the folder *root* of a zip."""

    def __init__(self, archive: Archive, root: str = "") -> None:
        self.where = f"{archive.path}: {root}" if root else str(archive.path)
        self._archive = archive
        self._root = root

    def place(self, name: str) -> str:
        """Return the zip and the name of the file in it."""
        return f"{self._archive.path}: {posixpath.join(self._root, name)}"

    def names(self) -> list[str]:
        """Return the names of the files directly in the folder of the build, sorted."""
        return self._archive.folders.get(self._root, [])

    def has(self, name: str) -> bool:
        """Return whether the zip has the file."""
        return self._find(name) is not None

    def read(self, name: str, where: str) -> bytes:
        """Return the bytes of a file. Raise InputError with *where* if it is missing, empty, too large or damaged."""
        entry = self._find(name)
        if entry is None:
            raise _missing(name, where)
        try:
            with zipfile.ZipFile(self._archive.path) as archive, archive.open(self._archive.entries[entry]) as stream:
                data = stream.read(MOST_BYTES + 1)
        except _UNREADABLE as error:
            raise InputError(f"cannot read {name} in the zip: {error}", where=where, cause="zip") from error
        if not 0 < len(data) <= MOST_BYTES:
            raise InputError(f"{name} has {len(data)} bytes or more", where=where, cause="part-size")
        return data

    def _find(self, name: str) -> str | None:
        plain = _plain(name)
        exact = posixpath.normpath(posixpath.join(self._root, plain))
        beside = posixpath.join(self._root, posixpath.basename(plain))
        return next((one for one in (exact, beside) if one in self._archive.entries), None)


@dataclass(frozen=True)
class Archive:
    """The directory of the zip *path*: its *entries* by name, and the names of the files in each of its *folders*."""

    path: Path
    entries: Mapping[str, zipfile.ZipInfo]
    folders: Mapping[str, list[str]]

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Read the directory of a zip. Raise InputError if it is damaged, too large, or has a name twice."""
        entries = _entries(path)
        folders: dict[str, list[str]] = {}
        for name in sorted(entries):
            folders.setdefault(posixpath.dirname(name), []).append(posixpath.basename(name))
        return cls(path, entries, folders)


def builds_below(folder: Path, is_build: Callable[[BuildFiles], bool]) -> list[Path]:
    """Return the folders below *folder*, three levels deep, that *is_build* accepts."""
    found, level = [], [folder]
    for _ in range(_DEPTH):
        level = sorted(path for parent in level for path in _subfolders(parent))
        found += [path for path in level if is_build(FolderFiles(path))]
    return found


def _subfolders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()][:_MOST_FOLDERS]
    except OSError:
        return []


def _entries(path: Path) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except _UNREADABLE as error:
        raise InputError(f"cannot read this zip: {error}", where=str(path), cause="zip") from error
    if len(listed) > _MOST_ENTRIES:
        raise InputError(f"{len(listed)} files are too many for a build", where=str(path), cause="zip")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        name = posixpath.normpath(_plain(entry.filename))
        if entry.is_dir():
            continue
        if name in entries:
            raise InputError(f"the zip has {name} twice", where=str(path), cause="zip")
        entries[name] = entry
    return entries


def _plain(name: str) -> str:
    """Return *name* with the slashes of POSIX: builds on Windows write the other kind."""
    return name.replace("\\", "/").replace("\0", "")


def _missing(name: str, where: str) -> InputError:
    return InputError(
        f"{name} is missing", where=where, hint="run the build again, or copy the whole folder", cause="part-missing"
    )


def _outside(name: str, where: str) -> InputError:
    return InputError(
        f"{name} is outside the build folder and its project",
        where=where,
        hint="copy the file into the build folder",
        cause="path-escape",
    )
