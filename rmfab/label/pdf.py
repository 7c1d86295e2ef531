"""The PDF of a label sheet: vector modules, embedded fonts, and the same bytes for the same labels.

Only this module imports reportlab's canvas. All dark modules of a code are one path of disjoint rectangles with
integer corners, in units of a module. The path is filled at once, so no renderer shows seams between modules.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

from reportlab.pdfgen.canvas import Canvas

from rmfab.errors import InputError
from rmfab.label.layout import Artwork
from rmfab.label.sheets import Cell, Sheet
from rmfab.label.text import MM
from rmfab.label.typeface import font_name

_MARK_LENGTH = 1.0
_MARK_GREY = 0.6


def sheet_pdf(artworks: Iterable[Artwork], sheet: Sheet, start_at: int = 1, *, cut_marks: bool = False) -> bytes:
    """Return the PDF of *artworks*, the first at label *start_at* (from 1) of the first page.

    Raise InputError if *start_at* is not on the sheet, or there are no labels.
    """
    judge_start(sheet, start_at)
    stream = io.BytesIO()
    canvas = _canvas(stream, *sheet.page)
    cells = list(sheet.cells())
    place = start_at - 1
    drawn = False
    for artwork in artworks:
        if place == sheet.per_page:
            _end_page(canvas, cells if cut_marks else [], sheet)
            place = 0
        _draw_at(canvas, artwork, cells[place], sheet.page[1])
        place += 1
        drawn = True
    if not drawn:
        raise InputError("there are no labels to print")
    _end_page(canvas, cells if cut_marks else [], sheet)
    canvas.save()
    return stream.getvalue()


def single_pdf(artwork: Artwork) -> bytes:
    """Return a PDF with one page of the label's size."""
    stream = io.BytesIO()
    layout = artwork.layout
    canvas = _canvas(stream, layout.width, layout.height)
    _draw_at(canvas, artwork, Cell(0.0, 0.0, layout.width, layout.height), layout.height)
    canvas.showPage()
    canvas.save()
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


def _draw_at(canvas: Canvas, artwork: Artwork, cell: Cell, page_height: float) -> None:
    """Draw a label into its cell. PDF coordinates start at the bottom of the page."""
    canvas.saveState()
    canvas.translate(cell.x / MM, (page_height - cell.y) / MM)
    _draw_text(canvas, artwork)
    _draw_code(canvas, artwork)
    canvas.restoreState()


def _draw_text(canvas: Canvas, artwork: Artwork) -> None:
    for run in artwork.layout.runs:
        canvas.setFont(font_name(run.face), run.size)
        canvas.drawString(run.x / MM, -run.baseline / MM, run.text)


def _draw_code(canvas: Canvas, artwork: Artwork) -> None:
    layout = artwork.layout
    canvas.translate(layout.code[0] / MM, -layout.code[1] / MM)
    canvas.scale(layout.module / MM, layout.module / MM)
    canvas.addLiteral(artwork.symbol.path)


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
