"""The step `reset`: the unit leaves as it will be unpacked, and its identity is untouched.

The factory partition is proven by MD5, `nvs` (and what `[factory] erase` names) erased, and the unit restarted: it must
offer provisioning again under the same name. Never touched: the factory partition, `nvs_key`, `esp_secure_cert`.

Firmware that has closed the ROM's download mode leaves the console only: it erases `nvs` itself, and what it says
before and afterwards is all that can be proven.
"""

from __future__ import annotations

import hashlib
from typing import Any

from rmfab.board.esp.facts import refuse_chip, refuse_security
from rmfab.board.esp.loader import Loader
from rmfab.board.port import swapped
from rmfab.board.restart import Unwired
from rmfab.errors import InputError, UnitFault
from rmfab.identity.factory_image import factory_image
from rmfab.line.boot_judge import judge_node
from rmfab.line.job import Job
from rmfab.line.proving import await_provisioning, bind_known, listen, restart
from rmfab.line.unit import Skipped, Unit
from rmfab.nvs.reader import read_image
from rmfab.product.vocabulary import Credentials
from rmfab.release.partition_table import DataSubtype
from rmfab.release.plan import erased_partitions, factory_partition
from rmfab.release.release import Release
from rmfab.secret import Secret

_RESET = "reset-to-factory"
_STATION_KEYS = ("sta.ssid", "sta.pswd")


def reset(unit: Unit) -> dict[str, Any]:
    """Erases what the owner's use would leave, and proves that the unit is as new."""
    if isinstance(unit.slot.link.restart, Unwired):
        raise Skipped("nothing here can bring the board into its loader")
    release = release_of(unit.job)
    if release.configured.closes_download_mode:
        return _without_loader(unit)
    loader = _into_loader(unit)
    digest = _own_factory(unit, loader, release)
    if unit.job.console_reset:
        erased = _by_console(unit)
        loader = _into_loader(unit)
        _no_station_credentials(loader, release)
    else:
        erased = _by_loader(unit, loader, release)
    _untouched(unit, loader, release, digest)
    unit.holds_network = False
    await_provisioning(unit)
    return {"erased": erased, "factory": digest}


def _without_loader(unit: Unit) -> dict[str, Any]:
    bind_known(unit)
    if unit.identity is None:
        raise UnitFault(
            "which unit this is cannot be read: its firmware has closed the download mode",
            hint="--serial says which one it ought to be",
            cause="unbound",
        )
    erased = _by_console(unit)
    unit.holds_network = False
    return {"erased": erased, "download_mode": "closed"}


def _by_loader(unit: Unit, loader: Loader, release: Release) -> list[str]:
    """Erases `nvs` and what `[factory] erase` names; the OTA data stays, since it says which app to boot."""
    factory = unit.job.product.factory
    rows = [
        row
        for row in erased_partitions(release, factory)
        if not row.is_data(DataSubtype.OTA) and row.label != factory.partition
    ]
    for row in rows:
        unit.keep_going()
        loader.erase(row.offset, row.size)
        if not loader.is_blank(row.offset, row.size):
            raise UnitFault(
                f"{row.label} is not blank after its erasure", hint="a bad flash chip", cause="erase-failed"
            )
    return [row.label for row in rows]


def _by_console(unit: Unit) -> list[str]:
    """The firmware's own factory reset, which erases `nvs` and restarts. Never `clear-claim-data`."""
    restart(unit)
    log = listen(unit, lambda log: bool(log.app_started and log.node_id), unit.job.product.verify.settle)
    if unit.identity is not None and unit.identity.node_id is not None:
        judge_node(log, unit.identity.node_id)  # before anything is erased
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
    unit.facts = facts
    refuse_security(facts)
    refuse_chip(facts, unit.job.product.chip)
    unit.facts = loader.prepare(unit.keep_going)
    bind_known(unit)
    return loader


def _own_factory(unit: Unit, loader: Loader, release: Release) -> str:
    """The MD5 of the factory partition. Raises Fault where it is not the one of the unit's identity.

    A unit that was claimed keeps there what claiming has made: it only has to be the unit's own `random`.
    """
    product, identity = unit.job.product, unit.identity
    if identity is None:
        raise UnitFault("this board has no identity in the ledger", hint="`rmfab flash` gives it one", cause="unbound")
    partition = factory_partition(release.table, product.factory)
    found = loader.md5(partition.offset, partition.size)
    if found == hashlib.md5(factory_image(identity, product), usedforsecurity=False).hexdigest():
        return found
    if product.identity.credentials is Credentials.CLAIM:
        held = read_image(loader.read(partition.offset, partition.size)).value(product.factory.namespace, "random")
        if isinstance(held, bytes) and Secret(held) == identity.random:
            return found
    raise _changed()


def _untouched(unit: Unit, loader: Loader, release: Release, digest: str) -> None:
    """Raises Fault unless the factory partition still has the MD5 *digest*."""
    partition = factory_partition(release.table, unit.job.product.factory)
    if loader.md5(partition.offset, partition.size) != digest:
        raise _changed()


def _changed() -> UnitFault:
    return UnitFault(
        "the factory partition is no longer what was flashed",
        hint="`rmfab run` writes it anew; where it comes back so, void the unit",
        cause="factory-changed",
    )


def _no_station_credentials(loader: Loader, release: Release) -> None:
    nvs = release.table.required("nvs")
    for entry in read_image(loader.read(nvs.offset, nvs.size)).entries:
        if entry.key in _STATION_KEYS and isinstance(entry.value, bytes) and entry.value.strip(b"\0\xff"):
            raise UnitFault("nvs still holds a Wi-Fi network after the factory reset", cause="not-reset")
