"""The press: labels become a sheet PDF that was laid out, drawn and read back.

Encoding and reading back take nearly all the time, so a long run is spread over all cores; the page is drawn in one
place and the same whatever the number of cores. Nothing that failed to read back is ever returned.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rmfab.label.content import Label
from rmfab.label.layout import Artwork, Layout, make_artwork
from rmfab.label.pdf import check_start, sheet_pdf
from rmfab.label.readback import Expected, Reading, check_resolution, judge_page, page_images, read_page
from rmfab.label.sheets import Sheet
from rmfab.label.warnings import LabelWarning, label_warnings
from rmfab.secret import Secret

T = TypeVar("T")
R = TypeVar("R")
Plain = tuple[str, str, str, str, str]

_WORTH_SPREADING = 200
_LABELS_AT_ONCE = 16


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
    check_start(sheet, start_at)
    wanted = tuple(labels)
    layouts: list[Layout] = []
    drawn = _noting(make_artworks(wanted, *sheet.label), layouts, dpi)
    pdf = sheet_pdf(drawn, sheet, start_at, cut_marks=cut_marks)
    verify_sheet(pdf, wanted, sheet, dpi, start_at)
    return FinishedSheet(pdf, _pages(len(wanted), sheet, start_at), len(wanted), label_warnings(wanted, layouts))


def make_artworks(labels: Sequence[Label], width: float, height: float) -> Iterator[Artwork]:
    """The drawings of *labels* on *width* x *height* mm in their order, made on all cores where there are many."""
    # A Secret does not travel to another process; the plain values do, through a pipe that nobody else reads.
    plain = [
        (label.product, label.serial, label.service_name, label.pop.reveal(), label.payload.reveal())
        for label in labels
    ]
    work = partial(_artwork, width, height)
    return spread(work, plain, _LABELS_AT_ONCE) if len(plain) >= _WORTH_SPREADING else map(work, plain)


def verify_sheet(pdf: bytes, labels: Sequence[Label], sheet: Sheet, dpi: int = 300, start_at: int = 1) -> None:
    """Reads every page of *pdf* back and compares it with *labels*, place by place. Raises IntegrityError."""
    serials = {label.payload.reveal().encode(): label.serial for label in labels}
    pages = range(_pages(len(labels), sheet, start_at))
    if len(labels) >= _WORTH_SPREADING and len(pages) > 1:
        read = spread(partial(_read_held, sheet, dpi), pages, 1, pdf)
    else:
        read = map(partial(_read, pdf, sheet, dpi), pages)
    for number, readings in zip(pages, read, strict=True):
        judge_page(readings, _expected(labels, sheet, start_at, number), number + 1, serials)


def spread(function: Callable[[T], R], items: Sequence[T], at_once: int, document: bytes = b"") -> Iterator[R]:
    """*function* of each item in their order, over all cores; each worker holds *document*."""
    # Forking is quick and needs no importable main module, but is only safe while there is a single thread.
    method = "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"
    context = multiprocessing.get_context(method)
    crew = ProcessPoolExecutor(_cores(), context, initializer=_hold, initargs=(document,))
    try:
        yield from crew.map(function, items, chunksize=at_once)
    finally:
        crew.shutdown(cancel_futures=True)


class _Held:
    """The document in a worker process, which receives it once and not with every page."""

    document = b""


def _hold(document: bytes) -> None:
    _Held.document = document


def _read_held(sheet: Sheet, dpi: int, number: int) -> list[Reading]:
    return _read(_Held.document, sheet, dpi, number)


def _read(pdf: bytes, sheet: Sheet, dpi: int, number: int) -> list[Reading]:
    (image,) = page_images(pdf, dpi, (number,))
    return read_page(image, sheet, dpi)


def _artwork(width: float, height: float, plain: Plain) -> Artwork:
    product, serial, name, pop, payload = plain
    return make_artwork(Label(product, serial, name, Secret(pop), Secret(payload)), width, height)


def _noting(artworks: Iterable[Artwork], layouts: list[Layout], dpi: int) -> Iterator[Artwork]:
    for artwork in artworks:
        check_resolution(artwork.layout.module, dpi)
        layouts.append(artwork.layout)
        yield artwork


def _pages(labels: int, sheet: Sheet, start_at: int) -> int:
    return -(-(start_at - 1 + labels) // sheet.per_page)


def _expected(labels: Sequence[Label], sheet: Sheet, start_at: int, number: int) -> list[Expected | None]:
    """What each place of page *number* (from 0) must carry."""
    first = number * sheet.per_page - (start_at - 1)
    places = range(first, first + sheet.per_page)
    return [Expected(labels[n].serial, labels[n].payload) if 0 <= n < len(labels) else None for n in places]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
