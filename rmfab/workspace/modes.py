"""The files and folders of a workspace that only their owner may use, and what to do if others may.

Private keys are refused when they are loaded (`refuse_loose`): whoever could read one may have it, and only its owner
can decide whether to replace it. What rmfab made private and is sealed, or of use only together with the ledger, gets
its mode back with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rmfab.ledger.sql.sqlite_file import is_ledger
from rmfab.privacy import loose_mode, tighten

_FOLDERS = ("keys", "ca", "logs", "spool")
_FILES = ("keys/unique.key", "lease.macs", "lease.stop")
_COMPANIONS = ("", "-wal", "-shm", "-journal")
_PRIVATE_KEYS = ("keys/*.key", "ca/*.key")


def loose_files(root: Path, ledger: Path | str) -> Iterator[Path]:
    """Yield what `mend_modes` changes in the workspace *root* with *ledger*, the path or URL of its ledger."""
    yield from (path for name in (*_FOLDERS, *_FILES) if loose_mode(path := root / name))
    yield from _loose_ledger(root / "lease.db")
    if "://" not in str(ledger):
        yield from _loose_ledger(Path(ledger))


def _loose_ledger(path: Path) -> Iterator[Path]:
    """Yield the files of the ledger in *path* that others may use; none if a mistyped name made a ledger of it."""
    loose = [file for ending in _COMPANIONS if loose_mode(file := Path(f"{path}{ending}"))]
    if loose and is_ledger(path):
        yield from loose


def loose_keys(root: Path) -> Iterator[Path]:
    """Yield the private keys in the workspace *root* that are refused because others may use them."""
    for pattern in _PRIVATE_KEYS:
        yield from (path for path in sorted(root.glob(pattern)) if path.name != "unique.key" and loose_mode(path))


def mend_modes(root: Path, ledger: Path | str) -> Iterator[tuple[str, str | None]]:
    """Take the permissions of others from what only the owner may use; yield a message and a hint for each."""
    for path in loose_files(root, ledger):
        before = loose_mode(path)
        what = f"others could use {path} (mode {before & 0o777:o})"
        if tighten(path):
            yield f"{what}; only its owner can now", None
        else:
            yield what.replace("could", "can"), f"its owner runs: chmod go-rwx {path}"
