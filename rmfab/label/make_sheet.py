"""The maker of label sheets: draws the labels, puts them on the pages of a PDF, and reads them back.

Encoding and reading back take nearly all the time, so many labels are spread over all cores. The pages are made in one
process and are the same for any number of cores. A sheet that does not read back is never returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.label.compose import Composition
from rmfab.label.content import Label
from rmfab.label.design import LabelDesign, dot_of
from rmfab.label.draw_labels import draw_labels
from rmfab.label.drawing import Drawing
from rmfab.label.pdf import judge_start, sheet_pdf
from rmfab.label.readback import judge_resolution
from rmfab.label.sheets import SHEETS, Sheet
from rmfab.label.style import LabelStyle
from rmfab.label.style_auto import AutomaticStyle
from rmfab.label.verify_sheet import page_count, verify_sheet
from rmfab.label.warnings import LabelWarning, counted_warnings

_TOLERANCE = 0.01


@dataclass(frozen=True)
class FinishedSheet:
    """A sheet that was read back: the PDF, the numbers of pages and labels, and the warnings."""

    pdf: bytes = field(repr=False)
    pages: int
    labels: int
    warnings: tuple[LabelWarning, ...]


def make_sheet(
    labels: Iterable[Label],
    sheet: Sheet,
    dpi: int = 300,
    start_at: int = 1,
    *,
    design: LabelDesign | None = None,
    cut_marks: bool = False,
) -> FinishedSheet:
    """Return a sheet with *labels*, the first at label *start_at* (from 1) of the first page.

    *design* None: the automatic layout for the labels of the sheet. A style stands in their middle; on a sheet with one
    label per page, for a label printer, its modules and positions are whole dots of *dpi*. Raise InputError if a label
    does not fit this sheet, IntegrityError if a code on a finished page is missing, unreadable, swapped or wrong at
    *dpi* dots per inch.
    """
    judge_start(sheet, start_at)
    chosen = design or AutomaticStyle(*sheet.label)
    dot = None
    if isinstance(chosen, LabelStyle):
        _judge_size(chosen, sheet)
        dot = dot_of(dpi) if sheet.per_page == 1 else None
    wanted = tuple(labels)
    warnings: list[tuple[LabelWarning, ...]] = []
    with closing(draw_labels(wanted, chosen, dot)) as drawn:
        pdf = sheet_pdf(_noting(drawn, warnings, dpi), sheet, start_at, cut_marks=cut_marks)
    verify_sheet(pdf, wanted, sheet, dpi, start_at, design=chosen)
    return FinishedSheet(pdf, page_count(len(wanted), sheet, start_at), len(wanted), counted_warnings(warnings))


def _noting(drawn: Iterable[Composition], warnings: list[tuple[LabelWarning, ...]], dpi: int) -> Iterator[Drawing]:
    for each in drawn:
        if each.drawing.code is not None:
            judge_resolution(each.drawing.code.module, dpi)
        warnings.append(each.warnings)
        yield each.drawing


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
