"""The step `flash`: write what the board does not already hold."""

from __future__ import annotations

from collections.abc import Iterable

from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import Region, compress
from rmfab.identity.factory_image import factory_image
from rmfab.line.ending import Passed
from rmfab.line.events import Step, StepProgress
from rmfab.line.stages import Bound, Claimed, Written
from rmfab.line.visit import Visit
from rmfab.release.parts import BOOTLOADER, TABLE
from rmfab.release.plan import Erase, make_plan


def flash(visit: Visit, stage: Claimed) -> Passed[Written]:
    """Write what differs: the common parts, the blank areas, and last the whole factory partition."""
    loader, firmware, product = stage.loader, stage.firmware, visit.job.product
    visit.measured["release"] = firmware.accepted.named
    bound = Bound(stage.record, visit.open_identity(stage.record))
    image = factory_image(bound.identity, product)
    plan = make_plan(firmware.release, product.factory, image)
    factory = compress(plan.writes[-1].name, plan.writes[-1].offset, image)
    regions = (*firmware.regions, factory)
    proven = _proven(visit, loader, regions)
    wanted = [region for region in regions if region.name not in proven]
    total = sum(region.compressed for region in wanted)
    done = 0
    for region in wanted:
        if region is factory:
            _erase(visit, loader, plan.erases)
        _write(visit, loader, region, done, total)
        done += region.compressed
    if factory not in wanted:
        _erase(visit, loader, plan.erases)
    written = {"written": sum(region.size for region in wanted), "sent": total, "kept": len(proven)}
    return Passed(Written(loader, stage.mac, bound, regions, plan.erases, proven), visit.measured | written)


def _proven(visit: Visit, loader: Loader, regions: Iterable[Region]) -> frozenset[str]:
    """Return the names of the regions that the board already holds.

    The small regions come first: if the bootloader or table differs, comparing the large ones would not pay.
    """
    proven: set[str] = set()
    for region in sorted(regions, key=lambda region: region.size):
        visit.keep_going()
        if loader.md5(region.offset, region.size) == region.md5:
            proven.add(region.name)
        elif region.name in (BOOTLOADER, TABLE):  # a different release or none; otadata changes at the first boot
            break
    return frozenset(proven)


def _erase(visit: Visit, loader: Loader, erases: Iterable[Erase]) -> None:
    for erase in erases:
        visit.keep_going()
        loader.erase(erase.offset, erase.size)


def _write(visit: Visit, loader: Loader, region: Region, before: int, total: int) -> None:
    def progress(done: int, _: int) -> None:
        visit.keep_going()
        visit.tell(StepProgress(*visit.origin(), Step.FLASH, before + done, total))

    loader.write(region, progress)
