"""Who uses this host, and who may use a file with a secret: only its owner, and whoever that owner hands it to."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from rmfab.errors import InputError


def loose_mode(path: Path) -> int:
    """Return the mode of the file or folder *path* if other users may read or write it; 0 if not, or if it is missing.

    The group of a file that belongs to somebody else does not count: that owner hands it to this user's group, as an
    administrator or a container's secret store does. Devices and pipes have no mode that matters.
    """
    if os.name != "posix":
        return 0
    try:
        state = path.stat()
    except OSError:
        return 0
    if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
        return 0
    bits = stat.S_IROTH | stat.S_IWOTH
    if state.st_uid == os.geteuid():
        bits |= stat.S_IRGRP | stat.S_IWGRP
    return stat.S_IMODE(state.st_mode) if state.st_mode & bits else 0


def hint_to_close(path: Path, mode: str) -> str:
    """Return the hint to give *path* the *mode*: a command for the shell, and who may run it."""
    command = f"chmod {mode} {shlex.quote(str(path))}"
    return command if _is_ours(path) else f"its owner runs: {command}"


def login_name() -> str | None:
    """Return the name under which this user is logged in, None if the host does not know it."""
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError):
        return None


def _is_ours(path: Path) -> bool:
    return os.name != "posix" or os.geteuid() in (0, path.stat().st_uid)


def refuse_loose(path: Path, what: str = "key file") -> None:
    """Raise InputError if other users of this host can read or write the secret in *path*."""
    if loose_mode(path):
        raise InputError(
            f"other users of this host can use this {what}",
            where=str(path),
            hint=hint_to_close(path, "600"),
            cause="key-file-open",
        )


def tighten(path: Path) -> bool:
    """Take all permissions of others from *path*; return False if this user may not, such as on a read-only disk."""
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    except OSError:
        return False
    return True
