"""Labels that try a printer: a ruler with codes of growing modules, and the test code for scanners.

They show no identity and have no PoP. Each is drawn in dots of the printer, as labels of units are.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from rmfab.errors import InputError
from rmfab.label.raster import Raster
from rmfab.label.scan import TEST_CODE
from rmfab.label.symbol import QUIET_ZONE, encode
from rmfab.secret import Secret

_MM_PER_INCH = 25.4
_BLACK, _WHITE = 0, 255
_TEXT_MM = 2.4
_TICK_MM, _LONG_TICK_MM = 1.0, 2.0
_LADDER = (2, 3, 4, 5, 6)
_LEAST_MODULE = 2
_WANTED_MODULE_MM = 0.4


@dataclass(frozen=True)
class Canvas:
    """A white label of *width* x *height* dots at *dpi*."""

    width: int
    height: int
    dpi: int

    def dots(self, mm: float) -> int:
        """Return a length in dots, at least one."""
        return max(1, round(mm / _MM_PER_INCH * self.dpi))

    def image(self) -> Image.Image:
        """Return the empty picture."""
        return Image.new("L", (self.width, self.height), _WHITE)


def ruler_label(canvas: Canvas) -> Raster:
    """Return a frame at the edge, rulers in mm, the resolution, and codes with modules of 2, 3, 4 … dots.

    The frame shows size and offset, the rulers the resolution, and the codes which modules are still clean.
    """
    image = canvas.image()
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    draw.rectangle((0, 0, canvas.width - 1, canvas.height - 1), outline=_BLACK)
    _rulers(canvas, draw)
    size = canvas.dots(_TEXT_MM)
    font = ImageFont.load_default(size)
    left = top = canvas.dots(_LONG_TICK_MM) + 2
    for text in _texts(canvas):
        if left + draw.textlength(text, font) < canvas.width - 2 and top + 1.3 * size < canvas.height:
            draw.text((left, top), text, _BLACK, font)
            top += round(1.2 * size)
            break
    _ladder(canvas, image, left, top, size)
    return Raster.of_image(image)


def _texts(canvas: Canvas) -> tuple[str, ...]:
    """Return what fits a wide label, and shorter texts for narrow ones."""
    width, height = (dots / canvas.dpi * _MM_PER_INCH for dots in (canvas.width, canvas.height))
    return (
        f"{width:.1f} x {height:.1f} mm, {canvas.dpi} dpi, {canvas.width} x {canvas.height} dots",
        f"{width:.1f} x {height:.1f} mm, {canvas.dpi} dpi",
        f"{canvas.dpi} dpi",
    )


def _rulers(canvas: Canvas, draw: ImageDraw.ImageDraw) -> None:
    """Draw ticks along the top and the left edge, longer ones each 5 mm."""
    for end, across in ((canvas.width, True), (canvas.height, False)):
        for mm in range(1, int(end / canvas.dpi * _MM_PER_INCH) + 1):
            at = round(mm / _MM_PER_INCH * canvas.dpi)
            length = canvas.dots(_LONG_TICK_MM if mm % 5 == 0 else _TICK_MM)
            draw.line((at, 0, at, length) if across else (0, at, length, at), fill=_BLACK)


def _ladder(canvas: Canvas, image: Image.Image, left: int, top: int, size: int) -> None:
    """Draw as many codes as fit, on one line, each of *n* dots per module with that number below it."""
    codes: list[tuple[int, Image.Image]] = []
    at = left
    for dots in _LADDER:
        code = _code(f"RMFAB {dots}", dots)
        if at + code.width > canvas.width - 2 or top + code.height > canvas.height - 2:
            break
        codes.append((at, code))
        at += code.width + 2 * dots  # beside the quiet zone of the next code
    line = top + max((code.height for _, code in codes), default=0)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    draw.fontmode = "1"
    for dots, (at, code) in zip(_LADDER, codes, strict=False):
        image.paste(code, (at, line - code.height))
        if line + 1.3 * size < canvas.height:
            draw.text((at + code.width / 2, line), str(dots), _BLACK, font, anchor="ma")


def code_label(canvas: Canvas) -> Raster:
    """Return the test code for scanners, in modules of about 0.4 mm. Raise InputError if the label is too small."""
    size = canvas.dots(_TEXT_MM)
    room = round(1.4 * size)
    wanted = max(_LEAST_MODULE, round(_WANTED_MODULE_MM / _MM_PER_INCH * canvas.dpi))
    least = _code(TEST_CODE, 1).width
    dots = min(wanted, canvas.width // least, (canvas.height - room) // least)
    if dots < _LEAST_MODULE:
        side = _LEAST_MODULE * least / canvas.dpi * _MM_PER_INCH
        below = room / canvas.dpi * _MM_PER_INCH
        raise InputError(
            "the labels are too small for the test code",
            hint=f"it needs {side:.0f} x {side + below:.0f} mm at {canvas.dpi} dpi; print it as a sheet or on a screen",
            cause="code-too-small",
        )
    image = canvas.image()
    code = _code(TEST_CODE, dots)
    left, top = (canvas.width - code.width) // 2, (canvas.height - room - code.height) // 2
    image.paste(code, (left, top))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    place = (canvas.width / 2, top + code.height)
    draw.text(place, "scanner test", _BLACK, ImageFont.load_default(size), anchor="ma")
    return Raster.of_image(image)


def _code(text: str, dots: int) -> Image.Image:
    """Return the symbol of *text* with its quiet zone."""
    symbol = encode(Secret(text))
    side = symbol.side + 2 * QUIET_ZONE
    image = Image.new("L", (side, side), _WHITE)
    for row, modules in enumerate(symbol.modules):
        for column, dark in enumerate(modules):
            if dark:
                image.putpixel((QUIET_ZONE + column, QUIET_ZONE + row), _BLACK)
    return image.resize((side * dots, side * dots), Image.Resampling.NEAREST)
