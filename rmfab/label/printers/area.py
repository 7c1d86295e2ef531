"""What of a label a printer can print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmfab.label.printers.address import PrinterLanguage
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.faults import MM_PER_INCH, judge_size
from rmfab.label.printers.media import Media
from rmfab.label.printers.ql_media import QL_DPI, Roll, roll_of

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

USUAL_MEDIA = Media(40, 30)
"""What is assumed if neither the printer nor station.toml says what labels there are."""
CONTINUOUS_HEIGHT = 30.0
"""The height of a label on a continuous roll, in mm."""


def printable_area(config: PrinterConfig, media: Media) -> Media:
    """Return the part of *media* that can be printed. A Brother QL leaves a margin; others print the whole label.

    A roll that no Brother QL has is returned as it is: the printer refuses it.
    """
    roll = _roll(config, media)
    if roll is None:
        return media
    width, length = (dots / QL_DPI * MM_PER_INCH for dots in (roll.dots_wide, roll.dots_long))
    return Media(width, length or None)


def judge_label(config: PrinterConfig, label: Raster, dpi: int) -> None:
    """Raise PrinterFault if *label* does not fit the configured labels, or has ink where they cannot be printed."""
    if config.media is None:
        return
    judge_size(label, config.media, dpi, config.address.text)
    roll = _roll(config, config.media)
    if roll is not None and dpi == QL_DPI:
        from rmfab.label.printers.ql import fitting

        fitting(label, roll, config.address.text)


def _roll(config: PrinterConfig, media: Media) -> Roll | None:
    """Return the roll of a Brother QL with these labels."""
    return roll_of(media.width, media.height or 0) if config.address.language is PrinterLanguage.QL else None


def printable_dots(config: PrinterConfig, media: Media, dpi: int) -> tuple[int, int]:
    """Return width and height of the largest bitmap for *media*."""
    area = printable_area(config, media)
    height = area.height or CONTINUOUS_HEIGHT
    return round(area.width / MM_PER_INCH * dpi), round(height / MM_PER_INCH * dpi)
