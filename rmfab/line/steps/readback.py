"""The step `readback`: verify the whole flash before the first boot."""

from __future__ import annotations

from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import Region
from rmfab.board.port import swapped
from rmfab.errors import UnitFault
from rmfab.line.ending import Passed
from rmfab.line.stages import Flashed, Written
from rmfab.line.visit import Visit


def readback(visit: Visit, stage: Written) -> Passed[Flashed]:
    """Check, before the first boot, that every region holds what was written and that the board is still the same."""
    loader = stage.loader
    for region in stage.regions:
        visit.keep_going()
        if region.name not in stage.proven and not _holds(visit, loader, region):
            raise UnitFault(
                f"{region.name} does not match what was written",
                hint="check the power; try a lower --baud once, then set the board aside (bad flash chip)",
                cause="readback-mismatch",
            )
    for erase in stage.erased:
        if not loader.is_blank(erase.offset, erase.size):
            raise UnitFault(
                f"{erase.name} is not blank after the erase",
                hint="set the board aside (bad flash chip)",
                cause="erase-failed",
            )
    if loader.mac() != stage.mac:
        raise swapped(visit.board.address)
    loader.trust_rate()
    return Passed(Flashed(stage.bound), {"regions": len(stage.regions), "md5": stage.regions[-1].md5})


def _holds(visit: Visit, loader: Loader, region: Region) -> bool:
    """Return whether the flash holds *region*; at a raised rate the line may be to blame, so it is written again."""
    if loader.md5(region.offset, region.size) == region.md5:
        return True
    if not loader.mistrust_rate():
        return False
    visit.warn(f"{region.name} arrived damaged; writing it again at {loader.baud} baud")
    loader.write(region, lambda _done, _total: visit.keep_going())
    return loader.md5(region.offset, region.size) == region.md5
