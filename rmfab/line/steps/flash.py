"""The step `flash`: write what the board does not already hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import SAMPLE_SIZE, Piece, Region, compress
from rmfab.identity.factory_image import factory_image
from rmfab.line.ending import Passed
from rmfab.line.events import Step, StepProgress
from rmfab.line.stages import Bound, Claimed, Written
from rmfab.line.visit import Visit
from rmfab.release.parts import BOOTLOADER, TABLE
from rmfab.release.plan import Erase, make_plan

_MISSES_IN_A_ROW = 2


def flash(visit: Visit, stage: Claimed) -> Passed[Written]:
    """Write what differs: the common parts, the blank areas, and last the whole factory partition."""
    loader, firmware, product = stage.loader, stage.firmware, visit.job.product
    visit.measured["release"] = firmware.accepted.named
    bound = Bound(stage.record, visit.open_identity(stage.record))
    image = factory_image(bound.identity, product)
    plan = make_plan(firmware.release, product.factory, image)
    factory = compress(plan.writes[-1].name, plan.writes[-1].offset, image)
    regions = (*firmware.regions, factory)
    missing = _missing(visit, loader, regions)
    proven = frozenset(region.name for region in regions if not missing[region.name])
    total = sum(part.compressed for parts in missing.values() for part in parts)
    done = 0
    for region in regions:
        if region is factory:
            _erase(visit, loader, plan.erases)
        for part in missing[region.name]:
            _write(visit, loader, part, done, total)
            done += part.compressed
    size = sum(part.size for parts in missing.values() for part in parts)
    written = {"written": size, "sent": total, "kept": len(proven), "baud": loader.baud}
    return Passed(Written(loader, stage.mac, bound, regions, plan.erases, proven), visit.measured | written)


def _missing(visit: Visit, loader: Loader, regions: Sequence[Region]) -> dict[str, tuple[Region, ...]]:
    """Return for each region what of it must be written.

    The small regions are compared first: if the bootloader or table differs, comparing the others would not pay.
    """
    missing: dict[str, tuple[Region, ...]] = {region.name: (region,) for region in regions}
    for region in sorted(regions, key=lambda region: region.size):
        visit.keep_going()
        missing[region.name] = tuple(_missing_parts(visit, loader, region))
        # a different release or none; otadata changes at the first boot
        if missing[region.name] and region.name in (BOOTLOADER, TABLE):
            break
    return missing


def _missing_parts(visit: Visit, loader: Loader, region: Region) -> Iterator[Region]:
    """Yield the runs of pieces that the board does not hold.

    After a few misses in a row nothing more is asked: an app that was built again differs from there on.
    """
    start, misses = 0, 0
    for number, piece in enumerate(region.pieces):
        visit.keep_going()
        if misses == _MISSES_IN_A_ROW:
            break
        if _holds(loader, piece):
            if start < number:
                yield region.part(start, number)
            start, misses = number + 1, 0
        else:
            misses += 1
    if start < len(region.pieces):
        yield region.part(start, len(region.pieces))


def _holds(loader: Loader, piece: Piece) -> bool:
    """Return whether the board holds *piece*; its first sector is asked for first, which takes a tenth of the time."""
    if piece.size > SAMPLE_SIZE and loader.md5(piece.offset, SAMPLE_SIZE) != piece.sample_md5:
        return False
    return loader.md5(piece.offset, piece.size) == piece.md5


def _erase(visit: Visit, loader: Loader, erases: Iterable[Erase]) -> None:
    for erase in erases:
        visit.keep_going()
        loader.erase(erase.offset, erase.size)


def _write(visit: Visit, loader: Loader, region: Region, before: int, total: int) -> None:
    def progress(done: int, _: int) -> None:
        visit.keep_going()
        visit.tell(StepProgress(*visit.origin(), Step.FLASH, before + done, total))

    loader.write(region, progress)
