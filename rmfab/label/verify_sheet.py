"""Reads a finished sheet back, page by page, on all cores if there are enough labels.

Separate from the drawing so that a worker process imports only what reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmfab.label.readback import Expected, Reading, judge_page, page_images, read_page
from rmfab.label.sheets import Sheet
from rmfab.workers.crew import cores, open_crew

if TYPE_CHECKING:
    from rmfab.label.content import Label

_WORTH_SPREADING = 200


def verify_sheet(pdf: bytes, labels: Sequence[Label], sheet: Sheet, dpi: int = 300, start_at: int = 1) -> None:
    """Reads every page of *pdf* back and compares it with *labels*, place by place. Raises IntegrityError."""
    serials = {label.payload.reveal().encode(): label.serial for label in labels}
    pages = range(page_count(len(labels), sheet, start_at))
    jobs = min(cores(), len(pages)) if len(labels) >= _WORTH_SPREADING else 1
    with open_crew(_Reader, (pdf, sheet, dpi), jobs) as crew:
        for number, readings in crew.run(_Reader.read, pages):
            judge_page(readings, _expected(labels, sheet, start_at, number), number + 1, serials)


def page_count(labels: int, sheet: Sheet, start_at: int) -> int:
    """How many pages so many *labels* take, the first at label *start_at* of the first page."""
    return -(-(start_at - 1 + labels) // sheet.per_page)


class _Reader:
    """Reads pages of the document that it holds."""

    def __init__(self, document: tuple[bytes, Sheet, int]) -> None:
        self._pdf, self._sheet, self._dpi = document

    def read(self, number: int) -> list[Reading]:
        """What page *number* (from 0) carries on each of its places."""
        (image,) = page_images(self._pdf, self._dpi, (number,))
        return read_page(image, self._sheet, self._dpi)


def _expected(labels: Sequence[Label], sheet: Sheet, start_at: int, number: int) -> list[Expected | None]:
    """What each place of page *number* (from 0) must carry."""
    first = number * sheet.per_page - (start_at - 1)
    places = range(first, first + sheet.per_page)
    return [Expected(labels[n].serial, labels[n].payload) if 0 <= n < len(labels) else None for n in places]
