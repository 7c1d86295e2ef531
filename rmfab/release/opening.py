"""Opening a release of any kind by its path: a bundle file, a build folder, a zip of one, or a merged image."""

from __future__ import annotations

from pathlib import Path

from rmfab.release.build_folder import ZIP_MAGIC, read_build
from rmfab.release.bundle import Bundle, open_bundle_file
from rmfab.release.merged_image import looks_merged
from rmfab.release.release import Release

_HEAD = 0x2001


def open_unparsed(path: Path) -> Bundle | Release:
    """Return the bundle in a file, not parsed yet, or the release of a build.

    Raise InputError if *path* is neither or the build cannot be used, IntegrityError if a bundle was altered.
    """
    return read_build(path) if is_build_path(path) else open_bundle_file(path)


def open_release(path: Path) -> Release:
    """Return the release in a bundle file or a build, without judging signatures.

    Raise as `open_unparsed` does.
    """
    there = open_unparsed(path)
    return there if isinstance(there, Release) else there.release()


def is_build_path(path: Path) -> bool:
    """Return whether *path* is a folder, a zip, or an image: everything else is read as a bundle."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except (OSError, ValueError):  # reading it as a bundle says why
        return False
    return head.startswith(ZIP_MAGIC) or looks_merged(head)
