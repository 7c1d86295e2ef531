"""One label as a picture: a PNG for label printers, or an SVG for any size.

The PNG is the rasterised PDF page of the label; each module is a whole number of dots. The SVG is drawn here from the
same kind of layout. Both are read back before they are returned.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from PIL import Image

from rmfab.label.compose import compose
from rmfab.label.content import Label
from rmfab.label.drawing import Drawing, DrawnBarcode, DrawnCode, DrawnLogo, DrawnText, drawing_of
from rmfab.label.fonts import width_on_paper
from rmfab.label.layout import Artwork, make_artwork
from rmfab.label.logo import PAGE_DOT
from rmfab.label.pdf import single_pdf
from rmfab.label.print_raster import judge_codes, label_raster
from rmfab.label.readback import Expected, judge_code, judge_resolution, page_images, read_png, read_svg, svg_image
from rmfab.label.style import LabelStyle
from rmfab.label.text import MM
from rmfab.label.warnings import LabelWarning, counted_warnings, label_warnings

# Edges on whole dots may come out of the rasteriser as 1 or 254, because coordinates are rounded.
_CLEAN = [0] * 4 + list(range(4, 252)) + [255] * 4
_FAMILY = "font-family='Bitstream Vera Sans, DejaVu Sans, Verdana, sans-serif'"


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


def make_styled_png(label: Label, style: LabelStyle, dpi: int) -> Picture:
    """Return *label* in *style* as a PNG in black and white, exactly as a printer of *dpi* dots per inch prints it.

    Raise as `label_raster`.
    """
    made = label_raster(label, style, dpi)
    return Picture(png(made.raster.image(), dpi), counted_warnings([made.warnings]))


def png(image: Image.Image, dpi: int) -> bytes:
    """Return a PNG file of *image*, which has *dpi* dots per inch."""
    stream = io.BytesIO()
    image.save(stream, "PNG", dpi=(dpi, dpi), optimize=True)
    return stream.getvalue()


def make_styled_svg(label: Label, style: LabelStyle) -> Picture:
    """Return *label* in *style* as SVG 1.1. Raise as `compose`, IntegrityError if a code does not read back."""
    made = compose(label, style)
    data = svg(made.drawing)
    judge_codes(svg_image(data), label, made.drawing)
    return Picture(data, counted_warnings([made.warnings]))


def svg(artwork: Artwork | Drawing) -> bytes:
    """Return the SVG document of a drawing."""
    drawing = artwork if isinstance(artwork, Drawing) else drawing_of(artwork)
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
