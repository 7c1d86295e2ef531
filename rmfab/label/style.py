"""A label style: size, shape, and what stands where on a label. The values that `style_file.py` reads.

Lengths are in mm, type sizes in points. What has a box stands in it; everything else flows: the QR code first, then
logo, texts and barcode, one below the other, beside or below the code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from functools import cached_property
from pathlib import Path

from rmfab.errors import InputError
from rmfab.label.content import Placeholder
from rmfab.label.layout import Box
from rmfab.label.symbol import QUIET_ZONE, Level
from rmfab.product.vocabulary import QrForm

SMALLEST_SIDE = 5.0
LARGEST_SIDE = 220.0
_SIZE = re.compile(r"(?P<width>[0-9]{1,3}(?:\.[0-9]{1,2})?)(?:\s?[x×]\s?(?P<height>[0-9]{1,3}(?:\.[0-9]{1,2})?))?")  # noqa: RUF001


@unique
class Shape(StrEnum):
    """The outline of a label."""

    RECTANGLE = "rectangle"
    ROUND = "round"


@unique
class Align(StrEnum):
    """Where something stands in the width of its box."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"

    @property
    def share(self) -> float:
        """The share of the spare width that stands on the left."""
        return {Align.LEFT: 0.0, Align.CENTER: 0.5, Align.RIGHT: 1.0}[self]


@unique
class VerticalAlign(StrEnum):
    """Where what flows stands in its height."""

    TOP = "top"
    MIDDLE = "middle"
    BOTTOM = "bottom"

    @property
    def share(self) -> float:
        """The share of the spare height that stands above."""
        return {VerticalAlign.TOP: 0.0, VerticalAlign.MIDDLE: 0.5, VerticalAlign.BOTTOM: 1.0}[self]


@unique
class Weight(StrEnum):
    """The weight of a text."""

    REGULAR = "regular"
    BOLD = "bold"


@unique
class CodePosition(StrEnum):
    """The side of the label on which a QR code without a box stands."""

    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"

    @property
    def beside(self) -> bool:
        """Whether the texts stand beside the code, not above or below it."""
        return self in (CodePosition.LEFT, CodePosition.RIGHT)


@unique
class BarcodeKind(StrEnum):
    """The kind of the second code, which contains the serial only."""

    DATA_MATRIX = "datamatrix"
    CODE_128 = "code128"


@unique
class LogoMethod(StrEnum):
    """How the greys of a logo become black and white."""

    THRESHOLD = "threshold"
    DITHER = "dither"


@dataclass(frozen=True)
class StyleText:
    """One line of text. *parts* are literal texts and placeholders; *space* is additional room above it in the flow.

    *key* names it in complaints, such as `[[text]] no. 2`.
    """

    key: str
    parts: tuple[str | Placeholder, ...]
    size: float
    weight: Weight = Weight.REGULAR
    align: Align = Align.LEFT
    caption: str = ""
    space: float = 0.0
    box: Box | None = None

    @property
    def placeholders(self) -> frozenset[Placeholder]:
        """The placeholders of the text."""
        return frozenset(part for part in self.parts if isinstance(part, Placeholder))


@dataclass(frozen=True)
class StyleCode:
    """The QR code. *side* includes the quiet zone, *quiet_zone* is in modules. None is "as large as it fits", or "the
    best for the size" for *level*, or "that of the product" for *form*."""

    position: CodePosition
    level: Level | None = None
    form: QrForm | None = None
    quiet_zone: int = QUIET_ZONE
    side: float | None = None
    align: Align = Align.CENTER
    box: Box | None = None


@dataclass(frozen=True)
class StyleBarcode:
    """The second code, of the serial. *height* is that in the flow."""

    kind: BarcodeKind
    height: float
    align: Align = Align.LEFT
    space: float = 0.0
    box: Box | None = None


@dataclass(frozen=True)
class StyleLogo:
    """A picture: *data* is its PNG file. *height* is that in the flow."""

    file: Path
    data: bytes = field(repr=False)
    height: float
    method: LogoMethod = LogoMethod.THRESHOLD
    align: Align = Align.LEFT
    box: Box | None = None


@dataclass(frozen=True)
class LabelStyle:
    """A label style. *sheet* names the label sheet that it is made for. *font* and *bold_font* None: Bitstream Vera,
    or *product_font* (`[label] font` of product.toml) for texts whose letters it lacks.

    *flow* is the box of what flows, None for the room beside, above or below the QR code. *pop* is False for labels
    that have neither a QR code nor the PoP.
    """

    name: str
    file: Path
    width: float
    height: float
    shape: Shape = Shape.RECTANGLE
    margin: float = 1.0
    gap: float = 1.0
    valign: VerticalAlign = VerticalAlign.MIDDLE
    flow: Box | None = None
    pop: bool = True
    copies: int = 1
    title: str = ""
    sheet: str | None = None
    font: Path | None = None
    bold_font: Path | None = None
    product_font: Path | None = None
    qr: StyleCode | None = None
    logo: StyleLogo | None = None
    texts: tuple[StyleText, ...] = ()
    barcode: StyleBarcode | None = None

    @cached_property
    def flowing(self) -> tuple[StyleLogo | StyleText | StyleBarcode, ...]:
        """What has no box, in its order, without the QR code."""
        items = (self.logo, *self.texts, self.barcode)
        return tuple(item for item in items if item is not None and item.box is None)

    @property
    def only_code(self) -> bool:
        """Whether the QR code is alone on the label."""
        return not self.texts and self.logo is None and self.barcode is None

    @property
    def placeholders(self) -> frozenset[Placeholder]:
        """The placeholders of all texts."""
        return frozenset().union(*(each.placeholders for each in self.texts))

    @property
    def shows_pop(self) -> bool:
        """Whether a label contains the PoP."""
        return self.qr is not None or Placeholder.POP in self.placeholders

    def resized(self, width: float, height: float) -> LabelStyle:
        """Return the style on a label of a different size; what has a box stays where it is."""
        return replace(self, width=width, height=height, sheet=None)

    def __str__(self) -> str:
        return self.name


def parse_label_size(text: str) -> tuple[float, float]:
    """Return width and height in mm of a size such as "40x30"; "24" is 24x24. Raise InputError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InputError(f'"{text}" is not a size', hint='width x height in mm, such as "40x30"; "24" is 24 x 24')
    sides = float(found["width"]), float(found["height"] or found["width"])
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in sides):
        raise InputError(f'"{text}" is not a size from {SMALLEST_SIDE:g} to {LARGEST_SIDE:g} mm')
    return sides
