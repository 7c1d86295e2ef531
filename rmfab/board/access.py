"""Whether this user may open the device file of a port, and which command allows it.

A port belongs to a group: dialout on Debian, uucp on Arch, or what a udev rule says. Only the device file knows.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from rmfab.files import system_text
from rmfab.privacy import login_name

ROOT = Path("/")
_GROUPS = ("dialout", "uucp")
_RULE = 'SUBSYSTEM=="tty", SUBSYSTEMS=="usb", GROUP="{}", MODE="0660"'
_RULES = "/etc/udev/rules.d/60-rmfab.rules"


@dataclass(frozen=True)
class DeviceNode:
    """A device file. *usable*: this user may read and write it; *group*: who else may, None if nobody else may.

    *listed*: the file of groups lists this user in *group*. *serial_group*: the group for serial ports of this host.
    """

    usable: bool
    group: str | None = None
    listed: bool = False
    serial_group: str = _GROUPS[0]


def device_node(path: str, root: Path = ROOT) -> DeviceNode:
    """Return the device file *path* below *root*; one that is not there, or not of POSIX, is usable."""
    place = root / path.lstrip("/")
    if os.name != "posix":
        return DeviceNode(usable=True)
    try:
        state = place.stat()
    except OSError:  # it went away, or the name is not a path: opening it reports that
        return DeviceNode(usable=True)
    groups = _groups(root)
    group = next((name for name, (number, _) in groups.items() if number == state.st_gid), None)
    shared = state.st_mode & (stat.S_IRGRP | stat.S_IWGRP) == stat.S_IRGRP | stat.S_IWGRP and group != "root"
    return DeviceNode(
        usable=os.access(place, os.R_OK | os.W_OK),
        group=group if shared else None,
        listed=group is not None and login_name() in groups[group][1],
        serial_group=next((name for name in _GROUPS if name in groups), _GROUPS[0]),
    )


def access_hint(node: DeviceNode) -> str:
    """Return after what this user may use *node*: a command, or a udev rule, which `rule_command` makes."""
    if node.group is None:
        return "no group may use it: a udev rule is missing, `rmfab doctor` prints the command"
    if node.listed:
        return f"you are in the group {node.group} from the next login on: log out and in, or run newgrp {node.group}"
    return f'sudo usermod -aG {node.group} "$USER", then log out and in'


def rule_command(node: DeviceNode) -> str:
    """Return the command that adds the udev rule which *node* lacks, empty if it lacks none."""
    if node.usable or node.group is not None:
        return ""
    rule = _RULE.format(node.serial_group)
    reload = "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tty"
    return f"echo '{rule}' | sudo tee {_RULES} && {reload}"


def _groups(root: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return the groups of group(5) with their numbers and members."""
    rows = [line.split(":") for line in system_text(root / "etc" / "group").splitlines()]
    return {
        row[0]: (int(row[2]), tuple(row[3].split(",")))
        for row in rows
        if len(row) == 4 and row[2].isascii() and row[2].isdecimal() and len(row[2]) < 11
    }
