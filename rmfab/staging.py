"""Files that appear together with the record of them: both or neither.

A file system and a database have no common transaction. The files are written aside and synced; then, inside the
transaction of the record, they get their names, and the transaction is committed. If anything fails, the files are
taken back and the record is rolled back.

Only a process that is killed between the two leaves files without a record, all of them complete. That is the harmless
order, because the same command records them: it finds the files as it would write them. A record without its file would
claim a print that nobody has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rmfab.files import file_error, make_folder, put_in_place, refuse_target, sweep, sync_folder, temporary_folder
from rmfab.signals import undisturbed


@dataclass
class StagedFiles:
    """New files of one folder (mode 0600), in the folder *aside* until `publish`. *force* replaces existing ones."""

    aside: Path
    force: bool
    _targets: list[Path] = field(default_factory=list)
    _put: list[tuple[Path, Path | None]] = field(default_factory=list)
    """What `publish` put in place, each with the file that it replaced, which is aside now."""

    def add(self, target: Path, data: bytes) -> None:
        """Write the content of *target* aside. Raise InputError, StationError if the disk is full."""
        with self.writing(target) as stream:
            stream.write(data)

    @contextmanager
    def writing(self, target: Path) -> Iterator[BinaryIO]:
        """Yield a stream that writes *target* aside. Raise InputError, StationError if the disk is full."""
        refuse_target(target)
        try:
            with os.fdopen(os.open(self._aside(len(self._targets)), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
                yield stream
        except OSError as error:
            raise file_error("cannot write this file", error, str(target)) from error
        self._targets.append(target)

    def publish(self, record: AbstractContextManager[object]) -> None:
        """Put the files in place inside the transaction *record*, which commits at its end.

        If that fails, the files that were there before are there again, and no new ones. ^C waits for the end. Raise
        InputError, StationError, or what *record* raises.
        """
        self._sync()
        with ExitStack() as calm:
            try:
                with record:
                    calm.enter_context(undisturbed())
                    self._put_in_place()
            except BaseException:
                self._take_back()
                raise

    def _aside(self, number: int) -> Path:
        return self.aside / str(number)

    def _sync(self) -> None:
        for number, target in enumerate(self._targets):
            try:
                with self._aside(number).open("rb+") as stream:
                    os.fsync(stream.fileno())
            except OSError as error:
                raise file_error("cannot write this file", error, str(target)) from error

    def _put_in_place(self) -> None:
        for number, target in enumerate(self._targets):
            try:
                replaced = self._keep(target) if self.force else None
                if put_in_place(str(self._aside(number)), str(target), self.force):
                    self._put.append((target, replaced))
            except OSError as error:
                raise file_error("cannot write this file", error, str(target)) from error
        for folder in {target.parent for target in self._targets}:
            try:
                sync_folder(folder)
            except OSError as error:
                raise file_error("cannot write to this folder", error, str(folder)) from error

    def _keep(self, target: Path) -> Path | None:
        """Keep the file that is to be replaced, if there is one; return where."""
        kept = self.aside / f"{len(self._put)}.old"
        try:
            try:
                os.link(target, kept)
            except FileNotFoundError:
                return None
            except OSError:  # a file system without hard links
                shutil.copy2(target, kept)
        except FileNotFoundError:
            return None
        return kept

    def _take_back(self) -> None:
        for target, replaced in reversed(self._put):
            with suppress(OSError):
                if replaced is None:
                    target.unlink()
                else:
                    replaced.replace(target)
        self._put.clear()


@contextmanager
def staged_files(target: Path, *, force: bool = False) -> Iterator[StagedFiles]:
    """Yield an empty collection of new files in the folder of *target*; what was not published is discarded.

    What killed processes left in the folder is removed. Raise InputError if *target* is a folder, StationError if the
    disk is full.
    """
    refuse_target(target)
    sweep(target.parent)
    with ExitStack() as stack:
        try:
            aside = stack.enter_context(temporary_folder(target))
        except OSError as error:
            raise file_error("cannot write this file", error, str(target)) from error
        yield StagedFiles(aside, force)


@contextmanager
def folder_of_files(path: Path, *, secret: bool) -> Iterator[Path]:
    """Yield the folder *path*, 0700 if *secret*; if it is new and the block fails, remove it."""
    was_there = path.exists()
    make_folder(path, secret=secret)
    try:
        yield path
    except BaseException:
        if not was_there:
            with suppress(OSError):  # something else is in it by now
                path.rmdir()
        raise
