"""The largest bitmap that a printer can print."""

from __future__ import annotations

from rmfab.causes import Cause
from rmfab.label.printers.address import PrinterLanguage
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.faults import MM_PER_INCH, fault_of
from rmfab.label.printers.media import Media
from rmfab.label.printers.ql_media import roll_of

USUAL_MEDIA = Media(40, 30)
"""What is assumed if neither the printer nor station.toml says what labels there are."""
CONTINUOUS_HEIGHT = 30.0
"""The height of a label on a continuous roll, in mm."""


def printable_dots(config: PrinterConfig, media: Media, dpi: int) -> tuple[int, int]:
    """Return width and height of the bitmap for *media*. A Brother QL leaves a margin; others print the whole label.

    Raise PrinterFault if a Brother QL does not know the roll.
    """
    height = media.height or CONTINUOUS_HEIGHT
    if config.address.language is PrinterLanguage.QL:
        roll = roll_of(media.width, media.height or 0)
        if roll is None:
            raise fault_of(Cause.PRINTER_MEDIA, config.address.text, f"unknown roll: {media}")
        return roll.dots_wide, roll.dots_long or int(height / MM_PER_INCH * dpi)
    return round(media.width / MM_PER_INCH * dpi), round(height / MM_PER_INCH * dpi)
