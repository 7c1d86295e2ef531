"""What stands on one label, in mm from its top left corner: texts, codes and a picture. Renderers draw nothing else.

A drawing is made for one kind of output. For a printer every length is a whole number of its dots; for pages and SVG
it is exact. `pdf.py`, `picture.py` and `print_raster.py` render it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rmfab.label.barcode import Barcode
from rmfab.label.fonts import LabelFont, face_font, measure_on_dots, pixels_of, width_on_paper
from rmfab.label.layout import Artwork
from rmfab.label.logo import Logo
from rmfab.label.symbol import QUIET_ZONE, Symbol
from rmfab.label.text import MM


@dataclass(frozen=True)
class DrawnText:
    """A text: left end and baseline in mm, size in points. The text may be secret."""

    text: str = field(repr=False)
    x: float
    baseline: float
    font: LabelFont
    size: float


@dataclass(frozen=True)
class DrawnCode:
    """A QR code: the top left corner inside the quiet zone, the side of a module, and the quiet zone in modules."""

    symbol: Symbol = field(repr=False)
    x: float
    y: float
    module: float
    quiet_zone: int = QUIET_ZONE

    @property
    def module_height(self) -> float:
        """The height of a module, which is a square."""
        return self.module


@dataclass(frozen=True)
class DrawnBarcode:
    """A second code: the top left corner inside the quiet zone, and width and height of a module."""

    barcode: Barcode = field(repr=False)
    x: float
    y: float
    module: float
    module_height: float


@dataclass(frozen=True)
class DrawnLogo:
    """A picture: its top left corner and its size."""

    logo: Logo = field(repr=False)
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """Everything on one label of *width* x *height* mm."""

    width: float
    height: float
    texts: tuple[DrawnText, ...] = ()
    code: DrawnCode | None = None
    barcode: DrawnBarcode | None = None
    logo: DrawnLogo | None = None


def drawing_of(artwork: Artwork, dot: float | None = None) -> Drawing:
    """Return an automatic layout as a drawing; with *dot*, the size of a dot in mm, its type has whole dots."""
    layout = artwork.layout
    texts = tuple(
        DrawnText(run.text, run.x, run.baseline, face_font(run.face), run.size) for run in layout.runs if run.text
    )
    return Drawing(
        layout.width,
        layout.height,
        texts if dot is None else _on_whole_dots(texts, dot),
        DrawnCode(artwork.symbol, *layout.code, layout.module),
    )


def _on_whole_dots(texts: Sequence[DrawnText], dot: float) -> tuple[DrawnText, ...]:
    """Return *texts* at sizes of whole dots, none wider than it is on paper, all lines of one size alike."""
    sizes = {(each.font, each.size) for each in texts}
    fitting = {key: min(_fitting(each, dot) for each in texts if (each.font, each.size) == key) for key in sizes}
    return tuple(
        DrawnText(each.text, each.x, each.baseline, each.font, fitting[each.font, each.size]) for each in texts
    )


def _fitting(text: DrawnText, dot: float) -> float:
    room = width_on_paper(text.text, text.font, text.size) + dot
    pixels = pixels_of(text.size, dot)
    while pixels > 1 and measure_on_dots(dot)(text.text, text.font, pixels * dot / MM) > room:
        pixels -= 1
    return pixels * dot / MM
