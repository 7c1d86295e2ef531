"""The USB tree of a Linux host, as sysfs shows it: hubs, bridges, and what shares a transaction translator.

Sources: Linux, Documentation/ABI/testing/sysfs-bus-usb; USB 2.0, 11.14 (translators), 9.6.3, 11.23.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rmfab.files import system_text

_HUB_CLASS = "09"
_ONE_PER_PORT = "02"  # bDeviceProtocol of a hub with a translator for each port
_HIGH_SPEED = 480.0
_SELF_POWERED = 0x40  # bmAttributes


@dataclass(frozen=True)
class UsbNode:
    """A USB device: its *ids* such as `10c4:ea60`, its *speed* in Mbit/s, the serial *ports* that it has.

    A hub may have a translator for *each_port*. *supplied*: it has a supply of its own, None if it does not say.
    """

    ids: str
    speed: float
    hub: bool = False
    each_port: bool = False
    supplied: bool | None = None
    ports: tuple[str, ...] = ()


def usb_tree(root: Path) -> dict[str, UsbNode]:
    """Return the USB devices of the host below *root*, by their names in the tree, such as `1-1.4`."""
    devices = root / "sys" / "bus" / "usb" / "devices"
    try:
        names = sorted(path.name for path in devices.iterdir() if ":" not in path.name)
    except OSError:
        return {}
    return {name: _node(devices / name) for name in names}


def node_of(port: str, tree: Mapping[str, UsbNode]) -> str | None:
    """Return the name of the device that has the serial port *port*, such as `ttyUSB0`."""
    return next((name for name, node in tree.items() if port in node.ports), None)


def hubs_above(name: str, tree: Mapping[str, UsbNode]) -> list[str]:
    """Return the hubs between the device *name* and the host, the nearest first, without the host's own."""
    found = []
    while (parent := _parent(name)) in tree and not parent.startswith("usb"):
        found.append(name := parent)
    return found


def shared_wire(name: str, tree: Mapping[str, UsbNode]) -> str | None:
    """Return what carries 12 Mbit/s for the device *name* and its neighbours: a hub, or a port such as `1-1.4`.

    None if the device is faster, or its place is not known.
    """
    if name not in tree or tree[name].speed >= _HIGH_SPEED:
        return None
    while (parent := _parent(name)) in tree:
        if tree[parent].speed >= _HIGH_SPEED:
            return name if tree[parent].each_port or parent.startswith("usb") else parent
        name = parent
    return None


def _parent(name: str) -> str:
    bus, _, rest = name.partition("-")
    above = rest.rpartition(".")[0]
    return f"{bus}-{above}" if above else f"usb{bus}"


def _node(device: Path) -> UsbNode:
    hub = system_text(device / "bDeviceClass") == _HUB_CLASS
    attributes = system_text(device / "bmAttributes")
    return UsbNode(
        ids=f"{system_text(device / 'idVendor')}:{system_text(device / 'idProduct')}",
        speed=_number(system_text(device / "speed")),
        hub=hub,
        each_port=hub and system_text(device / "bDeviceProtocol") == _ONE_PER_PORT,
        supplied=bool(int(attributes, 16) & _SELF_POWERED) if _is_hex(attributes) else None,
        ports=_ports(device),
    )


def _ports(device: Path) -> tuple[str, ...]:
    """Return the serial ports of *device*: usb-serial and cdc-acm have them in different folders."""
    found = {path.name for form in ("*:*/ttyUSB*", "*:*/tty/tty*") for path in device.glob(form)}
    return tuple(sorted(found))


def _number(text: str) -> float:
    try:
        return float(text[:10])
    except ValueError:
        return 0.0


def _is_hex(text: str) -> bool:
    return 0 < len(text) <= 2 and all(letter in "0123456789abcdefABCDEF" for letter in text)
