"""Brother's DK rolls and QL models: what a job must state about them, and where on the head a label lies.

Source: Brother, "Software Developer's Manual: Raster Command Reference", the chapters "Page size" and "Status".
"""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.label.printers.media import Media

DIE_CUT, CONTINUOUS = 0x0B, 0x0A
_RD = 0x40  # RD rolls report their kind with this bit
QL_DPI = 300
CONTINUOUS_FEED = 35
"""Dots of feed before and after a label on a continuous roll."""


@dataclass(frozen=True)
class Roll:
    """A roll: *width* and *length* in mm as the printer reports them (length 0: continuous), the printable dots, and
    the dots from the right end of a narrow head to the printable area."""

    width: int
    length: int
    dots_wide: int
    dots_long: int
    right: int

    @property
    def media(self) -> Media:
        """Its labels."""
        return Media(self.width, self.length or None)

    @property
    def kind(self) -> int:
        """Its kind in a job."""
        return DIE_CUT if self.length else CONTINUOUS


ROLLS = (
    Roll(12, 0, 106, 0, 29),
    Roll(29, 0, 306, 0, 6),
    Roll(38, 0, 413, 0, 12),
    Roll(50, 0, 554, 0, 12),
    Roll(54, 0, 590, 0, 0),
    Roll(62, 0, 696, 0, 12),
    Roll(102, 0, 1164, 0, 12),
    Roll(12, 12, 94, 94, 113),
    Roll(17, 54, 165, 566, 0),
    Roll(17, 87, 165, 956, 0),
    Roll(23, 23, 202, 202, 42),
    Roll(24, 24, 236, 236, 42),
    Roll(29, 42, 306, 425, 6),
    Roll(29, 90, 306, 991, 6),
    Roll(38, 90, 413, 991, 12),
    Roll(39, 48, 425, 495, 6),
    Roll(52, 29, 578, 271, 0),
    Roll(54, 29, 598, 271, 60),
    Roll(58, 58, 618, 618, 51),
    Roll(60, 87, 672, 954, 18),
    Roll(62, 29, 696, 271, 12),
    Roll(62, 100, 696, 1109, 12),
    Roll(102, 51, 1164, 526, 12),
    Roll(102, 153, 1164, 1660, 12),
)


def roll_of(width: float, length: float) -> Roll | None:
    """Return the roll of this size in mm, None if there is none. Sizes may be off by 1 mm: 39 x 90 reports 38."""
    near = (roll for roll in ROLLS if abs(roll.width - width) <= 1 and abs(roll.length - length) <= 1)
    return min(near, key=lambda roll: abs(roll.width - width) + abs(roll.length - length), default=None)


def is_continuous(kind: int) -> bool:
    """Return whether the *kind* that a printer reports is a continuous roll."""
    return kind & ~_RD == CONTINUOUS


@dataclass(frozen=True)
class QlModel:
    """A model: whether it has a *mode switch* (ESC i a), the bytes of a row, the shift of narrow rolls on its head, and
    the fewest rows of a label on a continuous roll."""

    name: str
    mode_switch: bool = True
    row_bytes: int = 90
    shift: int = 0
    fewest_rows: int = 150


_OLD = 295
UNKNOWN_MODEL = QlModel("QL")
"""What a printer is taken for that does not answer: one on the network, all of which have the mode switch."""
MODELS = {
    (0x30, 0x4F): QlModel("QL-500/550", False, fewest_rows=_OLD),
    (0x34, 0x31): QlModel("QL-560", False, fewest_rows=_OLD),
    (0x34, 0x32): QlModel("QL-570", False),
    (0x34, 0x33): QlModel("QL-580N"),
    (0x34, 0x47): QlModel("QL-600"),
    (0x30, 0x51): QlModel("QL-650TD", fewest_rows=_OLD),
    (0x34, 0x35): QlModel("QL-700", False),
    (0x34, 0x36): QlModel("QL-710W"),
    (0x34, 0x37): QlModel("QL-720NW"),
    (0x34, 0x38): QlModel("QL-800"),
    (0x34, 0x39): QlModel("QL-810W"),
    (0x34, 0x41): QlModel("QL-820NWB"),
    (0x30, 0x50): QlModel("QL-1050", row_bytes=162, shift=44, fewest_rows=_OLD),
    (0x34, 0x34): QlModel("QL-1060N", row_bytes=162, shift=44, fewest_rows=_OLD),
    (0x34, 0x43): QlModel("QL-1100", row_bytes=162, shift=44, fewest_rows=301),
    (0x34, 0x44): QlModel("QL-1110NWB", row_bytes=162, shift=44, fewest_rows=301),
    (0x34, 0x45): QlModel("QL-1115NWB", row_bytes=162, shift=44, fewest_rows=301),
}
