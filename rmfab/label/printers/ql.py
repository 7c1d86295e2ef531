"""A label for a Brother QL: a raster job.

Source: Brother, "Software Developer's Manual: Raster Command Reference" (QL-800/810W/820NWB), chapters "Print data" and
"Control commands".
"""

from __future__ import annotations

import struct

from rmfab.causes import Cause
from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.ql_media import CONTINUOUS_FEED, QlModel, Roll
from rmfab.label.raster import Raster

CLEAR = bytes(400) + b"\x1b@"
"""400 zeros end a row that was begun, then everything before is forgotten (QL-8xx need 400, others 200)."""
STATUS_REQUEST = b"\x1biS"
_RASTER_MODE = b"\x1bia\x01"
_VALID = 0x80 | 0x40 | 0x08 | 0x04 | 0x02  # recovery on, quality, and the printer must compare length, width and kind
_AUTO_CUT = b"\x1biM\x40\x1biA\x01\x1biK\x08"
_NEXT_PAGE, _LAST_PAGE = b"\x0c", b"\x1a"


def ql_job(label: Raster, copies: int, roll: Roll, model: QlModel) -> bytes:
    """Return the job that prints *label*, already of the printable size of *roll*, *copies* times."""
    rows = _rows(label, roll, model)
    mode = _RASTER_MODE if model.mode_switch else b""
    pages = (_page(rows, roll, first=number == 0) for number in range(copies))
    return CLEAR + mode + _NEXT_PAGE.join(pages) + _LAST_PAGE


def _page(rows: list[bytes], roll: Roll, *, first: bool) -> bytes:
    media = struct.pack("<BBBBIBB", _VALID, roll.kind, roll.width, roll.length, len(rows), 0 if first else 1, 0)
    margin = struct.pack("<H", 0 if roll.length else CONTINUOUS_FEED)
    head = b"\x1biz" + media + _AUTO_CUT + b"\x1bid" + margin
    return head + b"".join(b"g\x00" + bytes([len(row)]) + row for row in rows)


def _rows(label: Raster, roll: Roll, model: QlModel) -> list[bytes]:
    """Return the rows of the head: its first dot is at the right, so each row is mirrored."""
    right = roll.right + model.shift + (roll.dots_wide - label.width) // 2
    bits = model.row_bytes * 8
    rows = [_row(row, label.width, right, bits) for row in label.rows]
    blank = bytes(model.row_bytes)
    missing = (roll.dots_long or model.fewest_rows) - label.height
    above = max(missing, 0) // 2 if roll.length else 0
    return [blank] * above + rows + [blank] * (max(missing, 0) - above)


def _row(row: bytes, width: int, right: int, bits: int) -> bytes:
    value = int.from_bytes(row, "big") >> (-width % 8)
    mirrored = int(f"{value:0{width}b}"[::-1], 2)
    return (mirrored << (bits - right - width)).to_bytes(bits // 8, "big")


def fitting(label: Raster, roll: Roll, address: str) -> Raster:
    """Return the middle of *label* that *roll* can print. Raise PrinterFault if the rest is not white."""
    width = min(label.width, roll.dots_wide)
    height = min(label.height, roll.dots_long or label.height)
    if (width, height) == (label.width, label.height):
        return label
    image = label.image()
    left, top = (label.width - width) // 2, (label.height - height) // 2
    ink = image.point([1] * 128 + [0] * 128).getbbox()
    if ink and (ink[0] < left or ink[1] < top or ink[2] > left + width or ink[3] > top + height):
        area = f"{roll.dots_wide} x {roll.dots_long or 'any'} dots"
        what = f"the label has ink outside of the {area} that can be printed on {roll.media}"
        raise fault_of(Cause.PRINTER_LABEL_SIZE, address, what)
    return Raster.of_image(image.crop((left, top, left + width, top + height)))
