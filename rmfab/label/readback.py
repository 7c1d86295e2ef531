"""The check of finished pages: they are rasterised and every code is decoded before anything is returned.

pypdfium2 rasterises and zxing-cpp decodes; neither shares code with reportlab and qrcode, which draw. Payloads are
compared byte by byte, label by label. Errors name serial and page, never the payload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pypdfium2
import zxingcpp
from PIL import Image, ImageDraw

from rmfab.errors import InputError, IntegrityError
from rmfab.label.barcode import FORMATS
from rmfab.label.sheets import Cell, Sheet
from rmfab.label.style import BarcodeKind
from rmfab.label.symbol import QUIET_ZONE, Symbol
from rmfab.secret import Secret

_FEWEST_DOTS = 2.0
_EDGE = 0.3
_BLANK = 250


@dataclass(frozen=True)
class Reading:
    """The content of one label position of a page: the payloads of its QR codes, whether it is blank, and the texts of
    its codes of the second kind."""

    codes: tuple[bytes, ...] = field(repr=False)
    blank: bool
    second: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expected:
    """The expected content of one label position of a page.

    *payload* None: it must not have a QR code. *second*: it has a second code, with the serial.
    """

    serial: str
    payload: Secret[str] | None
    second: bool = False


def codes_in(image: Image.Image) -> tuple[bytes, ...]:
    """Return the payloads of the upright QR codes in *image*."""
    found = zxingcpp.read_barcodes(
        image, formats=zxingcpp.BarcodeFormat.QRCode, try_rotate=False, try_downscale=False, try_invert=False
    )
    return tuple(bytes(code.bytes) for code in found)


def second_codes_in(image: Image.Image, kind: BarcodeKind) -> tuple[str, ...]:
    """Return the texts of the codes of *kind* in *image*."""
    found = zxingcpp.read_barcodes(image, formats=FORMATS[kind], try_rotate=False, try_downscale=False)
    return tuple(code.text for code in found)


def judge_second_code(found: Sequence[str], serial: str, where: str) -> None:
    """Raise IntegrityError if *found*, the second codes of a label, are not one with its *serial*."""
    if list(found) != [serial]:
        raise IntegrityError(
            f"the second code of {serial} cannot be read back",
            where=where,
            hint="give [barcode] more room",
            cause="label-unreadable",
        )


def picture(symbol: Symbol, dots: int = 4) -> Image.Image:
    """Return *symbol* with its quiet zone as a greyscale image with *dots* per module, as a printer would print it."""
    image = Image.new("L", ((symbol.side + 2 * QUIET_ZONE) * dots,) * 2, 255)
    draw = ImageDraw.Draw(image)
    for column, row, columns, rows in symbol.rectangles():
        left, top = (column + QUIET_ZONE) * dots, (row + QUIET_ZONE) * dots
        draw.rectangle((left, top, left + columns * dots - 1, top + rows * dots - 1), fill=0)
    return image


def page_images(pdf: bytes, dpi: int, pages: Sequence[int] | None = None) -> Iterator[Image.Image]:
    """Yield the *pages* (from 0; default: all) as greyscale images of *dpi* dots per inch."""
    with closing(pypdfium2.PdfDocument(pdf)) as document:
        for number in range(len(document)) if pages is None else pages:
            # Slightly less, because pdfium rounds up to whole dots: a page of 590.0000004 dots would become 591.
            bitmap = document[number].render(scale=dpi / 72 * (1 - 1e-6), grayscale=True)
            yield bitmap.to_pil()


def read_page(image: Image.Image, sheet: Sheet, dpi: int, second: BarcodeKind | None = None) -> list[Reading]:
    """Return what each label position of *image*, a page of *sheet*, contains. *second*: the kind of second codes."""
    return [_read_cell(image, cell, dpi, second) for cell in sheet.cells()]


def judge_page(
    readings: Sequence[Reading], expected: Sequence[Expected | None], page: int, serials: Mapping[bytes, str]
) -> None:
    """Raise IntegrityError if a page does not contain the *expected* labels, position by position.

    None is a position that must be blank. *page* counts from 1. *serials* maps payloads to serials, to report which
    labels are swapped.
    """
    for place, (reading, wanted) in enumerate(zip(readings, expected, strict=True), start=1):
        where = f"page {page}, label {place}"
        if wanted is not None:
            _judge_label(reading, wanted, where, serials)
        elif not reading.blank:
            raise IntegrityError("a label that should be blank is printed", where=where, cause="label-misplaced")


def _judge_label(reading: Reading, wanted: Expected, where: str, serials: Mapping[bytes, str]) -> None:
    if wanted.payload is None and reading.blank:
        raise IntegrityError(f"the label of {wanted.serial} is blank", where=where, cause="label-unreadable")
    judge_code(reading.codes, wanted, where, serials)
    if wanted.second:
        judge_second_code(reading.second, wanted.serial, where)


def judge_code(
    codes: Sequence[bytes], wanted: Expected, where: str, serials: Mapping[bytes, str] | None = None
) -> None:
    """Raise IntegrityError if the *codes* of one label position are not exactly the *wanted* one."""
    if wanted.payload is None:
        _judge_no_code(codes, wanted.serial, where)
        return
    payload = wanted.payload.reveal().encode()
    if len(codes) == 1 and codes[0] == payload:
        return
    if not codes:
        raise IntegrityError(
            f"the code of {wanted.serial} cannot be read back", where=where, hint=_HINT, cause="label-unreadable"
        )
    other = (serials or {}).get(next((code for code in codes if code != payload), b""))
    held = f"the code of {other}" if other else "an unknown code"
    raise IntegrityError(f"the label of {wanted.serial} has {held}", where=where, hint=_HINT, cause="label-mismatch")


def _judge_no_code(codes: Sequence[bytes], serial: str, where: str) -> None:
    if codes:
        what = f"the label of {serial} has a QR code and should have none"
        raise IntegrityError(what, where=where, cause="label-mismatch")


_HINT = (
    "nothing was written; choose larger labels or a higher [label] dpi, and report a bug if a label has a wrong code"
)


def judge_resolution(module: float, dpi: int) -> None:
    """Raise InputError if *dpi* is too low for modules of *module* mm."""
    if module * dpi / 25.4 < _FEWEST_DOTS:
        least = int(_FEWEST_DOTS * 25.4 / module) + 1
        raise InputError(
            f"cannot read back modules of {module:.2f} mm at {dpi} dots per inch",
            hint=f"set [label] dpi to {least} or more",
        )


def svg_image(data: bytes) -> Image.Image:
    """Return the codes of an SVG file that `picture.svg` wrote as an image, from the paths in its bytes.

    This is not a general SVG renderer: it supports a white background, and translated and scaled paths of rectangles.
    """
    text = data.decode()
    box = re.search(r"viewBox='0 0 ([\d.]+) ([\d.]+)'", text)
    if box is None:
        return Image.new("L", (1, 1), 255)
    image = Image.new("L", (round(float(box[1]) * _SVG_DOTS), round(float(box[2]) * _SVG_DOTS)), 255)
    for path in _SVG_PATH.finditer(text):
        scale = float(path["scale"]), float(path["down"] or path["scale"])
        _fill_rectangles(image, (float(path["x"]), float(path["y"])), scale, path["d"])
    return image


_SVG_DOTS = 24.0
_SVG_PATH = re.compile(
    r"<path transform='translate\((?P<x>[\d.]+) (?P<y>[\d.]+)\) scale\((?P<scale>[\d.]+)(?: (?P<down>[\d.]+))?\)'"
    r"[^>]* d='(?P<d>[^']*)'"
)
_SVG_RECTANGLE = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)h-\3z")


def _fill_rectangles(image: Image.Image, corner: tuple[float, float], scale: tuple[float, float], path: str) -> None:
    draw = ImageDraw.Draw(image)
    for rectangle in _SVG_RECTANGLE.finditer(path):
        column, row, columns, rows = map(int, rectangle.groups())
        left, top = (corner[0] + column * scale[0]) * _SVG_DOTS, (corner[1] + row * scale[1]) * _SVG_DOTS
        right, bottom = left + columns * scale[0] * _SVG_DOTS, top + rows * scale[1] * _SVG_DOTS
        draw.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), fill=0)


def _read_cell(image: Image.Image, cell: Cell, dpi: int, second: BarcodeKind | None) -> Reading:
    cut = image.crop(_pixels(cell, dpi, 0.0))
    darkest = image.crop(_pixels(cell, dpi, _EDGE)).getextrema()[0]
    if isinstance(darkest, int | float) and darkest >= _BLANK:
        return Reading((), blank=True)
    return Reading(codes_in(cut), False, () if second is None else second_codes_in(cut, second))


def _pixels(cell: Cell, dpi: int, inset: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a cell in pixels, reduced by *inset* mm on each side."""
    scale = dpi / 25.4
    return (
        round((cell.x + inset) * scale),
        round((cell.y + inset) * scale),
        round((cell.x + cell.width - inset) * scale),
        round((cell.y + cell.height - inset) * scale),
    )
