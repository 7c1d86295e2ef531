"""Checks of what the line needs on this host, and how to fix what is missing. They judge the facts of `examine`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.board.port import absent_ports, plugged_in
from rmfab.errors import InputError, RmfabError, StationError
from rmfab.line.radio.factory_network import load_network
from rmfab.line.station import JOINED, NMCLI, Slot, Station
from rmfab.product.product import Product
from rmfab.product.vocabulary import Transport

_SYSTEM_BUS = Path("/run/dbus/system_bus_socket")
_BLUETOOTH = Path("/sys/class/bluetooth")
_NETWORKS = Path("/sys/class/net")
_GRABBERS = ("ModemManager", "brltty")
_WITHOUT = "set provision = false in product.toml ([verify])"


@dataclass(frozen=True)
class Host:
    """Facts of this host: its USB serial *ports* with whether each opens, its tools, its Bluetooth *adapters*, those
    that are *blocked* (rfkill), its *wifi* interfaces, and the ports of slots that are *absent*."""

    platform: str
    ports: tuple[tuple[str, bool], ...]
    grabbers: tuple[str, ...]
    bleak: bool
    system_bus: bool
    adapters: tuple[str, ...]
    nmcli: bool
    blocked: tuple[str, ...] = ()
    wifi: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check: *good*, or what is wrong with a *hint* how to fix it.

    *error*: the exception that the check met, if it met one.
    """

    what: str
    good: bool
    hint: str = ""
    error: RmfabError | None = None


def examine(station: Station) -> Host:
    """Gather the facts of this host, *station*, without opening a port."""
    found = plugged_in()
    ports = tuple((port.address, os.access(port.device, os.R_OK | os.W_OK)) for port in found)
    absent = absent_ports(slot.link.address for slot in station.slots)
    radio = _examine_radio(ports, tuple(name for name in _GRABBERS if _runs(name)))
    return replace(radio, absent=absent)


def _examine_radio(ports: tuple[tuple[str, bool], ...] = (), grabbers: tuple[str, ...] = ()) -> Host:
    adapters = sorted(_BLUETOOTH.iterdir()) if _BLUETOOTH.is_dir() else []
    return Host(
        platform=sys.platform,
        ports=ports,
        grabbers=grabbers,
        bleak=importlib.util.find_spec("bleak") is not None,
        system_bus=_SYSTEM_BUS.exists() or "DBUS_SYSTEM_BUS_ADDRESS" in os.environ,
        adapters=tuple(path.name for path in adapters if ":" not in path.name),  # hci0:12 is a connection
        nmcli=shutil.which(NMCLI) is not None,
        blocked=tuple(path.name for path in adapters if _is_blocked(path)),
        wifi=tuple(sorted(path.parent.name for path in _NETWORKS.glob("*/phy80211"))),
    )


def _is_blocked(adapter: Path) -> bool:
    """Return whether rfkill blocks *adapter*. Source: Linux, Documentation/ABI/stable/sysfs-class-rfkill."""
    try:
        states = (*adapter.glob("rfkill*/soft"), *adapter.glob("rfkill*/hard"))
        return any(state.read_text().strip() == "1" for state in states)
    except OSError:
        return False


def _runs(name: str) -> bool:
    processes = Path("/proc")
    if not processes.is_dir():
        return False
    for entry in processes.iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "comm").read_text(encoding="utf-8", errors="replace").strip() == name[:15]:
                    return True
            except OSError:
                continue
    return False


def diagnose(host: Host, station: Station, product: Product) -> Iterator[Diagnosis]:
    """Yield the results of the checks of *host* for *product*."""
    yield from diagnose_ports(host, station)
    if not product.verify.provision:
        yield Diagnosis("provisioning checks are off in product.toml", True)
        return
    if product.verify.join:
        yield from _network(station)
    if station.slots and all(slot.unit for slot in station.slots):
        yield Diagnosis("no radio needed: every slot has the URL of its unit", True)
        return
    radio = list(_radio(host, station, product))
    missing = [one for one in radio if not one.good]
    for one in radio:
        yield replace(one, hint=f"{one.hint}; or {_WITHOUT}") if missing and one is missing[-1] else one


