"""A label in ZPL: one graphic field in one format.

Source: Zebra, "ZPL II Programming Guide" (P1099958), the commands ^GF, ^PQ, ^PR, ~SD and "ZB64 Encoding and
Compression". Nothing is sent that changes the stored set-up of the printer.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import TYPE_CHECKING

from rmfab.label.printers.configuration import GraphicEncoding, PrinterConfig

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

_RUN = re.compile(r"(.)\1{2,}")
_ONES = ["", *"GHIJKLMNOPQRSTUVWXY"]  # 1 to 19 times
_TWENTIES = ["", *"ghijklmnopqrstuvwxyz"]  # 20, 40 to 400 times
_MOST_RUN = 400


def zpl_job(label: Raster, copies: int, config: PrinterConfig) -> bytes:
    """Return the job that prints *label*, *copies* times."""
    darkness = "" if config.darkness is None else f"~SD{config.darkness:02}"
    speed = "" if config.speed is None else f"^PR{config.speed}"
    field = z64_field(label) if config.encoding is GraphicEncoding.Z64 else run_length_field(label)
    head = f"{darkness}^XA{speed}^PW{label.width}^LL{label.height}^LH0,0^FO0,0"
    return f"{head}{field}^FS^PQ{copies}^XZ".encode("ascii")


def run_length_field(label: Raster) -> str:
    """Return *label* as ^GFA with hexadecimal digits in ZPL's run lengths. Old printers and clones know it, too."""
    lines, before = [], b""
    for row in label.rows:
        lines.append(":" if row == before else _run_lengths(row.hex().upper()))
        before = row
    return _field(len(label.data), len(label.data), label.row_bytes, "".join(lines))


def z64_field(label: Raster) -> str:
    """Return *label* as ^GFA with zlib, base64 and a CRC: smaller, and not known to every clone."""
    text = base64.b64encode(zlib.compress(label.data, 9))
    data = f":Z64:{text.decode('ascii')}:{binascii.crc_hqx(text, 0):04X}"
    return _field(len(data), len(label.data), label.row_bytes, data)


def _field(sent: int, total: int, row_bytes: int, data: str) -> str:
    return f"^GFA,{sent},{total},{row_bytes},{data}"


def _run_lengths(row: str) -> str:
    """Return a row of hexadecimal digits: `,` for zeros up to its end, and counts before other runs.

    `!`, for ones up to the end, is not used: zebrash fills the row with the digit 1 instead of F.
    """
    return f"{_counted(row.rstrip('0'))}," if row.endswith("0") else _counted(row)


def _counted(digits: str) -> str:
    return _RUN.sub(lambda run: f"{_count(len(run[0]))}{run[1]}", digits)


def _count(length: int) -> str:
    whole, rest = divmod(length, _MOST_RUN)
    return f"{'z' * whole}{_TWENTIES[rest // 20]}{_ONES[rest % 20]}"
