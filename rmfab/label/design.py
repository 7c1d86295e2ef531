"""What a label looks like: a style, or the layout that fits its size; and the drawing of a label in either."""

from __future__ import annotations

from threading import Lock

from rmfab.label.compose import Composition, compose
from rmfab.label.content import Label
from rmfab.label.drawing import drawing_of
from rmfab.label.fonts import Measure, width_on_paper
from rmfab.label.layout import make_artwork
from rmfab.label.style import LabelStyle
from rmfab.label.style_auto import AutomaticStyle
from rmfab.label.typeface import product_font
from rmfab.label.warnings import remarks

_INCH = 25.4
_8_DOTS_PER_MM = 203
LabelDesign = LabelStyle | AutomaticStyle
_one_font = Lock()


def dot_of(dpi: int) -> float:
    """Return the size in mm of a dot. Printers of "203 dpi" have 8 dots per mm, those of 300 dpi 11.8."""
    return 0.125 if dpi == _8_DOTS_PER_MM else _INCH / dpi


def draw_design(label: Label, design: LabelDesign, dot: float | None = None, *, on_paper: bool = False) -> Composition:
    """Return the drawing of *label*; with *dot*, the size of a dot in mm, for a printer with such dots.

    *on_paper*: its texts are set by reportlab, not on dots. Threads may call it at once. Raise InputError as `compose`
    and `make_artwork`.
    """
    if isinstance(design, LabelStyle):
        measure: Measure | None = width_on_paper if on_paper else None
        return compose(label, design, dot, measure)
    with _one_font, product_font(design.product_font):  # the chosen font is the process's
        artwork = make_artwork(label, *_whole(design, dot), dot)
        return Composition(drawing_of(artwork, dot), tuple(remarks(label, artwork.layout)))


def _whole(design: AutomaticStyle, dot: float | None) -> tuple[float, float]:
    if dot is None:
        return design.width, design.height
    return round(design.width / dot) * dot, round(design.height / dot) * dot
