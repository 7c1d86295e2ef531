"""Whether the disks have room for what a shift writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rmfab.line.diagnosis import Diagnosis

_UNITS = 100
"""Units that must still fit: a shift of a small station."""
_UNIT_BYTES = 1 << 20
"""A unit at most: its console log (twice the 256 KiB that `UnitConsole` keeps, with escapes) and its ledger pages."""
_UNIT_FILES = 4
"""Files of a unit: its log, the temporary one before it, a factory image and its CSV."""
_SCRATCH_BYTES = 64 << 20
"""What commands keep in the temporary folder: a release that is unpacked, a table of names."""


@dataclass(frozen=True)
class Space:
    """The free bytes and free files of the disk with the folder *where*; *files* is None if it has no such limit."""

    where: Path
    free: int
    files: int | None


def measure(folder: Path) -> Space:
    """Return the space that this user may fill on the disk of *folder*. Raise OSError."""
    free = shutil.disk_usage(folder).free
    if os.name != "posix":
        return Space(folder, free, None)
    state = os.statvfs(folder)
    return Space(folder, free, state.f_favail if state.f_files else None)  # btrfs counts no inodes


def diagnose_disks(workspace: Path | None, ledger: Path | None) -> Iterator[Diagnosis]:
    """Diagnose the disks of *workspace*, of the file *ledger* and of temporary files. Raise OSError."""
    size = ledger.stat().st_size if ledger is not None and ledger.exists() else 0
    if workspace is not None:
        # The ledger's WAL grows with it, and a backup is as large.
        yield judge_space(measure(workspace), _UNITS * _UNIT_BYTES + size, _UNITS * _UNIT_FILES)
    if ledger is not None and ledger.parent != workspace:
        yield judge_space(measure(ledger.parent), _UNITS * _UNIT_BYTES + size, _UNITS)
    # A ledger in a read-only folder is read from a copy in the temporary folder.
    yield judge_space(measure(Path(tempfile.gettempdir())), _SCRATCH_BYTES + size, _UNITS)


def judge_space(space: Space, needed: int, files: int) -> Diagnosis:
    """Return whether *space* has *needed* bytes and room for *files* files."""
    if space.free < needed:
        what = f"only {_shown(space.free)} free on the disk of {space.where}; a shift needs {_shown(needed)}"
        return Diagnosis(what, False, "free disk space; `rmfab logs prune` removes old console logs")
    if space.files is not None and space.files < files:
        what = f"only {space.files} more files fit on the disk of {space.where}; a shift needs {files}"
        return Diagnosis(what, False, "remove files (inodes); `rmfab logs prune` removes old console logs")
    return Diagnosis(f"disk of {space.where}: {_shown(space.free)} free", True)


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
