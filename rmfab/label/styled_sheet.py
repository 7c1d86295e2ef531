"""Sheets of labels in a style, and pages with one label each: drawn, and read back label by label."""

from __future__ import annotations

from collections.abc import Sequence

from rmfab.errors import InputError, IntegrityError
from rmfab.label.compose import Composition, compose
from rmfab.label.content import Label
from rmfab.label.fonts import width_on_paper
from rmfab.label.make_sheet import FinishedSheet
from rmfab.label.pdf import judge_start, sheet_pdf
from rmfab.label.print_raster import dot_of, judge_codes
from rmfab.label.readback import cell_image, judge_page, judge_resolution, page_images, read_page
from rmfab.label.sheets import SHEETS, Sheet
from rmfab.label.style import LabelStyle
from rmfab.label.verify_sheet import page_count
from rmfab.label.warnings import counted_warnings

_TOLERANCE = 0.01


def single_label_sheet(width: float, height: float) -> Sheet:
    """Return the sheet for one label per page, as label printers with a driver want it."""
    size = (width, height)
    return Sheet(f"{width:g}x{height:g}", size, size, 1, 1, (0.0, 0.0), size)


def make_styled_sheet(
    labels: Sequence[Label], style: LabelStyle, sheet: Sheet, dpi: int = 300, start_at: int = 1, *, cut_marks: bool
) -> FinishedSheet:
    """Return a sheet with *labels* in *style*, in the middle of its labels. Raise as `make_sheet` and `compose`.

    One label per page is for a label printer: modules and positions are whole dots of its *dpi*.
    """
    judge_start(sheet, start_at)
    _judge_size(style, sheet)
    dot = dot_of(dpi) if sheet.per_page == 1 else None
    made = [compose(label, style, dot, width_on_paper) for label in labels]
    for each in made:
        if each.drawing.code is not None:
            judge_resolution(each.drawing.code.module, dpi)
    pdf = sheet_pdf((each.drawing for each in made), sheet, start_at, cut_marks=cut_marks)
    _verify(pdf, labels, made, sheet, dpi, start_at)
    warnings = counted_warnings(each.warnings for each in made)
    return FinishedSheet(pdf, page_count(len(labels), sheet, start_at), len(labels), warnings)


def _judge_size(style: LabelStyle, sheet: Sheet) -> None:
    if _fits(style, sheet):
        return
    fitting = [each.name for each in SHEETS if _fits(style, each)]
    raise InputError(
        f"style {style} ({style.width:g} x {style.height:g} mm) is larger than the labels of sheet {sheet} "
        f"({sheet.label[0]:g} x {sheet.label[1]:g} mm)",
        hint=f"sheets that fit: {', '.join(fitting)}" if fitting else "leave --sheet out for one label per page",
        cause="style-too-large",
    )


def _fits(style: LabelStyle, sheet: Sheet) -> bool:
    return style.width <= sheet.label[0] + _TOLERANCE and style.height <= sheet.label[1] + _TOLERANCE


def _verify(
    pdf: bytes, labels: Sequence[Label], made: Sequence[Composition], sheet: Sheet, dpi: int, start_at: int
) -> None:
    """Read back *pdf* label by label. Raise IntegrityError if one is not what it should be."""
    at = 1 - start_at
    for number, page in enumerate(page_images(pdf, dpi), 1):
        readings = read_page(page, sheet, dpi)
        for place, (cell, reading) in enumerate(zip(sheet.cells(), readings, strict=True), 1):
            where = f"page {number}, label {place}"
            if not 0 <= at < len(labels):
                judge_page([reading], [None], number, {})
            elif reading.blank:
                what = f"the label of {labels[at].serial} is blank"
                raise IntegrityError(what, where=where, cause="label-unreadable")
            else:
                judge_codes(cell_image(page, cell, dpi), labels[at], made[at].drawing, where)
            at += 1
