"""USB bridges between a host and a virtual board: which rates each carries, and what it does with the others.

Sources: data sheets of the bridges; Linux `drivers/usb/serial/cp210x.c` (cp210x_init_max_speed: 1, 2 and 3 Mbaud, and
the rate that a CP210x really runs at is what the host reads back), `ch341.c` and `ftdi_sio.c`. That a CH340 garbles
921600 baud, and at 2 Mbaud what the chip sends, is from boards.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class BridgeKind(Enum):
    """A bridge by name."""

    CP2102 = "cp2102"
    CP2104 = "cp2104"
    CP2102N = "cp2102n"
    CH340 = "ch340"
    CH343 = "ch343"
    FT231X = "ft231x"

    @property
    def limits(self) -> BridgeLimits:
        """What the bridge can do."""
        return _LIMITS[self]


@dataclass(frozen=True)
class BridgeLimits:
    """USB ids, the highest rate, the rates that arrive as noise, and those at which only the chip receives."""

    usb: str
    most: int
    noisy: tuple[int, ...] = ()
    one_way: tuple[int, ...] = ()

    def actual(self, baud: int) -> int:
        """Return the rate at which the bridge runs if it is asked for *baud*: it lowers what is too high, silently."""
        return min(baud, self.most)

    def garbles(self, baud: int, *, to_host: bool) -> bool:
        """Return whether everything arrives as noise at *baud*, in this direction."""
        return baud in self.noisy or (to_host and baud in self.one_way)


_LIMITS = {
    BridgeKind.CP2102: BridgeLimits("10c4:ea60", 1_000_000),
    BridgeKind.CP2104: BridgeLimits("10c4:ea60", 2_000_000),
    BridgeKind.CP2102N: BridgeLimits("10c4:ea60", 3_000_000),
    BridgeKind.CH340: BridgeLimits("1a86:7523", 2_000_000, (921_600,), (2_000_000,)),
    BridgeKind.CH343: BridgeLimits("1a86:55d3", 6_000_000),
    BridgeKind.FT231X: BridgeLimits("0403:6015", 3_000_000),
}
