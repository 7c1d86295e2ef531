"""Detection of network shares by the file system of a folder: SQLite's WAL does not work on them.

The index of a WAL is in shared memory, so that all processes must run on one host (sqlite.org/wal.html).
"""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import LedgerError

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "afs", "ncpfs", "ceph", "fuse.ceph", "lustre", "beegfs", "gpfs"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.rclone", "davfs", "fuse.davfs", "vboxsf"}
)


def is_network(file_system: str) -> bool:
    """Return whether a file system of this type shares files between hosts, but not the memory that WAL needs."""
    return file_system in _NETWORK


def file_system_of(path: Path, mounts: str) -> str | None:
    """Return the type of the file system that contains *path*, None if it is not in *mounts*, the text of mountinfo.

    Source: proc(5), /proc/pid/mountinfo: field 5 is the mount point, the type follows the field `-`.
    """
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split()
        if "-" not in fields[6:]:
            continue
        point = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if path.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = len(point.parts), fields[fields.index("-", 6) + 1]
    return None if best is None else best[1]


def refuse_network(path: Path) -> None:
    """Raise LedgerError (cause `ledger-network`) if *path* is known to be on a network share."""
    if not _MOUNTS.exists():
        return
    kind = file_system_of(path.resolve(), _MOUNTS.read_text(errors="replace"))
    if kind is not None and is_network(kind):
        raise LedgerError(
            f"this folder is on a network share ({kind}), which is not safe for SQLite",
            where=str(path),
            hint="move the workspace to a local disk",
            cause="ledger-network",
        )
