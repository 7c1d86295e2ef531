"""The maker of label sheets: lays out, draws and reads back a PDF.

Encoding and reading back take nearly all the time, so many labels are spread over all cores. The pages are drawn in
one process and are the same for any number of cores. A sheet that does not read back is never returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from rmfab.label.content import Label
from rmfab.label.draw_labels import make_artworks
from rmfab.label.layout import Artwork, Layout
from rmfab.label.pdf import judge_start, sheet_pdf
from rmfab.label.readback import judge_resolution
from rmfab.label.sheets import Sheet
from rmfab.label.verify_sheet import page_count, verify_sheet
from rmfab.label.warnings import LabelWarning, label_warnings


@dataclass(frozen=True)
class FinishedSheet:
    """A sheet that was read back: the PDF, the numbers of pages and labels, and the warnings."""

    pdf: bytes = field(repr=False)
    pages: int
    labels: int
    warnings: tuple[LabelWarning, ...]


def make_sheet(
    labels: Iterable[Label], sheet: Sheet, dpi: int = 300, start_at: int = 1, *, cut_marks: bool = False
) -> FinishedSheet:
    """Return a sheet with *labels*, the first at label *start_at* (from 1) of the first page.

    Raise InputError if a label does not fit this sheet, IntegrityError if a code on a finished page is missing,
    unreadable, swapped or wrong at *dpi* dots per inch.
    """
    judge_start(sheet, start_at)
    wanted = tuple(labels)
    layouts: list[Layout] = []
    with closing(make_artworks(wanted, *sheet.label)) as artworks:
        pdf = sheet_pdf(_noting(artworks, layouts, dpi), sheet, start_at, cut_marks=cut_marks)
    verify_sheet(pdf, wanted, sheet, dpi, start_at)
    return FinishedSheet(pdf, page_count(len(wanted), sheet, start_at), len(wanted), label_warnings(wanted, layouts))


def _noting(artworks: Iterable[Artwork], layouts: list[Layout], dpi: int) -> Iterator[Artwork]:
    for artwork in artworks:
        judge_resolution(artwork.layout.module, dpi)
        layouts.append(artwork.layout)
        yield artwork
