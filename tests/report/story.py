"""A shift on the real line: 24 boards on 8 slots, some of them bad, one behind a bad cable, one that came back."""

from __future__ import annotations

from pathlib import Path

from rmfab.virtual.faults import FaultCall
from rmfab.virtual.network import AccessPoint
from rmfab.virtual.spec import BoardSpec
from tests.line.floor import UNITS, Chip, Factory, found, serve

SLOTS = tuple(f"A{number}" for number in range(1, 9))
NETWORK = "rmfab-factory"
SILENT = 20
FAULTS = {2: "brownout", 5: "no-sync", 11: "panic", 12: "brownout", 14: "wrong-key", SILENT: "silent"}
"""By the index of the board."""
_WEAK = {7: -78, 15: -77, 23: -91}
_STATION = '[station]\nname = "bench-1"\nshifts = ["06:00", "14:00", "22:00"]\ntimezone = "Europe/Berlin"\n'


def worked_off(root: Path) -> Factory:
    """Work the 24 boards off, the one behind the bad cable again with a good one; return the factory.

    Only the silent board is not given long to boot, so it is alone.
    """
    factory = found(root, units=26, edits=(('scan_ssid = ""', f'scan_ssid = "{NETWORK}"'),))
    for first in (0, 8, 16):
        boards = [spec(index) for index in range(first, first + 8) if index != SILENT]
        run(factory, boards, "op-7" if first < 16 else "op-9")
    run(factory, [spec(5, healed=True)], "op-9")
    factory.edit("boot_timeout = 60.0", "boot_timeout = 1.0")
    run(factory, [spec(SILENT)], "op-9")
    return factory


def spec(index: int, *, healed: bool = False) -> BoardSpec:
    """Return the board *index* of the story."""
    faults = () if healed or index not in FAULTS else (FaultCall.parse(FAULTS[index]),)
    networks = (AccessPoint(NETWORK, _WEAK.get(index, -48 - index * 7 % 17)),)
    return BoardSpec(Chip.ESP32C3, index, faults=faults, networks=networks)


def run(factory: Factory, specs: list[BoardSpec], operator: str, *extra: str) -> None:
    """Run the line once on *specs*, one on each slot."""
    with serve(specs) as boards:
        urls = [board.url for board in boards]
        slots = (
            f'[[slot]]\nname = "{name}"\nport = "{url}"\nunit = "{UNITS[url]}"\n'
            for name, url in zip(SLOTS, urls, strict=False)
        )
        (factory.root / "station.toml").write_text(_STATION + "\n".join(slots))
        factory.do("run", "--operator", operator, *extra)
