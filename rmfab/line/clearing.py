"""The step `reset`: the unit leaves as it will be unpacked, and its identity is untouched.

The factory partition is proven by MD5, `nvs` (and what `[factory] erase` names) erased, and the unit restarted: it must
offer provisioning again under the same name. Never touched: the factory partition, `nvs_key`, `esp_secure_cert`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from rmfab.board.esp.facts import refuse_chip, refuse_security
from rmfab.board.esp.loader import Loader
from rmfab.board.port import swapped
from rmfab.board.restart import Unwired
from rmfab.errors import Fault, InputError
from rmfab.identity.factory_image import factory_image
from rmfab.line.job import Job
from rmfab.line.proving import await_provisioning, bind_known, listen, restart
from rmfab.line.unit import Skipped, Unit
from rmfab.nvs.reader import read
from rmfab.release.partition_table import DataSubtype
from rmfab.release.plan import erased_partitions, factory_partition
from rmfab.release.release import Release

_RESET = "reset-to-factory"
_STATION_KEYS = ("sta.ssid", "sta.pswd")


def reset(unit: Unit) -> dict[str, Any]:
    """Erases what the owner's use would leave, and proves that the unit is as new."""
    if isinstance(unit.slot.link.restart, Unwired):
        raise Skipped("nothing here can bring the board into its loader")
    release = release_of(unit.job)
    loader = _into_loader(unit)
    _untouched(unit, loader, release)
    if unit.job.console_reset:
        erased = _by_console(unit)
        loader = _into_loader(unit)
        _no_station_credentials(loader, release)
    else:
        erased = _by_loader(unit, loader, release)
    digest = _untouched(unit, loader, release)
    await_provisioning(unit)
    return {"erased": erased, "factory": digest}


def _by_loader(unit: Unit, loader: Loader, release: Release) -> list[str]:
    """Erases `nvs` and what `[factory] erase` names; the OTA data stays, since it says which app to boot."""
    rows = [row for row in erased_partitions(release, unit.job.product.factory) if not row.is_data(DataSubtype.OTA)]
    for row in rows:
        unit.keep_going()
        loader.erase(row.offset, row.size)
        if not loader.is_blank(row.offset, row.size):
            raise Fault(f"{row.label} is not blank after its erasure", hint="a bad flash chip", cause="erase-failed")
    return [row.label for row in rows]


def _by_console(unit: Unit) -> list[str]:
    """The firmware's own factory reset, which erases `nvs` and restarts. Never `clear-claim-data`."""
    restart(unit)
    listen(unit, lambda log: bool(log.app_started and log.node_id), unit.job.product.verify.settle)
    if unit.console is None:
        raise ValueError("the console is not open")
    unit.console.send(_RESET)
    await_provisioning(unit, by_itself=True)
    return ["nvs"]


def release_of(job: Job) -> Release:
    """The release whose table says where things lie. Raises InputError where none was given."""
    if job.firmware is None:
        raise InputError("a factory reset needs the release's partition table", hint="--release FILE or build folder")
    return job.firmware.release


def _into_loader(unit: Unit) -> Loader:
    """The board in its loader, with the stub, and still the same board."""
    loader = unit.loader = Loader(unit.port, unit.slot.link)
    facts = loader.connect()
    if unit.facts is not None and unit.facts.mac is not None and facts.mac != unit.mac:
        raise swapped(unit.slot.link.address)
    refuse_security(facts)
    refuse_chip(facts, unit.job.product.chip)
    unit.facts = loader.prepare(unit.keep_going)
    bind_known(unit)
    return loader


def _untouched(unit: Unit, loader: Loader, release: Release) -> str:
    """The MD5 of the factory partition. Raises Fault where it is not the one of the unit's identity."""
    if unit.identity is None:
        raise Fault("this board has no identity in the ledger", hint="`rmfab flash` gives it one", cause="unbound")
    partition = factory_partition(release.table, unit.job.product.factory)
    image = factory_image(unit.identity, unit.job.product)
    expected = hashlib.md5(image, usedforsecurity=False).hexdigest()
    if loader.md5(partition.offset, partition.size) != expected:
        raise Fault(
            "the factory partition is no longer what was flashed",
            hint="run the unit again; where it comes back so, void it",
            cause="factory-changed",
        )
    return expected


def _no_station_credentials(loader: Loader, release: Release) -> None:
    nvs = release.table.required("nvs")
    for entry in read(loader.read(nvs.offset, nvs.size)).entries:
        if entry.key in _STATION_KEYS and isinstance(entry.value, bytes) and entry.value.strip(b"\0\xff"):
            raise Fault("nvs still holds a Wi-Fi network after the factory reset", cause="not-reset")
