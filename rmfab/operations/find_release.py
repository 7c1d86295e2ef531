"""Releases of a workspace by their digest: its bundles, and the build folder beside product.toml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from rmfab.errors import RmfabError
from rmfab.release.opening import open_release
from rmfab.release.release import Release

_BUNDLES = ("*.rmfab", "*/*.rmfab")
_BUILD = "build"


def releases_in(root: Path) -> Callable[[str], Release | None]:
    """Return the function that finds a release below the workspace *root* by its digest, None if it is not there.

    The digest covers everything that the line uses of a release, so its signatures are not judged again. Files that are
    not releases are skipped.
    """

    @cache
    def find(digest: str) -> Release | None:
        return next((one for one in _releases(root) if one.digest == digest), None)

    return find


def _releases(root: Path) -> Iterator[Release]:
    bundles = (path for pattern in _BUNDLES for path in sorted(root.glob(pattern)))
    for path in (root / _BUILD, *bundles):
        try:
            yield open_release(path)
        except (RmfabError, OSError):
            continue
