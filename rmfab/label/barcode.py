"""The second code of a label: a Data Matrix or Code 128 with the serial, for scanners of a factory. It has no secret.

zxing-cpp makes it. The read-back of rmfab uses the same library, so it proves what is on the label, not the encoder;
the tests prove that with readers of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import zxingcpp

from rmfab.errors import InputError
from rmfab.label.style import BarcodeKind
from rmfab.label.symbol import rectangles_of

FORMATS = {
    BarcodeKind.DATA_MATRIX: zxingcpp.BarcodeFormat.DataMatrix,
    BarcodeKind.CODE_128: zxingcpp.BarcodeFormat.Code128,
}
QUIET_ZONES = {BarcodeKind.DATA_MATRIX: 2, BarcodeKind.CODE_128: 10}
"""Light modules on each side. ISO/IEC 16022 wants 1; a second one survives ink that grows. ISO/IEC 15417 wants 10."""


@dataclass(frozen=True)
class Barcode:
    """A second code without its quiet zone: rows of modules, 1 if dark. Code 128 has one row."""

    kind: BarcodeKind
    text: str
    modules: tuple[bytes, ...]

    @property
    def columns(self) -> int:
        """The modules per row."""
        return len(self.modules[0])

    @property
    def rows(self) -> int:
        """The rows."""
        return len(self.modules)

    @property
    def quiet_zone(self) -> int:
        """The light modules that it needs on each side."""
        return QUIET_ZONES[self.kind]

    def rectangles(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the dark modules as (column, row, columns, rows)."""
        return rectangles_of(self.modules)


def make_barcode(kind: BarcodeKind, text: str) -> Barcode:
    """Return the code of *text*. Raise InputError if it cannot be encoded."""
    options = {"force_square": True} if kind is BarcodeKind.DATA_MATRIX else {}
    try:
        made = zxingcpp.create_barcode(text, FORMATS[kind], **options)
        shown = memoryview(made.to_image(scale=1, add_quiet_zones=False))
    except (ValueError, RuntimeError) as error:
        raise InputError(f"this text has no {kind.value} code", where=text) from error
    rows: Any = shown.tolist()
    if kind is BarcodeKind.CODE_128:
        rows = rows[:1]
    return Barcode(kind, text, tuple(bytes(grey == 0 for grey in row) for row in rows))
