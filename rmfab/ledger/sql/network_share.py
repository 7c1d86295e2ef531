"""The file system of a folder, and whether it is a network share: SQLite's WAL does not work on those.

The index of a WAL is in shared memory, so that all processes must run on one host (sqlite.org/wal.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import LedgerError
from rmfab.files import system_text

MOUNTS = "proc/self/mountinfo"
"""Where a Linux host tells what is mounted."""
_MOUNTS = Path("/", MOUNTS)
_ESCAPED = re.compile(r"\\([0-7]{3})")
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "afs", "ncpfs", "ceph", "fuse.ceph", "lustre", "beegfs", "gpfs"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.rclone", "davfs", "fuse.davfs", "vboxsf"}
)


@dataclass(frozen=True)
class Mount:
    """A mounted file system: its *kind*, such as `ext4`, and its *options*."""

    kind: str
    options: tuple[str, ...] = ()


def is_network(kind: str) -> bool:
    """Return whether a file system of this kind shares files between hosts, but not the memory that WAL needs."""
    return kind in _NETWORK


def mount_of(path: Path, mounts: str) -> Mount | None:
    """Return the file system that contains *path*, None if it is not in *mounts*, the text of mountinfo.

    Source: proc(5), /proc/pid/mountinfo: field 5 is the mount point, 6 its options; kind, source and options of the
    file system follow the field `-`. Of two in one place, the later one covers the earlier one.
    """
    depth, best = 0, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, system = before.split(" "), after.split(" ")
        if len(fields) < 6 or not after:
            continue
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            options = dict.fromkeys((*fields[5].split(","), *system[-1].split(",")))
            depth, best = len(point.parts), Mount(system[0], tuple(options))
    return best


def refuse_network(path: Path) -> None:
    """Raise LedgerError (cause `ledger-network`) if *path* is known to be on a network share."""
    mount = mount_of(path.resolve(), system_text(_MOUNTS))
    if mount is not None and is_network(mount.kind):
        raise LedgerError(
            f"this folder is on a network share ({mount.kind}), which is not safe for SQLite",
            where=str(path),
            hint="move the workspace to a local disk",
            cause="ledger-network",
        )
