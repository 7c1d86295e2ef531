"""The USB tree, read from a folder that looks as sysfs does."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.board.usb_tree import hubs_above, node_of, shared_wire, usb_tree
from tests.host_tree import usb_host


def test_devices_and_their_ports(tmp_path: Path) -> None:
    """A device has its ids, its speed and its serial ports, of usb-serial and of cdc-acm; interfaces are no devices."""
    host = usb_host(tmp_path)
    host.usb("1-1.1", "10c4:ea60", tty="ttyUSB0")
    host.usb("1-1.2", "1a86:55d3", tty="ttyACM3")
    tree = usb_tree(tmp_path)
    assert sorted(tree) == ["1-1", "1-1.1", "1-1.2", "usb1"]
    assert (tree["1-1.1"].ids, tree["1-1.1"].speed, tree["1-1.1"].ports) == ("10c4:ea60", 12.0, ("ttyUSB0",))
    assert [node_of(port, tree) for port in ("ttyUSB0", "ttyACM3", "ttyS0")] == ["1-1.1", "1-1.2", None]
    assert (tree["1-1"].hub, tree["1-1"].supplied, tree["1-1.1"].supplied) == (True, True, False)


def test_nothing_there(tmp_path: Path) -> None:
    """A host without sysfs has no tree; a file that cannot be understood is as if it were not there."""
    assert usb_tree(tmp_path) == {}
    host = usb_host(tmp_path)
    host.usb("2-1", speed="fast", bmAttributes="zz", idVendor="\udcff".encode("utf-8", "ignore").decode() or "?")
    node = usb_tree(tmp_path)["2-1"]
    assert (node.speed, node.supplied) == (0.0, None)
    assert shared_wire("2-1", usb_tree(tmp_path)) is None


@pytest.mark.parametrize(
    ("name", "wire", "hubs"),
    [
        ("1-1.1", "1-1", ["1-1"]),  # a hub with one translator
        ("1-2", "1-2", []),  # a port of the PC
        ("1-3.1", "1-3.1", ["1-3"]),  # a hub with one translator per port
        ("1-1.4.2", "1-1", ["1-1.4", "1-1"]),  # a full-speed hub behind the first one
        ("1-3.4.2", "1-3.4", ["1-3.4", "1-3"]),  # a full-speed hub on a port of the third one
        ("1-5", None, []),  # a high-speed device
        ("9-9", None, []),  # one that has gone
    ],
)
def test_what_shares_a_wire(tmp_path: Path, name: str, wire: str | None, hubs: list[str]) -> None:
    """Full-speed devices share the translator of the nearest fast hub: of all its ports, or of theirs."""
    host = usb_host(tmp_path)
    host.hub("1-3", protocol="02")
    host.hub("1-1.4", speed="12", protocol="00")
    host.hub("1-3.4", speed="12", protocol="00")
    for one in ("1-1.1", "1-2", "1-3.1", "1-1.4.2", "1-3.4.2"):
        host.usb(one)
    host.usb("1-5", speed="480")
    tree = usb_tree(tmp_path)
    assert shared_wire(name, tree) == wire
    assert hubs_above(name, tree) == hubs
