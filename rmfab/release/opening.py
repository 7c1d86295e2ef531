"""Opening a release of any kind by its path: a build folder or a bundle file."""

from __future__ import annotations

from pathlib import Path

from rmfab.release.build_folder import read_build_folder
from rmfab.release.bundle import Bundle, open_bundle_file
from rmfab.release.release import Release


def open_unparsed(path: Path) -> Bundle | Release:
    """Return the bundle in a file, not parsed yet, or the release of an ESP-IDF build folder.

    Raise InputError if *path* is neither or the folder cannot be used, IntegrityError if a bundle was altered.
    """
    return read_build_folder(path) if path.is_dir() else open_bundle_file(path)


def open_release(path: Path) -> Release:
    """Return the release in a bundle file or a build folder, without judging signatures.

    Raise as `open_unparsed` does.
    """
    there = open_unparsed(path)
    return there if isinstance(there, Release) else there.release()
