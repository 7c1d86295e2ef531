"""Checks of the serial ports of this host: permissions, programs that open them, lost bridges, hubs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from rmfab.board.access import access_hint, rule_command
from rmfab.board.bridges import SAFE_BAUD, known_bridge
from rmfab.board.usb_tree import UsbNode, hubs_above, shared_wire
from rmfab.line.diagnosis import Diagnosis
from rmfab.line.host_facts import Host, HostPort
from rmfab.line.station import Slot, Station

_WIRE_BYTES = 500_000
"""Bytes per second that one transaction translator carries for its serial ports. An estimate: full speed has at most
1,216,000 (USB 2.0, table 5-9), and split transactions and answers take the rest."""
_BITS_PER_BYTE = 10
_NATIVE_BAUD = 3_000_000
"""What a chip's own USB is counted as: it has no baud, and is written as fast as its flash allows."""
_DRIVERS = {"CH340": "ch341", "CH343": "cdc_acm", "FTDI": "ftdi_sio"}
_NATIVE = "303a:"
_SHOWN = 3


def diagnose_ports(host: Host, station: Station) -> Iterator[Diagnosis]:
    """Yield the results of the checks of *host* that do not depend on the product."""
    remote = bool(station.slots) and all("://" in slot.link.address for slot in station.slots)
    if remote:
        yield Diagnosis("no USB port needed: every slot is on the network", True)
    elif not host.ports and not station.slots:
        yield Diagnosis("no USB serial port found", False, "plug in a board, or use a virtual one (`rmfab board`)")
    slots = {slot.link.address: f"slot {slot.name}: " for slot in station.slots}
    for address in host.absent:
        yield Diagnosis(
            f"{slots[address]}nothing is plugged in at {address}",
            False,
            "plug in its board, or correct its port in station.toml; `rmfab ports` lists the ports that are there",
        )
    for port in host.ports:
        usable = port.node.usable
        what = f"{_of_slot(port)}{'' if usable else 'no permission for '}port {port.address}"
        rule = rule_command(port.node)
        hint = "no group may use it: add a udev rule, then plug it in again" if rule else access_hint(port.node)
        yield Diagnosis(what, usable, "" if usable else hint, command=rule)
    yield from _lost_bridges(host)
    yield from _grabbers(host)
    yield from _hubs(host, station)


def _lost_bridges(host: Host) -> Iterator[Diagnosis]:
    """Report USB bridges without a serial port: a driver is missing, or brltty has taken them."""
    for place, node in host.tree.items():
        bridge = known_bridge(node.ids)
        if bridge is None or node.ports or node.ids.startswith(_NATIVE):
            continue
        driver = _DRIVERS.get(bridge.name, "cp210x")
        load = f"sudo modprobe {driver} (Ubuntu has it in linux-modules-extra-$(uname -r))"
        if host.braille or "brltty" in host.grabbers:
            load = f"sudo apt-get remove brltty, then plug it in again; or {load}"
        yield Diagnosis(f"the {bridge.name} at USB {place} has no serial port", False, load)


def _grabbers(host: Host) -> Iterator[Diagnosis]:
    for name in host.grabbers:
        at_risk = [port for port in host.ports if name != "ModemManager" or not port.ignored]
        if host.ports and not at_risk:
            yield Diagnosis(f"{name} is running and ignores these ports", True)
            continue
        which = f" such as {at_risk[0].address}" if at_risk else ""
        what = f"{name} is running and may grab serial ports{which}"
        if name == "ModemManager":
            stop = f"sudo systemctl disable --now {name}; if this PC needs it, exclude the ports and plug them in again"
            yield Diagnosis(what, False, stop, command=_exclusion(at_risk))
        else:
            yield Diagnosis(what, False, f"sudo systemctl disable --now {name}, or sudo apt-get remove {name}")
    for name in host.at_boot:
        yield Diagnosis(f"{name} is off, but starts with this PC", False, f"sudo systemctl disable {name}")


def _exclusion(ports: list[HostPort]) -> str:
    """Return the command that lets ModemManager ignore *ports*, by a udev rule for their vendors."""
    vendors = "|".join(sorted({port.usb.partition(":")[0] for port in ports if port.usb}))
    rule = f'ATTRS{{idVendor}}=="{vendors}", ENV{{ID_MM_DEVICE_IGNORE}}="1"'
    file = "/etc/udev/rules.d/61-rmfab-modemmanager.rules"
    return f"echo '{rule}' | sudo tee {file} && sudo udevadm control --reload" if vendors else ""


def _hubs(host: Host, station: Station) -> Iterator[Diagnosis]:
    """Report slots that wait for each other behind one hub, and hubs without a supply. Without slots, each port is one.

    A port that is not there has no place.
    """
    slots = {slot.name: slot for slot in station.slots}
    ports = [port for port in host.ports if port.place is not None and (port.slot is not None or not slots)]
    wires: dict[str, list[HostPort]] = defaultdict(list)
    hubs: dict[str, list[HostPort]] = defaultdict(list)
    for port in ports:
        wire = shared_wire(port.place or "", host.tree)
        if wire is not None:
            wires[wire].append(port)
        for hub in hubs_above(port.place or "", host.tree):
            hubs[hub].append(port)
    for wire, users in wires.items():
        yield from _shared(wire, users, slots)
    for hub, users in hubs.items():
        yield from _supply(hub, users, host.tree)


def _shared(wire: str, users: list[HostPort], slots: Mapping[str, Slot]) -> Iterator[Diagnosis]:
    wanted = sum(_most_baud(port, slots.get(port.slot or "")) for port in users)
    if len(users) > 1 and wanted / _BITS_PER_BYTE > _WIRE_BYTES:
        yield Diagnosis(
            f"{_listed(users)} share 12 Mbit/s behind USB {wire}, and may want {wanted} baud together: "
            "they wait for each other",
            False,
            "plug them into ports of the PC, or into a hub with a transaction translator per port (multi-TT); "
            "lsusb -t shows the tree",
        )


def _supply(hub: str, users: list[HostPort], tree: Mapping[str, UsbNode]) -> Iterator[Diagnosis]:
    if len(users) > 1 and tree[hub].supplied is False:
        what = f"the hub at USB {hub} has no supply of its own: {_listed(users)} share 500 mA"
        yield Diagnosis(what, False, "use a hub with its own power supply: boards brown out when their radio starts")


def _most_baud(port: HostPort, slot: Slot | None) -> int:
    """Return the fastest baud that the line may use on *port*."""
    if port.usb.startswith(_NATIVE):
        return _NATIVE_BAUD
    if slot is not None and slot.link.baud is not None:
        return slot.link.baud
    bridge = known_bridge(port.usb)
    return SAFE_BAUD if bridge is None else bridge.rates[-1]


def _of_slot(port: HostPort) -> str:
    return "" if port.slot is None else f"slot {port.slot}: "


def _listed(ports: list[HostPort]) -> str:
    shown = ", ".join(port.address if port.slot is None else f"slot {port.slot}" for port in ports[:_SHOWN])
    return shown if len(ports) <= _SHOWN else f"{shown} and {len(ports) - _SHOWN} more"
