"""A shelf: a folder of releases that any web server can serve, and devices load images from.

    images/<SHA-256>.bin   releases/<digest>.json   releases/<SHA-256>.dsse.json   indexes/<SHA-256>.json   latest.json

Whatever lies in a folder is named by its content and never changes; `latest.json` holds the bytes of the newest index
and is switched last, in one step. A reader at any moment, and whoever comes after a writer that was killed at any
moment, finds all that the `latest.json` before or after it names.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import locked, make_folder, output_file, read_input
from rmfab.ota.compatibility import inspect_update
from rmfab.ota.index import IMAGES, INDEXES, LATEST, RELEASES, Index, Listed
from rmfab.release.parts import APP
from rmfab.release.release import Release

_LOCK = ".lock"


@dataclass(frozen=True)
class Published:
    """The index in force after a release was published: its SHA-256; where the *image* lies; *changed*: it is new."""

    index: str
    image: str
    changed: bool


def publish(
    folder: Path, release: Release, envelope: bytes | None, channel: str, *, allow_downgrade: bool = False
) -> Published:
    """Puts *release*, and the *envelope* around its manifest, on the shelf *folder*, where *channel* offers it.

    Raises ComplaintsError where no device could take it, InputError where the shelf is damaged, holds another release
    of this version or seq, or *channel* would go back.
    """
    complaints = inspect_update(release, None)
    if complaints:
        raise ComplaintsError(complaints)
    listed = Listed.of(release, envelope)
    _check_shelf(folder)
    _make_public(folder)
    with locked(folder / _LOCK):
        index = read_index(folder)
        following = index.with_release(listed, channel, allow_downgrade=allow_downgrade)
        _sweep(folder)
        _put(folder / listed.image, release.part(APP).data)
        _put(folder / listed.manifest, release.manifest)
        if envelope is not None and listed.envelope is not None:
            _put(folder / listed.envelope, envelope)
        if following is not index:
            _put(folder / INDEXES / f"{following.digest}.json", following.encode())
            _put(folder / LATEST, following.encode(), switch=True)
    return Published(following.digest, listed.image, following is not index)


def read_index(folder: Path) -> Index:
    """The index in force, one without releases where nothing was published yet. Raises InputError for a damaged one."""
    path = folder / LATEST
    if not path.is_symlink() and not path.exists():
        _check_unborn(folder)
        return Index()
    data = read_input(path, "index")
    index = Index.parse(data, str(path))
    kept = folder / INDEXES / f"{index.digest}.json"
    if not kept.exists() or read_input(kept, "index") != data:
        raise InputError(
            f"this index was never published: {kept.name} is not in {INDEXES}/",
            where=str(path),
            hint=f"copy the one back that was: one in {INDEXES}/ that no other names as the one before",
            cause="index",
        )
    return index


def _check_unborn(folder: Path) -> None:
    """Without latest.json there may be first indexes, of a writer that was killed, but none that follows another."""
    for path in (folder / INDEXES).glob("*.json"):
        if Index.parse(read_input(path, "index"), str(path)).previous is not None:
            raise InputError(
                f"{LATEST} is gone, and the shelf has a history",
                where=str(folder),
                hint=f"copy the one in {INDEXES}/ that no other names as the one before to {LATEST}",
                cause="index",
            )


def _check_shelf(folder: Path) -> None:
    """Raises InputError for a folder with something else in it: what lies on a shelf is for everybody to read."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there and not there & {LATEST, IMAGES, RELEASES, INDEXES, _LOCK}:
        raise InputError(
            f"this folder is no shelf: {min(there)} lies in it", where=str(folder), hint="name a folder of its own"
        )


def _make_public(folder: Path) -> None:
    for path in (folder, *(folder / name for name in (IMAGES, RELEASES, INDEXES))):
        if not path.is_dir():
            make_folder(path).chmod(0o755)


def _put(path: Path, data: bytes, *, switch: bool = False) -> None:
    """Writes a file for everybody to read; one that is there is left alone, unless it is to *switch*."""
    try:
        with output_file(path, force=switch) as stream:
            if os.name == "posix":
                os.fchmod(stream.fileno(), 0o644)
            stream.write(data)
    except InputError as error:
        if error.cause != "exists":
            raise
        hint = "it is damaged: what is published never changes"
        raise InputError(error.what, where=error.where, hint=hint, cause="published") from None


def _sweep(folder: Path) -> None:
    """Removes what writers that were killed left behind; there is no other writer while the lock is held."""
    if sys.platform == "win32":
        return
    for place in (folder, *(folder / name for name in (IMAGES, RELEASES, INDEXES))):
        for path in place.glob(".*.tmp"):
            if path.is_file():
                path.unlink(missing_ok=True)
