"""Who may use a device file, and the command that allows it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from rmfab.board.access import DeviceNode, access_hint, device_node, rule_command
from tests.host_tree import HostTree

GROUPS = "root:x:0:\ndialout:x:20:wei\nplugdev:x:46:mia,wei\nbad:x:many:\nshort\n"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (DeviceNode(usable=False, group="dialout"), 'sudo usermod -aG dialout "$USER", then log out and in'),
        (DeviceNode(usable=False, group="plugdev"), 'sudo usermod -aG plugdev "$USER"'),
        (DeviceNode(usable=False, group="dialout", listed=True), "log out and in, or run newgrp dialout"),
        (DeviceNode(usable=False), "a udev rule is missing"),
    ],
)
def test_the_hint(node: DeviceNode, words: str) -> None:
    """The hint names the group of the device file, or the udev rule that is missing, or the login that is too old."""
    assert words in access_hint(node)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (DeviceNode(usable=False), 'GROUP="dialout", MODE="0660"'),
        (DeviceNode(usable=False, serial_group="uucp"), 'GROUP="uucp", MODE="0660"'),
        (DeviceNode(usable=False, group="dialout"), None),
        (DeviceNode(usable=True), None),
    ],
)
def test_the_rule(node: DeviceNode, words: str | None) -> None:
    """The command that adds a udev rule is a line that a shell parses; there is none if no rule is missing."""
    command = rule_command(node)
    assert bool(command) is (words is not None)
    if words is not None:
        (_, rule, *rest) = shlex.split(command)
        assert words in rule
        assert rest[:3] == ["|", "sudo", "tee"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to groups")
@pytest.mark.parametrize(
    ("gid", "mode", "user", "expected"),
    [
        (20, 0o660, "mia", DeviceNode(usable=True, group="dialout")),
        (20, 0o660, "wei", DeviceNode(usable=True, group="dialout", listed=True)),
        (46, 0o660, "mia", DeviceNode(usable=True, group="plugdev", listed=True)),
        (20, 0o600, "mia", DeviceNode(usable=True)),
        (20, 0o640, "mia", DeviceNode(usable=True)),
        (0, 0o660, "mia", DeviceNode(usable=True)),
        (4711, 0o660, "mia", DeviceNode(usable=True)),
    ],
)
def test_the_group_of_a_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gid: int, mode: int, user: str, expected: DeviceNode
) -> None:
    """The group is that of the file, if it may read and write; members are those of the file of groups."""
    host = HostTree(tmp_path)
    host.file("etc/group", GROUPS)
    device = host.file("dev/ttyUSB0")
    os.chown(device, -1, gid)
    device.chmod(mode)
    monkeypatch.setattr("getpass.getuser", lambda: user)
    found = device_node("/dev/ttyUSB0", tmp_path)
    assert (found.group, found.listed) == (expected.group, expected.listed)


def test_hosts_without_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has gone is left to who opens it; without a file of groups or a login name, nothing is known."""
    assert device_node("/dev/ttyUSB9", tmp_path).usable

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nobody)
    HostTree(tmp_path).file("dev/ttyUSB0")
    assert device_node("/dev/ttyUSB0", tmp_path).group is None
    HostTree(tmp_path).file("etc/group", "uucp:x:14:\n")
    assert device_node("/dev/ttyUSB0", tmp_path).serial_group == "uucp"


def test_a_user_without_a_name_is_a_member_of_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group without members does not list a user whose name the host does not know."""

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nobody)
    host = HostTree(tmp_path)
    number = host.file("dev/ttyUSB0").stat().st_gid
    host.file("etc/group", f"dialout:x:{number}:\n")
    assert not device_node("/dev/ttyUSB0", tmp_path).listed
