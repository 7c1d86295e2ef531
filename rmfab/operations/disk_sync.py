"""Whether what is written survives a power cut: the file system of the ledger, and how long its fsync takes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from rmfab.files import system_text
from rmfab.ledger.sql.network_share import MOUNTS, Mount, is_network, mount_of
from rmfab.line.diagnosis import Diagnosis

_TRIES = 5
_SLOW_SECONDS = 0.1
_MEMORY = ("tmpfs", "ramfs")
_SHARED_WITH_HOST = "9p"
"""Folders of the host, in WSL and in virtual machines. They are reported, and not refused as shares are."""
_WITHOUT_BARRIERS = ("nobarrier", "barrier=0")  # mount(8), ext4 and xfs


def fsync_seconds(folder: Path, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how long a write of one page and its fsync take in *folder*; the file has no name. Raise OSError."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as stream:
        for _ in range(_TRIES):
            before = clock()
            stream.write(bytes(4096))
            stream.flush()
            os.fsync(stream.fileno())
            taken.append(clock() - before)
    return median(taken)


def diagnose_sync(folder: Path, root: Path, clock: Callable[[], float] = time.perf_counter) -> Iterator[Diagnosis]:
    """Diagnose the disk of *folder*, where the ledger is. A folder that this user cannot write to is skipped."""
    if not os.access(folder, os.W_OK | os.X_OK):  # reported with the permissions
        return
    mount = mount_of(folder.resolve(), system_text(root / MOUNTS))
    if mount is not None:
        yield from judge_mount(folder, mount)
    if "eatmydata" in os.environ.get("LD_PRELOAD", ""):
        yield Diagnosis("eatmydata switches fsync off: a power cut loses identities", False, "run rmfab without it")
        return
    yield judge_sync(folder, fsync_seconds(folder, clock))


def judge_mount(folder: Path, mount: Mount) -> Iterator[Diagnosis]:
    """Yield what is wrong with keeping a ledger in *folder* on the file system *mount*."""
    if mount.kind in _MEMORY:
        what = f"{folder} is in memory ({mount.kind}): a power cut loses the ledger"
        yield Diagnosis(what, False, "move the workspace to a disk")
    elif is_network(mount.kind) or mount.kind == _SHARED_WITH_HOST:
        what = f"{folder} is on a network file system ({mount.kind}), whose locks cannot be trusted"
        yield Diagnosis(what, False, "move it to a disk of this PC; stations share a ledger on PostgreSQL")
    for option in _WITHOUT_BARRIERS:
        if option in mount.options:
            what = f"the disk of {folder} is mounted with {option}: a power cut can lose what was confirmed"
            yield Diagnosis(what, False, f"remove {option} from its line in /etc/fstab, and restart the PC")


def judge_sync(folder: Path, seconds: float) -> Diagnosis:
    """Return whether an fsync in *seconds* is fast enough: each claim and each event waits for one."""
    what = f"fsync on the disk of {folder} takes {1000 * seconds:.1f} ms"
    return Diagnosis(what, seconds <= _SLOW_SECONDS, "keep the workspace on an SSD; every event waits for it")
