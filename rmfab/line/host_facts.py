"""What this host has and lacks for the line, read from its files: /sys, /proc, /run, /etc, /dev. No port is opened."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rmfab.board.access import DeviceNode, device_node
from rmfab.board.port import PluggedIn, absent_ports, plugged_in
from rmfab.board.usb_tree import UsbNode, node_of, usb_tree
from rmfab.files import system_text
from rmfab.line.station import NMCLI, Station

ROOT = Path("/")
"""The folder in which the files of this host are; tests build a host of their own in one."""
GRABBERS = ("ModemManager", "brltty")
"""Programs that open new serial ports: one looks for modems, the other for Braille displays."""
_USABLE = DeviceNode(usable=True)
_IGNORED = ("E:ID_MM_DEVICE_IGNORE=1", "E:ID_MM_PORT_IGNORE=1")
"""What udev notes of a port that ModemManager leaves alone: the docs of ModemManager, "Port and device detection"."""


@dataclass(frozen=True)
class HostPort:
    """A USB serial port: its *address*, its device file, its USB ids, its *place* in the USB tree, and its *slot*.

    *ignored*: ModemManager leaves it alone.
    """

    address: str
    node: DeviceNode = _USABLE
    usb: str = ""
    place: str | None = None
    ignored: bool = False
    slot: str | None = None


@dataclass(frozen=True)
class Host:
    """Facts of this host: its USB serial *ports* and the whole USB *tree*, its tools, its Bluetooth *adapters*.

    *grabbers*: programs that run and open new serial ports; *at_boot*: those that do not run now, but start with the
    host. *braille*: brltty is installed. *blocked*: adapters that rfkill blocks. *wifi*: interfaces. *absent*: ports
    of slots that are not there.
    """

    platform: str
    ports: tuple[HostPort, ...]
    grabbers: tuple[str, ...]
    bleak: bool
    system_bus: bool
    adapters: tuple[str, ...]
    nmcli: bool
    blocked: tuple[str, ...] = ()
    wifi: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    at_boot: tuple[str, ...] = ()
    braille: bool = False
    tree: Mapping[str, UsbNode] = field(default_factory=dict)


def examine(station: Station) -> Host:
    """Gather the facts of this host, *station*, without opening a port."""
    root, tree = ROOT, usb_tree(ROOT)
    host = examine_radio()
    grabbers = running(GRABBERS, root)
    return replace(
        host,
        ports=tuple(_port(port, tree, root, station) for port in plugged_in()),
        grabbers=grabbers,
        at_boot=tuple(name for name in GRABBERS if name not in grabbers and _starts_at_boot(name, root)),
        braille=any((root / "usr/lib/udev/rules.d").glob("*brltty*.rules")),
        absent=absent_ports(slot.link.address for slot in station.slots),
        tree=tree,
    )


def examine_radio() -> Host:
    """Gather only the facts of its radios."""
    root = ROOT
    bluetooth = root / "sys/class/bluetooth"
    adapters = sorted(bluetooth.iterdir()) if bluetooth.is_dir() else []
    return Host(
        platform=sys.platform,
        ports=(),
        grabbers=(),
        bleak=importlib.util.find_spec("bleak") is not None,
        system_bus=(root / "run/dbus/system_bus_socket").exists() or "DBUS_SYSTEM_BUS_ADDRESS" in os.environ,
        adapters=tuple(path.name for path in adapters if ":" not in path.name),  # hci0:12 is a connection
        nmcli=shutil.which(NMCLI) is not None,
        blocked=tuple(path.name for path in adapters if _is_blocked(path)),
        wifi=tuple(sorted(path.parent.name for path in (root / "sys/class/net").glob("*/phy80211"))),
    )


def running(names: Iterable[str], root: Path) -> tuple[str, ...]:
    """Return those of *names* that run on the host below *root*. Source: proc(5), `comm` has 15 characters."""
    there = {system_text(entry) for entry in (root / "proc").glob("[0-9]*/comm")}
    return tuple(name for name in names if name[:15] in there)


def _starts_at_boot(name: str, root: Path) -> bool:
    """Return whether systemd starts the service *name*: a folder `….wants` has a link to it (systemd.unit(5))."""
    wants = (root / "etc/systemd/system").glob("*.wants")
    return any((folder / f"{name}.service").is_symlink() for folder in wants)


def _port(port: PluggedIn, tree: Mapping[str, UsbNode], root: Path, station: Station) -> HostPort:
    name = Path(port.device).name
    place = node_of(name, tree)
    numbers = [f"c{system_text(root / 'sys/class/tty' / name / 'dev')}"]
    if place is not None:
        numbers.append(f"c{system_text(root / 'sys/bus/usb/devices' / place / 'dev')}")
    notes = "\n".join(system_text(root / "run/udev/data" / number) for number in numbers if number != "c").splitlines()
    ignored = any(note in notes for note in _IGNORED)
    return HostPort(port.address, device_node(port.device, root), port.usb, place, ignored, station.slot_at(port))


def _is_blocked(adapter: Path) -> bool:
    """Return whether rfkill blocks *adapter*. Source: Linux, Documentation/ABI/stable/sysfs-class-rfkill."""
    states = (*adapter.glob("rfkill*/soft"), *adapter.glob("rfkill*/hard"))
    return any(system_text(state) == "1" for state in states)
