"""The steps in the loader: detect, claim, flash, readback.

Each returns its measurements, or raises why it did not pass.
"""

from __future__ import annotations

import hashlib
from typing import Any

from rmfab.board.esp.facts import (
    CLOSED,
    BoardFacts,
    BoardRefused,
    predict_secure_boot,
    refuse_chip,
    refuse_release,
    refuse_security,
    refuse_unsigned_images,
)
from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import Region, blank_md5, compress
from rmfab.board.port import swapped
from rmfab.board.restart import Unwired
from rmfab.errors import InputError, PortError, UnitFault
from rmfab.identity.factory_image import factory_image
from rmfab.ledger.claims import Carried
from rmfab.ledger.events import timestamp
from rmfab.line.events import Step, StepProgress
from rmfab.line.job import PreparedRelease
from rmfab.line.unit import Skipped, Unit
from rmfab.nvs.reader import read_image
from rmfab.release.partition_table import Partition
from rmfab.release.parts import BOOTLOADER, TABLE
from rmfab.release.plan import make_plan

_SECURE_CERT = "esp_secure_cert"
_NO_LOADER = ("boot-mode", "no-answer", "loader-failed")


def detect(unit: Unit) -> dict[str, Any]:
    """Asks the board what it is and refuses what must not be written to, before anything is given to it."""
    if Step.FLASH not in unit.job.steps:
        _skip_without_loader(unit)
    loader = unit.loader = Loader(unit.port, unit.slot.link)
    unit.facts = _connected(unit, loader)
    if unit.facts.security.secure_download and unit.job.serial is not None and Step.FLASH not in unit.job.steps:
        raise _closed(unit)
    refuse_security(unit.facts)
    refuse_chip(unit.facts, unit.job.product.chip)
    found: dict[str, Any] = {}
    if Step.FLASH in unit.job.steps:
        firmware = _firmware(unit)
        refuse_unsigned_images(unit.facts, firmware.release)
        unit.facts = loader.prepare(unit.keep_going)
        refuse_release(unit.facts, firmware.release)
        warning = predict_secure_boot(unit.facts, firmware.release)
        if warning is not None:
            unit.say("warning", warning)
        found["baud"] = loader.baud
        secure_cert = firmware.release.table.find(_SECURE_CERT)
        if secure_cert is not None and not loader.is_blank(secure_cert.offset, secure_cert.size):
            found[_SECURE_CERT] = "not blank"
            unit.say("warning", f"the partition {_SECURE_CERT} of this board is not blank; it is left as it is")
    return found | _described(unit.facts)


def _skip_without_loader(unit: Unit) -> None:
    """Raises Skipped where the unit is to be looked at and cannot be brought into its loader."""
    firmware, serial = unit.job.firmware, unit.job.serial
    if isinstance(unit.slot.link.restart, Unwired):
        raise Skipped("nothing here can bring the board into its loader; --serial says which unit it ought to be")
    if serial is not None and firmware is not None and firmware.release.configured.closes_download_mode:
        raise _closed(unit)


def _closed(unit: Unit) -> Skipped:
    return Skipped(f"its firmware has closed the download mode; it ought to be {unit.job.serial}")


def _connected(unit: Unit, loader: Loader) -> BoardFacts:
    """The board in its loader. A unit whose firmware has switched that off looks like one whose wiring is bad."""
    try:
        return loader.connect()
    except PortError as error:
        firmware = unit.job.firmware
        if error.cause not in _NO_LOADER or firmware is None or not firmware.release.configured.closes_download_mode:
            raise
        hint = f"{CLOSED}; if it is another board: {error.hint}"
        raise PortError(error.what, where=error.where, hint=hint, cause=error.cause) from None


def _described(facts: BoardFacts) -> dict[str, Any]:
    described: dict[str, Any] = {"chip": facts.chip_name, "mac": facts.mac}
    if facts.revision is not None:
        described["revision"] = f"v{facts.revision // 100}.{facts.revision % 100}"
    if facts.flash_size is not None:
        described["flash_size"] = facts.flash_size
    if facts.security.secure_boot_v2:
        described["secure_boot"] = True
        described["secure_boot_digests"] = list(facts.security.secure_boot_digests)
    return described


def claim(unit: Unit) -> dict[str, Any]:
    """Binds an identity to this board, durably, before the first byte is written."""
    job, loader, mac = unit.job, _loader(unit), _mac(unit)
    held = job.ledger.identity_by_mac(mac)
    if held is not None:
        unit.identity = job.open_identity(held)
        unit.image = factory_image(unit.identity, job.product)
    carried = _carried(loader, _factory_partition(unit), unit.image)
    claimed = job.ledger.claim(
        mac,
        product=job.product.name,
        batch=job.batch,
        serial=job.serial,
        station=job.station,
        slot=unit.slot.name,
        ts=timestamp(job.now()),
        carried=carried,
    )
    unit.binding = claimed.identity
    if held is None:
        unit.identity = job.open_identity(claimed.identity)
        unit.image = factory_image(unit.identity, job.product)
    if claimed.other_batch:
        other = claimed.identity
        unit.say("warning", f"this board is {other.serial} of batch {other.batch}; it keeps that identity")
    return {"again": claimed.again, "restored": claimed.restored, "batch": claimed.identity.batch}


