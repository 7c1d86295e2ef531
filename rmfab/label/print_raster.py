"""The bitmap of one label for a printer: drawn on its own dots, and read back on exactly these dots.

Every module is a whole number of dots, type is hinted for the dots, and nothing is scaled afterwards. The QR code is
also read blurred, and with all its dark areas one dot wider and one dot narrower, as ink does. A code of 2 dots per
module survives that, so one that does not has something in its quiet zone or is damaged: it is refused, not warned of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from rmfab.label.content import Label
from rmfab.label.design import LabelDesign, dot_of, draw_design
from rmfab.label.drawing import Drawing, DrawnBarcode, DrawnCode, DrawnText
from rmfab.label.fonts import pixels_of
from rmfab.label.raster import Raster
from rmfab.label.readback import Expected, codes_in, judge_code, judge_second_code, second_codes_in
from rmfab.label.warnings import LabelWarning

_BLUR, _MOST_BLUR = 0.3, 1.0
"""Sigma of the blur in modules, and at most in dots: zxing reads every sound code with 2 dots per module after it."""


@dataclass(frozen=True)
class LabelRaster:
    """The bitmap of a label, and the warnings about it."""

    raster: Raster
    warnings: tuple[LabelWarning, ...]
    drawing: Drawing


def label_raster(label: Label, style: LabelDesign, dpi: int) -> LabelRaster:
    """Return *label* in *style* for a printer of *dpi* dots per inch, read back.

    The same label gives the same bytes. Threads may call it at once. Raise InputError if the label does not fit,
    IntegrityError if a code does not read back.
    """
    made = draw_design(label, style, dot_of(dpi))
    image = draw_on_dots(made.drawing, dot_of(dpi))
    judge_image(image, label, made.drawing, dot_of(dpi))
    return LabelRaster(Raster.of_image(image), made.warnings, made.drawing)


def draw_on_dots(drawing: Drawing, dot: float) -> Image.Image:
    """Return *drawing* as a bitmap: 0 is black, 255 white."""
    image = Image.new("1", (round(drawing.width / dot), round(drawing.height / dot)), 1)
    if drawing.logo is not None:
        place = drawing.logo
        size = round(place.width / dot), round(place.height / dot)
        image.paste(place.logo.on_dots(*size), _dots(place.x, place.y, dot))
    for text in drawing.texts:
        _draw_text(image, text, dot)
    if drawing.barcode is not None:
        _draw_barcode(image, drawing.barcode, dot)
    if drawing.code is not None:
        _draw_code(image, drawing.code, dot)
    return image.convert("L")


def _dots(x: float, y: float, dot: float) -> tuple[int, int]:
    return round(x / dot), round(y / dot)


def _draw_text(image: Image.Image, text: DrawnText, dot: float) -> None:
    """Draw a text letter by letter: every letter starts on a whole dot, and none moves for the one before it."""
    pixels = pixels_of(text.size, dot)
    font = text.font.on_dots(pixels)
    draw = ImageDraw.Draw(image)
    x, y = _dots(text.x, text.baseline, dot)
    for letter in text.text:
        width = text.font.letter_on_dots(letter, pixels)  # first: it finds damage of the font
        draw.text((x, y), letter, font=font, fill=0, anchor="ls")
        x += width


def _draw_barcode(image: Image.Image, place: DrawnBarcode, dot: float) -> None:
    size = (place.barcode.columns * round(place.module / dot), place.barcode.rows * round(place.module_height / dot))
    image.paste(_modules(place.barcode.modules, size), _dots(place.x, place.y, dot))


def _draw_code(image: Image.Image, place: DrawnCode, dot: float) -> None:
    side = place.symbol.side * round(place.module / dot)
    image.paste(_modules(place.symbol.modules, (side, side)), _dots(place.x, place.y, dot))


def _modules(rows: tuple[bytes, ...], size: tuple[int, int]) -> Image.Image:
    """Return modules (1 is dark) as an image of *size*, a whole multiple."""
    light = b"".join(rows).translate(bytes([255, 0]) + bytes(254))
    return Image.frombytes("L", (len(rows[0]), len(rows)), light).resize(size, Image.Resampling.NEAREST)


def judge_image(image: Image.Image, label: Label, drawing: Drawing, dot: float) -> None:
    """Raise IntegrityError if the codes in *image* are not those of *label*, also blurred and with more or less ink."""
    judge_codes(image, label, drawing)
    if drawing.code is not None:
        wanted = Expected(label.serial, label.payload)
        for worse, what in _worse(_around(image, drawing.code, dot), round(drawing.code.module / dot)):
            judge_code(codes_in(worse), wanted, what)


def judge_codes(image: Image.Image, label: Label, drawing: Drawing, where: str = "bitmap") -> None:
    """Raise IntegrityError if *image* does not have exactly the codes of *drawing*. *where* is for messages."""
    payload = None if drawing.code is None else label.payload
    judge_code(codes_in(image), Expected(label.serial, payload), where)
    if drawing.barcode is not None:
        judge_second_code(second_codes_in(image, drawing.barcode.barcode.kind), label.serial, where)


def _around(image: Image.Image, code: DrawnCode, dot: float) -> Image.Image:
    """Return the part of *image* with the code and its quiet zone, white beyond the label's edge."""
    quiet = code.quiet_zone * code.module
    side = round((code.symbol.side * code.module + 2 * quiet) / dot)
    left, top = _dots(code.x - quiet, code.y - quiet, dot)
    part = Image.new("L", (side, side), 255)
    part.paste(image, (-left, -top))
    return part


def _worse(image: Image.Image, dots: int) -> Iterator[tuple[Image.Image, str]]:
    """Yield *image* as a printer may print it, with the words for messages. *dots* is the side of a module."""
    yield image.filter(ImageFilter.GaussianBlur(min(_BLUR * dots, _MOST_BLUR))), "blurred bitmap"
    moved = [ImageChops.offset(image, right, down) for right, down in ((1, 0), (0, 1), (1, 1))]
    grown = shrunk = image
    for each in moved:
        grown, shrunk = ImageChops.darker(grown, each), ImageChops.lighter(shrunk, each)
    yield grown, "bitmap with one dot more ink"
    yield shrunk, "bitmap with one dot less ink"
