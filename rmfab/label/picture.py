"""One label as a picture: a PNG with the dots of a label printer, or an SVG for any size.

Both are read back before they are returned.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from PIL import Image

from rmfab.label.content import Label
from rmfab.label.design import LabelDesign, draw_design
from rmfab.label.drawing import Drawing, DrawnBarcode, DrawnCode, DrawnLogo, DrawnText
from rmfab.label.fonts import width_on_paper
from rmfab.label.logo import PAGE_DOT
from rmfab.label.print_raster import judge_codes, label_raster
from rmfab.label.readback import svg_image
from rmfab.label.text import MM
from rmfab.label.warnings import LabelWarning, counted_warnings

_FAMILY = "font-family='Bitstream Vera Sans, DejaVu Sans, Verdana, sans-serif'"


@dataclass(frozen=True)
class Picture:
    """A picture that was read back: the bytes of the file, and the warnings."""

    data: bytes = field(repr=False)
    warnings: tuple[LabelWarning, ...]


def make_png(label: Label, design: LabelDesign, dpi: int = 300) -> Picture:
    """Return *label* in *design* as a PNG in black and white, exactly as a printer of *dpi* dots per inch prints it.

    Raise as `label_raster`.
    """
    made = label_raster(label, design, dpi)
    return Picture(png(made.raster.image(), dpi), counted_warnings([made.warnings]))


def png(image: Image.Image, dpi: int) -> bytes:
    """Return a PNG file of *image*, which has *dpi* dots per inch."""
    stream = io.BytesIO()
    image.save(stream, "PNG", dpi=(dpi, dpi), optimize=True)
    return stream.getvalue()


def make_svg(label: Label, design: LabelDesign) -> Picture:
    """Return *label* in *design* as SVG 1.1. Raise as `draw_design`, IntegrityError if a code does not read back."""
    made = draw_design(label, design)
    data = svg(made.drawing)
    judge_codes(svg_image(data), label, made.drawing, "SVG")
    return Picture(data, counted_warnings([made.warnings]))


def svg(drawing: Drawing) -> bytes:
    """Return the SVG document of a drawing."""
    return ("\n".join(_elements(drawing)) + "\n").encode()


def _elements(drawing: Drawing) -> Iterator[str]:
    width, height = f"{drawing.width:g}", f"{drawing.height:g}"
    size = f"width='{width}mm' height='{height}mm' viewBox='0 0 {width} {height}'"
    yield f"<svg xmlns='http://www.w3.org/2000/svg' version='1.1' {size}>"
    yield "<rect width='100%' height='100%' fill='#fff'/>"
    if drawing.logo is not None:
        yield _logo(drawing.logo)
    if drawing.barcode is not None:
        yield _modules(drawing.barcode, drawing.barcode.barcode.rectangles())
    if drawing.code is not None:
        yield _modules(drawing.code, drawing.code.symbol.rectangles())
    yield from map(_text, drawing.texts)
    yield "</svg>"


def _modules(place: DrawnCode | DrawnBarcode, rectangles: Iterable[tuple[int, int, int, int]]) -> str:
    path = "".join(f"M{x} {y}h{w}v{h}h-{w}z" for x, y, w, h in rectangles)
    scale = f"{place.module:.6f}" + ("" if place.module_height == place.module else f" {place.module_height:.6f}")
    transform = f"translate({place.x:.5f} {place.y:.5f}) scale({scale})"
    return f"<path transform='{transform}' shape-rendering='crispEdges' fill='#000' d='{path}'/>"


def _logo(place: DrawnLogo) -> str:
    dots = max(1, round(place.width / PAGE_DOT)), max(1, round(place.height / PAGE_DOT))
    data = base64.b64encode(png(place.logo.on_dots(*dots), 600)).decode()
    box = f"x='{place.x:.3f}' y='{place.y:.3f}' width='{place.width:.3f}' height='{place.height:.3f}'"
    link = f"xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='data:image/png;base64,{data}'"
    return f"<image {box} preserveAspectRatio='none' {link}/>"


def _text(text: DrawnText) -> str:
    """Return the SVG text. textLength keeps its computed width with any font of the viewer."""
    place = f"x='{text.x:.3f}' y='{text.baseline:.3f}' font-size='{text.size * MM:.4f}'"
    length = f"textLength='{width_on_paper(text.text, text.font, text.size):.3f}' lengthAdjust='spacingAndGlyphs'"
    family = _FAMILY + (" font-weight='bold'" if text.font.bold else "")
    return f"<text {place} {family} {length} xml:space='preserve'>{escape(text.text)}</text>"