def refuse_without_radio(station: Station, product: Product, slots: Sequence[Slot]) -> None:
    """Raise StationError if this host lacks what reaches the running units on *slots*, before any of them is touched.

    What only an attempt shows, such as a Bluetooth daemon that does not answer, is the error of each unit.
    """
    if all(slot.unit for slot in slots):
        return
    missing = [one for one in _radio(_examine_radio(), station, product) if not one.good]
    if missing:
        over_ble = product.provisioning.transport is Transport.BLE
        way, cause = ("Bluetooth", "no-bluetooth") if over_ble else ("Wi-Fi", "wifi")
        otherwise = f"or pass --unit-url, or {_WITHOUT}"
        raise StationError(
            f"this host cannot reach units over {way}",
            hint="; ".join([*(f"{one.hint} (missing: {one.what})" for one in missing), otherwise]),
            cause=cause,
        )


def _radio(host: Host, station: Station, product: Product) -> Iterator[Diagnosis]:
    if product.provisioning.transport is Transport.BLE:
        yield from _bluetooth(host, station)
    else:
        yield from _softap(host, station)


def _network(station: Station) -> Iterator[Diagnosis]:
    """Check the file of the network that units join; without a file, the terminal prompts for it."""
    path = station.radio.network
    if path is None:
        yield Diagnosis("no file for the factory network: each run prompts for it", True)
        return
    try:
        load_network(path)
    except InputError as error:
        yield Diagnosis(f"the factory network: {error}", False, error.hint or "write a file with ssid and passphrase")
    else:
        yield Diagnosis(f"the factory network in {path}", True)


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
    for address, usable in host.ports:
        yield Diagnosis(
            f"{slots.get(address, '')}{'' if usable else 'no permission for '}port {address}",
            usable,
            "add your user to the group dialout (Debian) or uucp (Arch) and log in again",
        )
    for name in host.grabbers:
        yield Diagnosis(
            f"{name} is running and may grab serial ports",
            False,
            f"stop it (systemctl disable --now {name}) or exclude the ports with a udev rule",
        )


def _bluetooth(host: Host, station: Station) -> Iterator[Diagnosis]:
    yield Diagnosis("bleak (provisioning over BLE)", host.bleak, "pip install '.[ble]' in rmfab's checkout")
    if not host.platform.startswith("linux"):
        yield Diagnosis("Bluetooth: allow this terminal to use it in the system's privacy settings", True)
        return
    yield Diagnosis("system D-Bus", host.system_bus, "install and start dbus and bluez")
    wanted = station.radio.adapter
    found = wanted in host.adapters if wanted else bool(host.adapters)
    what = f"Bluetooth adapter {wanted or ', '.join(host.adapters) or ''}".rstrip()
    usable = {wanted} if wanted else set(host.adapters)
    if found and usable <= set(host.blocked):
        yield Diagnosis(f"{what} that is switched on", False, "rfkill unblock bluetooth, or use the adapter's switch")
        return
    yield Diagnosis(what, found, "plug in an adapter, or set adapter in station.toml ([provisioning])")


def _softap(host: Host, station: Station) -> Iterator[Diagnosis]:
    way = station.radio.softap
    if way == (JOINED,):
        yield Diagnosis("the operator joins units' SoftAPs by hand", True)
        return
    if way != (NMCLI,):
        yield Diagnosis(
            f"{way[0]} (joins units' SoftAPs)",
            shutil.which(way[0]) is not None,
            "install it, or correct softap in station.toml ([provisioning])",
        )
        return
    yield Diagnosis(
        "nmcli (joins units' SoftAPs)",
        host.nmcli,
        'install network-manager, or set softap = "joined" or a command in station.toml ([provisioning])',
    )
    if host.platform.startswith("linux"):
        wanted = station.radio.interface
        yield Diagnosis(
            f"Wi-Fi interface {wanted or ', '.join(host.wifi)}".rstrip(),
            wanted in host.wifi if wanted else bool(host.wifi),
            "plug in a Wi-Fi adapter, or set interface in station.toml ([provisioning])",
        )
