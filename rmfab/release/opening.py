"""A release of any kind by its path: the folder of a build, or a bundle file."""

from __future__ import annotations

from pathlib import Path

from rmfab.release.build_folder import read_build_folder
from rmfab.release.bundle import Bundle, open_bundle_file
from rmfab.release.release import Release


def open_unparsed(path: Path) -> Bundle | Release:
    """The bundle in a file, of which nothing is parsed yet, or the release of an ESP-IDF build folder.

    Raises InputError where it is neither or the folder cannot be used, IntegrityError where a bundle was altered.
    """
    return read_build_folder(path) if path.is_dir() else open_bundle_file(path)


def open_release(path: Path) -> Release:
    """The release in a bundle file or a build folder, whoever has signed it. Raises as `open_unparsed` does."""
    there = open_unparsed(path)
    return there if isinstance(there, Release) else there.release()
