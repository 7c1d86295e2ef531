"""The faults of printers as errors, and the judges that all languages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmfab.causes import Cause
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.media import Media
from rmfab.label.printers.printer import PrinterFault

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

MM_PER_INCH = 25.4
_TOLERANCE = 0.5
"""How much larger than its media a label may be, in mm: sizes are rounded to dots and to whole mm."""


def fault_of(cause: Cause, address: str, what: str | None = None) -> PrinterFault:
    """Return the error for *cause*. *what* replaces the general meaning of the cause."""
    general = cause.meaning.removesuffix(".")
    return PrinterFault(
        what or general[0].lower() + general[1:], where=address, hint=cause.remedy.removesuffix("."), cause=cause
    )


def judge_dpi(config: PrinterConfig, reported: int | None) -> None:
    """Raise PrinterFault if the printer has a different resolution from the configured one."""
    if config.dpi is not None and reported is not None and config.dpi != reported:
        what = f"station.toml says {config.dpi} dpi, the printer reports {reported} dpi"
        raise fault_of(Cause.PRINTER_DPI, config.address.text, what)


def judge_media(config: PrinterConfig, reported: Media | None) -> None:
    """Raise PrinterFault if the printer has different labels from the configured ones."""
    if config.media is None or reported is None:
        return
    if not _alike(config.media.width, reported.width) or not _alike(config.media.height or 0, reported.height or 0):
        what = f"station.toml says labels of {config.media}, the printer has {reported}"
        raise fault_of(Cause.PRINTER_MEDIA, config.address.text, what)


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= 1.0  # printers report whole mm, some of them rounded down


def judge_size(label: Raster, media: Media | None, dpi: int, address: str) -> None:
    """Raise PrinterFault if *label* is larger than the labels in the printer."""
    if media is None:
        return
    width, height = (dots / dpi * MM_PER_INCH for dots in (label.width, label.height))
    if width > media.width + _TOLERANCE or (media.height is not None and height > media.height + _TOLERANCE):
        what = f"a label of {width:.1f} x {height:.1f} mm ({dpi} dpi) is larger than the labels in the printer: {media}"
        raise fault_of(Cause.PRINTER_LABEL_SIZE, address, what)
