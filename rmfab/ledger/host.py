"""This host, as the ledger knows it: its machine id, and the folder that outlives every workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import StationError
from rmfab.files import home_folder

STATE_ENVIRONMENT = "RMFAB_STATE"
_SYSTEM_STATE = Path("/var/lib/rmfab")
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""machine-id(5): the id of an installation, in the first of these on older systems without systemd in the second."""


@dataclass(frozen=True)
class PoolHost:
    """A host: its *state* folder, and its *machine* id, empty if the system has none."""

    state: Path
    machine: str


def this_host(state: Path | None = None) -> PoolHost:
    """Return this host with the folder *state*, else that of RMFAB_STATE, else /var/lib/rmfab, else the user's.

    /var/lib/rmfab counts if it exists and this user may write to it. The user's is `$XDG_STATE_HOME/rmfab`, by default
    `~/.local/state/rmfab` (XDG Base Directory Specification). Raise StationError if this user has no home.
    """
    return PoolHost(state or state_folder(), _machine_id())


def state_folder() -> Path:
    """Return the folder that outlives every workspace, as `this_host` does. Raise StationError."""
    given = os.environ.get(STATE_ENVIRONMENT)
    if given:
        return Path(given).absolute()
    if os.access(_SYSTEM_STATE, os.W_OK | os.X_OK):
        return _SYSTEM_STATE
    user = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(user):  # noqa: PTH117 - the specification: relative paths are ignored
        return Path(user) / "rmfab"
    home = home_folder()
    if home is None:
        what = "no folder for the state of this host: this user has no home"
        raise StationError(what, hint=f"set {STATE_ENVIRONMENT}", cause="no-state-folder")
    return home / ".local" / "state" / "rmfab"


def _machine_id() -> str:
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError:
            return ""
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.uuid"], capture_output=True, text=True, check=False, timeout=10
        )
        return asked.stdout.strip()
    for path in _MACHINE_IDS:
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
    return ""
