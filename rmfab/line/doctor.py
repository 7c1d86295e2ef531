"""Checks of what the line needs on this host, and how to fix what is missing. They judge the facts of `examine`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rmfab.errors import InputError, StationError
from rmfab.line.diagnosis import Diagnosis
from rmfab.line.host_facts import Host, examine_radio
from rmfab.line.port_checks import diagnose_ports
from rmfab.line.radio.factory_network import load_network
from rmfab.line.station import JOINED, NMCLI, Slot, Station
from rmfab.product.product import Product
from rmfab.product.vocabulary import Transport

_WITHOUT = "set provision = false in product.toml ([verify])"


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


def note_radio(host: Host) -> Iterator[Diagnosis]:
    """Say which radios there are. Only a product knows whether one is needed."""
    blocked = " (blocked: rfkill unblock bluetooth)" if set(host.adapters) <= set(host.blocked) else ""
    bluetooth = f"Bluetooth adapter {', '.join(host.adapters)}{blocked}" if host.adapters else "no Bluetooth adapter"
    yield Diagnosis(f"{bluetooth}; products that are provisioned over BLE need one, and bleak", True)
    wifi = f"Wi-Fi interface {', '.join(host.wifi)}" if host.wifi else "no Wi-Fi interface"
    yield Diagnosis(f"{wifi}; products that are provisioned over SoftAP need one", True)


def refuse_without_radio(station: Station, product: Product, slots: Sequence[Slot]) -> None:
    """Raise StationError if this host lacks what reaches the running units on *slots*, before any of them is touched.

    What only an attempt shows, such as a Bluetooth daemon that does not answer, is the error of each unit.
    """
    if all(slot.unit for slot in slots):
        return
    missing = [one for one in _radio(examine_radio(), station, product) if not one.good]
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
