"""What this host has for the line, and how to mend what is missing. Judges over facts that `examine` gathers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rmfab.board.port import plugged_in
from rmfab.errors import InputError
from rmfab.line.radio.factory_network import load_network
from rmfab.line.station import JOINED, NMCLI, Station
from rmfab.product.product import Product
from rmfab.product.vocabulary import Transport

_SYSTEM_BUS = Path("/run/dbus/system_bus_socket")
_BLUETOOTH = Path("/sys/class/bluetooth")
_GRABBERS = ("ModemManager", "brltty")


@dataclass(frozen=True)
class Host:
    """Facts of this host. *ports* that are plugged in and whether each can be opened; *adapters* of Bluetooth."""

    platform: str
    ports: tuple[tuple[str, bool], ...]
    grabbers: tuple[str, ...]
    bleak: bool
    system_bus: bool
    adapters: tuple[str, ...]
    nmcli: bool


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at: *good*, or what is wrong and how to mend it."""

    what: str
    good: bool
    hint: str = ""


def examine() -> Host:
    """Looks at this host. Opens no port."""
    return Host(
        platform=sys.platform,
        ports=tuple((port.address, os.access(port.device, os.R_OK | os.W_OK)) for port in plugged_in()),
        grabbers=tuple(name for name in _GRABBERS if _runs(name)),
        bleak=importlib.util.find_spec("bleak") is not None,
        system_bus=_SYSTEM_BUS.exists(),
        adapters=tuple(sorted(path.name for path in _BLUETOOTH.iterdir())) if _BLUETOOTH.is_dir() else (),
        nmcli=shutil.which(NMCLI) is not None,
    )


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
    """What the line needs of *host*, for *product*."""
    yield from _ports(host, station)
    if not product.verify.provision:
        yield Diagnosis("provisioning checks are switched off in product.toml", True)
        return
    if product.verify.join:
        yield from _network(station)
    if station.slots and all(slot.unit for slot in station.slots):
        yield Diagnosis("every slot has the URL of its unit: no radio is needed", True)
    elif product.provisioning.transport is Transport.BLE:
        yield from _bluetooth(host, station)
    else:
        yield from _softap(host, station)


def _network(station: Station) -> Iterator[Diagnosis]:
    """The network that units join; without a file it is asked for on the terminal."""
    path = station.radio.network
    if path is None:
        yield Diagnosis("the factory network is asked for at each run: no file is named", True)
        return
    try:
        load_network(path)
    except InputError as error:
        yield Diagnosis(f"the factory network: {error}", False, error.hint or "a file with ssid and passphrase")
    else:
        yield Diagnosis(f"the factory network in {path}", True)


def _ports(host: Host, station: Station) -> Iterator[Diagnosis]:
    remote = bool(station.slots) and all("://" in slot.link.address for slot in station.slots)
    if remote:
        yield Diagnosis("every slot is on the network: no USB port is needed", True)
    elif not host.ports:
        yield Diagnosis("no USB serial port is plugged in", False, "plug a board in; `rmfab board` serves virtual ones")
    for address, usable in host.ports:
        yield Diagnosis(
            f"port {address}" if usable else f"no permission for port {address}",
            usable,
            "add yourself to the group dialout (Debian) or uucp (Arch) and log in again",
        )
    for name in host.grabbers:
        yield Diagnosis(
            f"{name} is running and may grab serial ports",
            False,
            f"stop it (systemctl disable --now {name}), or keep it off by a udev rule",
        )


def _bluetooth(host: Host, station: Station) -> Iterator[Diagnosis]:
    yield Diagnosis("bleak, for provisioning over BLE", host.bleak, "pip install 'rmfab[ble]'")
    if not host.platform.startswith("linux"):
        yield Diagnosis("Bluetooth: let this terminal use it in the system's privacy settings", True)
        return
    yield Diagnosis("the system's D-Bus", host.system_bus, "BlueZ needs D-Bus: install and start dbus and bluez")
    wanted = station.radio.adapter
    found = wanted in host.adapters if wanted else bool(host.adapters)
    what = f"Bluetooth adapter {wanted or ', '.join(host.adapters) or ''}".rstrip()
    yield Diagnosis(what, found, "plug one in, or set adapter in station.toml ([provisioning])")


def _softap(host: Host, station: Station) -> Iterator[Diagnosis]:
    way = station.radio.softap
    if way == (JOINED,):
        yield Diagnosis("this host is joined to its unit's SoftAP by hand", True)
        return
    if way != (NMCLI,):
        yield Diagnosis(
            f"{way[0]}, to join units' SoftAPs",
            shutil.which(way[0]) is not None,
            "station.toml ([provisioning] softap)",
        )
        return
    yield Diagnosis(
        "nmcli, to join units' SoftAPs",
        host.nmcli,
        'install network-manager, or set softap = "joined" or a command in station.toml ([provisioning])',
    )
