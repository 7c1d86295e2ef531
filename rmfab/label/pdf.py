"""The PDF of a label sheet: vector modules, embedded fonts, and the same bytes for the same labels.

Only this module imports reportlab's canvas. All dark modules of a code are one path of disjoint rectangles with
integer corners, in units of a module. The path is filled at once, so no renderer shows seams between modules.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from rmfab.errors import InputError
from rmfab.label.drawing import Drawing, DrawnBarcode, DrawnCode, DrawnLogo
from rmfab.label.fonts import registered
from rmfab.label.logo import PAGE_DOT
from rmfab.label.sheets import Cell, Sheet
from rmfab.label.text import MM
from rmfab.label.typeface import reading_font

_MARK_LENGTH = 1.0
_MARK_GREY = 0.6


def sheet_pdf(drawings: Iterable[Drawing], sheet: Sheet, start_at: int = 1, *, cut_marks: bool = False) -> bytes:
    """Return the PDF of *drawings*, the first at label *start_at* (from 1) of the first page.

    A drawing that is smaller than the labels of the sheet stands in their middle.

    Raise InputError if *start_at* is not on the sheet, there are no labels, or a font is damaged.
    """
    judge_start(sheet, start_at)
    stream = io.BytesIO()
    canvas = _canvas(stream, *sheet.page)
    cells = list(sheet.cells())
    place = start_at - 1
    fonts: set[str] = set()
    drawn = False
    for drawing in drawings:
        if place == sheet.per_page:
            _end_page(canvas, cells if cut_marks else [], sheet)
            place = 0
        _draw_at(canvas, drawing, cells[place], sheet.page[1])
        fonts.update(str(text.font.path) for text in drawing.texts)
        place += 1
        drawn = True
    if not drawn:
        raise InputError("there are no labels to print")
    _end_page(canvas, cells if cut_marks else [], sheet)
    with reading_font(", ".join(sorted(fonts))):
        canvas.save()  # reads the outlines of the letters that the labels have
    return stream.getvalue()


def judge_start(sheet: Sheet, start_at: int) -> None:
    """Raise InputError if the sheet has no label *start_at*."""
    if not 1 <= start_at <= sheet.per_page:
        raise InputError(
            f"sheet {sheet} has no label {start_at}", hint=f"choose 1 to {sheet.per_page}, counted row by row"
        )


def _canvas(stream: io.BytesIO, width: float, height: float) -> Canvas:
    canvas = Canvas(stream, pagesize=(width / MM, height / MM), pageCompression=1, invariant=1)
    canvas.setTitle("Labels")
    canvas.setAuthor("")
    canvas.setCreator("rmfab")
    canvas.setViewerPreference("PrintScaling", "None")
    return canvas


def _draw_at(canvas: Canvas, drawing: Drawing, cell: Cell, page_height: float) -> None:
    """Draw a label into the middle of its cell. PDF coordinates start at the bottom of the page."""
    x, y = cell.x + (cell.width - drawing.width) / 2, cell.y + (cell.height - drawing.height) / 2
    canvas.saveState()
    canvas.translate(x / MM, (page_height - y) / MM)
    if drawing.logo is not None:
        _draw_logo(canvas, drawing.logo)
    for text in drawing.texts:
        canvas.setFont(registered(text.font), text.size)
        canvas.drawString(text.x / MM, -text.baseline / MM, text.text)
    if drawing.barcode is not None:
        canvas.saveState()
        _draw_modules(canvas, drawing.barcode, drawing.barcode.barcode.path)
        canvas.restoreState()
    if drawing.code is not None:
        _draw_modules(canvas, drawing.code, drawing.code.symbol.path)
    canvas.restoreState()


def _draw_logo(canvas: Canvas, place: DrawnLogo) -> None:
    dots = max(1, round(place.width / PAGE_DOT)), max(1, round(place.height / PAGE_DOT))
    image = ImageReader(place.logo.on_dots(*dots))
    x, y = place.x / MM, -(place.y + place.height) / MM
    canvas.drawImage(image, x, y, place.width / MM, place.height / MM)


def _draw_modules(canvas: Canvas, place: DrawnCode | DrawnBarcode, path: str) -> None:
    canvas.translate(place.x / MM, -place.y / MM)
    canvas.scale(place.module / MM, place.module_height / MM)
    canvas.addLiteral(path)


def _end_page(canvas: Canvas, marked: Iterable[Cell], sheet: Sheet) -> None:
    canvas.setLineWidth(0.2)
    canvas.setStrokeGray(_MARK_GREY)
    for cell in marked:
        _draw_marks(canvas, cell, sheet.page[1])
    canvas.showPage()


def _draw_marks(canvas: Canvas, cell: Cell, page_height: float) -> None:
    """Draw a mark along each edge at each corner of a label."""
    top, bottom = page_height - cell.y, page_height - cell.y - cell.height
    for x, inwards in ((cell.x, _MARK_LENGTH), (cell.x + cell.width, -_MARK_LENGTH)):
        for y, down in ((top, -_MARK_LENGTH), (bottom, _MARK_LENGTH)):
            canvas.line(x / MM, y / MM, (x + inwards) / MM, y / MM)
            canvas.line(x / MM, y / MM, x / MM, (y + down) / MM)
