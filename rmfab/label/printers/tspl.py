"""A label in TSPL, and the status byte of its printers.

Source: TSC, "TSPL/TSPL2 Programming Language", the commands SIZE, BITMAP, PRINT and <ESC>!?. SIZE belongs to each job:
without it the printer uses the size of the last one. Nothing is sent that is stored: no GAP, no DIRECTION, no
REFERENCE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmfab.causes import Cause
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.faults import MM_PER_INCH
from rmfab.label.printers.media import Media

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

PRINTING = 0x20
_INVERTED = bytes(255 - value for value in range(256))
_FAULTS = (
    (0x01, Cause.PRINTER_HEAD_OPEN),
    (0x02, Cause.PRINTER_JAM),
    (0x04, Cause.PRINTER_PAPER),
    (0x08, Cause.PRINTER_RIBBON),
    (0x80, Cause.PRINTER_HARDWARE),
    (0x10, Cause.PRINTER_PAUSED),
)


def tspl_job(label: Raster, copies: int, dpi: int, config: PrinterConfig) -> bytes:
    """Return the job that prints *label*, *copies* times. In BITMAP, 0 is black."""
    media = config.media or Media(label.width / dpi * MM_PER_INCH, label.height / dpi * MM_PER_INCH)
    height = media.height or label.height / dpi * MM_PER_INCH
    lines = ["", f"SIZE {_mm(media.width)},{_mm(height)}"]
    if config.darkness is not None:
        lines.append(f"DENSITY {config.darkness}")
    if config.speed is not None:
        lines.append(f"SPEED {config.speed}")
    lines += ["CLS", f"BITMAP 0,0,{label.row_bytes},{label.height},0,"]
    return "\r\n".join(lines).encode("ascii") + label.data.translate(_INVERTED) + f"\r\nPRINT 1,{copies}\r\n".encode()


def _mm(size: float) -> str:
    return f"{size:.2f}".rstrip("0").rstrip(".") + " mm"


def tspl_faults(status: int) -> tuple[Cause, ...]:
    """Return the faults in a status byte, the most urgent first."""
    return tuple(cause for bit, cause in _FAULTS if status & bit)
