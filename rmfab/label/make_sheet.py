"""The press: labels become a sheet PDF that was laid out, drawn and read back.

Encoding and reading back take nearly all the time, so a long run is spread over all cores; the page is drawn in one
place and the same whatever the number of cores. Nothing that failed to read back is ever returned.
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
    """A sheet that was read back: the PDF, its pages and labels, and what to warn of."""

    pdf: bytes = field(repr=False)
    pages: int
    labels: int
    warnings: tuple[LabelWarning, ...]


def make_sheet(
    labels: Iterable[Label], sheet: Sheet, dpi: int = 300, start_at: int = 1, *, cut_marks: bool = False
) -> FinishedSheet:
    """Lays out, draws and reads back *labels* on *sheet*, the first at label *start_at* (from 1) of the first page.

    Raises InputError where a label cannot be printed on this sheet, IntegrityError where a code on the finished page
    is missing, unreadable, swapped or different at *dpi* dots per inch.
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
