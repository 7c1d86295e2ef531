"""One label as a picture: a PNG for label printers, or an SVG for any size.

The PNG is the rasterised PDF page of the label; each module is a whole number of dots. The SVG is drawn here from the
same kind of layout. Both are read back before they are returned.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from rmfab.label.content import Label
from rmfab.label.layout import Artwork, make_artwork
from rmfab.label.pdf import single_pdf
from rmfab.label.readback import Expected, judge_code, judge_resolution, page_images, read_png, read_svg
from rmfab.label.text import MM, Run
from rmfab.label.typeface import Face, width_of
from rmfab.label.warnings import LabelWarning, label_warnings

# Edges on whole dots may come out of the rasteriser as 1 or 254, because coordinates are rounded.
_CLEAN = [0] * 4 + list(range(4, 252)) + [255] * 4
_FAMILIES = {
    Face.REGULAR: "font-family='Bitstream Vera Sans, DejaVu Sans, Verdana, sans-serif'",
    Face.BOLD: "font-family='Bitstream Vera Sans, DejaVu Sans, Verdana, sans-serif' font-weight='bold'",
    Face.PRODUCT: "font-family='Bitstream Vera Sans, DejaVu Sans, Verdana, sans-serif' font-weight='bold'",
}


@dataclass(frozen=True)
class Picture:
    """A picture that was read back: the bytes of the file, and the warnings."""

    data: bytes = field(repr=False)
    warnings: tuple[LabelWarning, ...]


def make_png(label: Label, width: float, height: float, dpi: int = 300) -> Picture:
    """Return *label* on *width* x *height* mm as a greyscale PNG of *dpi* dots per inch.

    Raise InputError if a module would be smaller than 0.20 mm or two dots, IntegrityError if the code does not read
    back.
    """
    dot = 25.4 / dpi
    columns, rows = round(width / dot), round(height / dot)
    artwork = make_artwork(label, columns * dot, rows * dot, dot)
    judge_resolution(artwork.layout.module, dpi)
    (page,) = page_images(single_pdf(artwork), dpi)
    stream = io.BytesIO()
    page.crop((0, 0, columns, rows)).point(_CLEAN).save(stream, "PNG", dpi=(dpi, dpi), optimize=True)
    judge_code(read_png(stream.getvalue()), Expected(label.serial, label.payload), "PNG")
    return Picture(stream.getvalue(), label_warnings([label], [artwork.layout]))


def make_svg(label: Label, width: float, height: float) -> Picture:
    """Return *label* on *width* x *height* mm as SVG 1.1.

    Raise InputError if a module would be smaller than 0.20 mm, IntegrityError if the code does not read back.
    """
    artwork = make_artwork(label, width, height)
    data = svg(artwork)
    judge_code(read_svg(data), Expected(label.serial, label.payload), "SVG")
    return Picture(data, label_warnings([label], [artwork.layout]))


def svg(artwork: Artwork) -> bytes:
    """Return the SVG document of a drawing."""
    return ("\n".join(_elements(artwork)) + "\n").encode()


def _elements(artwork: Artwork) -> Iterator[str]:
    layout = artwork.layout
    size = f"width='{layout.width:g}mm' height='{layout.height:g}mm' viewBox='0 0 {layout.width:g} {layout.height:g}'"
    yield f"<svg xmlns='http://www.w3.org/2000/svg' version='1.1' {size}>"
    yield "<rect width='100%' height='100%' fill='#fff'/>"
    path = "".join(f"M{x} {y}h{w}v{h}h-{w}z" for x, y, w, h in artwork.symbol.rectangles())
    place = f"translate({layout.code[0]:.5f} {layout.code[1]:.5f}) scale({layout.module:.6f})"
    yield f"<path transform='{place}' shape-rendering='crispEdges' fill='#000' d='{path}'/>"
    yield from map(_text, layout.runs)
    yield "</svg>"


def _text(run: Run) -> str:
    """Return the SVG text of a run. textLength keeps its computed width with any font of the viewer."""
    place = f"x='{run.x:.3f}' y='{run.baseline:.3f}' font-size='{run.size * MM:.4f}'"
    length = f"textLength='{width_of(run.text, run.face, run.size) * MM:.3f}' lengthAdjust='spacingAndGlyphs'"
    return f"<text {place} {_FAMILIES[run.face]} {length} xml:space='preserve'>{escape(run.text)}</text>"
