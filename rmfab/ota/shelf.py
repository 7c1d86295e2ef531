"""A shelf: a folder of releases that any web server can serve, and that devices load images from.

    images/<SHA-256>.bin   releases/<digest>.json   releases/<SHA-256>.dsse.json   indexes/<SHA-256>.json   latest.json

Files in subfolders are named by their content and never change. `latest.json` contains the newest index and is replaced
last, atomically. A reader at any moment, and a writer after one that was killed at any moment, finds every file that
`latest.json` refers to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import is_temporary, locked, make_folder, output_file, read_input, sweep
from rmfab.ota.compatibility import inspect_update
from rmfab.ota.index import BY_CONTENT, IMAGES, INDEXES, LATEST, RELEASES, Index, Listed
from rmfab.release.parts import APP
from rmfab.release.release import Release

_LOCK = ".lock"
_FOLDERS = (IMAGES, RELEASES, INDEXES)


@dataclass(frozen=True)
class Published:
    """The index in force after a release was published: its SHA-256; the path of the *image*; *changed*: it is new."""

    index: str
    image: str
    changed: bool


def publish(
    folder: Path, release: Release, envelope: bytes | None, channel: str, *, allow_downgrade: bool = False
) -> Published:
    """Put *release*, and the *envelope* around its manifest, on the shelf *folder*, and let *channel* offer it.

    Raise ComplaintsError if no device could load it, InputError if the shelf is damaged, contains a different release
    with this version or seq, or *channel* would go back.
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
    """Return the index in force, or an empty one if nothing was published yet.

    Raise InputError if it is damaged.
    """
    path = folder / LATEST
    if not path.is_symlink() and not path.exists():
        _check_unborn(folder)
        return Index()
    data = read_input(path, "index")
    index = Index.parse(data, str(path))
    kept = folder / INDEXES / f"{index.digest}.json"
    if not kept.exists() or read_input(kept, "index") != data:
        raise InputError(
            f"this index was not published: {kept.name} is not in {INDEXES}/",
            where=str(path),
            hint=f"restore the newest: the one in {INDEXES}/ that no other has as its previous index",
            cause="index",
        )
    return index


def _check_unborn(folder: Path) -> None:
    """Raise InputError if a shelf without latest.json has a history.

    A writer that was killed may have left first indexes, but none with a previous index.
    """
    for path in (folder / INDEXES).glob("*.json"):
        if Index.parse(read_input(path, "index"), str(path)).previous is not None:
            raise InputError(
                f"{LATEST} is missing, but the shelf has a history",
                where=str(folder),
                hint=f"copy the one in {INDEXES}/ that no other has as its previous index to {LATEST}",
                cause="index",
            )


def _check_shelf(folder: Path) -> None:
    """Raise InputError if the folder contains anything else: a web server publishes everything in it."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        inside = sorted(path.iterdir()) if path.name in _FOLDERS and path.is_dir() else [path]
        for one in inside:
            name = one.relative_to(folder).as_posix()
            if not (name in (LATEST, _LOCK) or BY_CONTENT.fullmatch(name) or is_temporary(one.name)):
                raise InputError(
                    f"not only a shelf: it contains {name}, which would be published",
                    where=str(folder),
                    hint="move it out of the folder, or use a separate folder",
                )


def _make_public(folder: Path) -> None:
    for path in (folder, *(folder / name for name in _FOLDERS)):
        if not path.is_dir():
            make_folder(path).chmod(0o755)


def _put(path: Path, data: bytes, *, switch: bool = False) -> None:
    """Write a file that everyone can read. Keep an existing one, unless it is to *switch*."""
    try:
        with output_file(path, force=switch) as stream:
            if os.name == "posix":
                os.fchmod(stream.fileno(), 0o644)
            stream.write(data)
    except InputError as error:
        if error.cause != "exists":
            raise
        hint = "restore the file, which is damaged: published files never change"
        raise InputError(error.what, where=error.where, hint=hint, cause="published") from None


def _sweep(folder: Path) -> None:
    for place in (folder, *(folder / name for name in _FOLDERS)):
        sweep(place)