def _carried(loader: Loader, partition: Partition, own: bytes | None) -> Carried | None:
    """What the board's factory partition carries; its own image need not be read."""
    digest = loader.md5(partition.offset, partition.size)
    own_digest = hashlib.md5(own, usedforsecurity=False).hexdigest() if own else None
    if digest in (blank_md5(partition.size), own_digest):
        return None
    return carried_by(loader.read(partition.offset, partition.size))


def carried_by(image: bytes) -> Carried | None:
    """Whose identity an NVS image carries, in whatever namespace its firmware kept it; None where it carries none."""
    node_id = random = None
    for entry in read_image(image).entries:
        if entry.key == "node_id" and isinstance(entry.value, (bytes, str)):
            raw = entry.value if isinstance(entry.value, bytes) else entry.value.encode()
            node_id = raw.rstrip(b"\0").decode("utf-8", "replace")
        elif entry.key == "random" and isinstance(entry.value, bytes):
            random = hashlib.sha256(entry.value).hexdigest()
    return Carried(node_id, random) if node_id or random else None


def flash(unit: Unit) -> dict[str, Any]:
    """Writes what differs: the common parts, the blanks, and the whole factory partition last."""
    loader, firmware = _loader(unit), _firmware(unit)
    image = unit.image
    if image is None:
        raise ValueError("flash follows claim")
    unit.measured["release"] = firmware.accepted.named
    plan = make_plan(firmware.release, unit.job.product.factory, image)
    factory = compress(plan.writes[-1].name, plan.writes[-1].offset, image)
    unit.regions = (*firmware.regions, factory)
    unit.erased = tuple((erase.name, erase.offset, erase.size) for erase in plan.erases)
    wanted = _differing(unit, loader, firmware, factory)
    total = sum(region.compressed for region in wanted)
    done = 0
    for region in wanted:
        if region is factory:
            _erase(unit, loader)
        _write(unit, loader, region, done, total)
        done += region.compressed
    if factory not in wanted:
        _erase(unit, loader)
    written = {"written": sum(region.size for region in wanted), "sent": total, "kept": len(unit.proven)}
    return unit.measured | written


def _differing(unit: Unit, loader: Loader, firmware: PreparedRelease, factory: Region) -> list[Region]:
    """The regions that the board does not hold yet. The small ones tell whether asking for the large ones pays."""
    unit.proven.clear()
    by_size = sorted((*firmware.regions, factory), key=lambda region: region.size)
    for region in by_size:
        unit.keep_going()
        if loader.md5(region.offset, region.size) == region.md5:
            unit.proven.add(region.name)
        elif region.name in (BOOTLOADER, TABLE):  # another release or none; otadata changes at the first boot
            break
    return [region for region in unit.regions if region.name not in unit.proven]


def _erase(unit: Unit, loader: Loader) -> None:
    for _, offset, size in unit.erased:
        unit.keep_going()
        loader.erase(offset, size)


def _write(unit: Unit, loader: Loader, region: Region, before: int, total: int) -> None:
    def progress(done: int, _: int) -> None:
        unit.keep_going()
        moment = timestamp(unit.job.now())
        unit.tell(
            StepProgress(
                moment, unit.job.station, unit.slot.name, unit.serial, unit.mac, Step.FLASH, before + done, total
            )
        )

    loader.write(region, progress)


def readback(unit: Unit) -> dict[str, Any]:
    """Proves, before the first boot, that every region holds what was meant, and that it is still the same board."""
    loader = _loader(unit)
    for region in unit.regions:
        unit.keep_going()
        if region.name not in unit.proven and loader.md5(region.offset, region.size) != region.md5:
            raise UnitFault(
                f"{region.name} reads back differently than it was written",
                hint="power, baud, or a bad flash chip; try a lower --baud once, then set the board aside",
                cause="readback-mismatch",
            )
    for name, offset, size in unit.erased:
        if not loader.is_blank(offset, size):
            raise UnitFault(f"{name} is not blank after its erasure", hint="a bad flash chip", cause="erase-failed")
    if loader.mac() != unit.mac:
        raise swapped(unit.slot.link.address)
    return {"regions": len(unit.regions), "md5": unit.regions[-1].md5}


def _firmware(unit: Unit) -> PreparedRelease:
    if unit.job.firmware is None:
        raise InputError("no release given", hint="--release FILE, or path in product.toml ([release])")
    return unit.job.firmware


def _factory_partition(unit: Unit) -> Partition:
    return _firmware(unit).release.table.required(unit.job.product.factory.partition)


def _loader(unit: Unit) -> Loader:
    if unit.loader is None:
        raise ValueError("the loader was not reached")
    return unit.loader


def _mac(unit: Unit) -> str:
    if unit.mac is None:
        raise BoardRefused("the board does not tell its MAC", cause="no-mac")
    return unit.mac
