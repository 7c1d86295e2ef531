"""A share of a processor for the processes of one program: a control group with a quota (cgroups(7)).

Linux, and only for root.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
"""Microseconds, the kernel's default (kernel.org/doc/html/latest/admin-guide/cgroup-v2.html, cpu.max)."""


class CpuGroup:
    """The control group in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, processes: Iterable[int]) -> None:
        """Move *processes* here; those that they start will be here, too."""
        for pid in processes:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                (self._folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove the group as soon as its processes have ended."""
        while (self._folder / "cgroup.procs").read_text():
            time.sleep(0.05)
        self._folder.rmdir()


@contextmanager
def cpu_group(share: float) -> Iterator[CpuGroup]:
    """Yield a group whose processes get *share* of one processor together; they must end before the block does.

    Raise OSError if this host or this user cannot have one.
    """
    unified = (_ROOT / "cgroup.controllers").exists()
    folder = (_ROOT if unified else _ROOT / "cpu") / "rmfab-benchmark"
    if unified:
        (_ROOT / "cgroup.subtree_control").write_text("+cpu")
    folder.mkdir()
    group = CpuGroup(folder)
    try:
        quota = round(_PERIOD * share)
        if unified:
            (folder / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        yield group
    finally:
        group.remove()
