"""Releases by their digest: those in a workspace, and those from which its line flashed units on this host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from rmfab.errors import InputError, RmfabError
from rmfab.files import read_input, write_file
from rmfab.release.opening import open_release
from rmfab.release.release import Release

_BUNDLES = ("*.rmfab", "*/*.rmfab")
_BUILD = "build"
_ELSEWHERE = ".releases"
"""The file in a workspace that names releases elsewhere: their paths on this host, one per line, the last one first."""
_REMEMBERED = 8


def remember_release(root: Path, path: Path) -> None:
    """Note where the release *path* is if it is outside the workspace *root*, so that `releases_in` finds it there."""
    here = str(path.resolve())
    if path.resolve().is_relative_to(root.resolve()) or not here.isprintable():
        return
    lines = [here, *(line for line in _elsewhere(root) if line != here)][:_REMEMBERED]
    with suppress(InputError):  # a workspace that only its owner may write: `reset` asks for the release then
        write_file(root / _ELSEWHERE, "".join(f"{line}\n" for line in lines).encode(), force=True)


def _elsewhere(root: Path) -> list[str]:
    try:
        return read_input(root / _ELSEWHERE).decode().splitlines()[:_REMEMBERED]
    except (RmfabError, UnicodeError):
        return []


def releases_in(root: Path) -> Callable[[str], Release | None]:
    """Return the function that finds a release by its digest, None if it is neither in the workspace *root* nor where
    the line last took one from.

    The digest covers everything that the line uses of a release, so its signatures are not judged again. Files that are
    not releases are skipped.
    """

    @cache
    def find(digest: str) -> Release | None:
        return next((one for one in _releases(root) if one.digest == digest), None)

    return find


def _releases(root: Path) -> Iterator[Release]:
    bundles = (path for pattern in _BUNDLES for path in sorted(root.glob(pattern)))
    for path in (root / _BUILD, *bundles, *map(Path, _elsewhere(root))):
        try:
            yield open_release(path)
        except (RmfabError, OSError):
            continue
