"""The read-back of a finished sheet, page by page, on all cores if there are enough labels.

Separate from the drawing, so that a worker process imports only the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmfab.label.readback import Expected, Reading, judge_page, page_images, read_page
from rmfab.label.sheets import Sheet
from rmfab.label.style import BarcodeKind
from rmfab.workers.crew import cores, open_crew

if TYPE_CHECKING:
    from rmfab.label.content import Label
    from rmfab.label.design import LabelDesign

_WORTH_SPREADING = 200


def verify_sheet(
    pdf: bytes,
    labels: Sequence[Label],
    sheet: Sheet,
    dpi: int = 300,
    start_at: int = 1,
    *,
    design: LabelDesign | None = None,
) -> None:
    """Read back *pdf* page by page. Raise IntegrityError if a page does not have its *labels* in their positions, with
    the codes of *design*: one QR code each, if it is None."""
    serials = {label.payload.reveal().encode(): label.serial for label in labels}
    wanted = [_expected(label, design) for label in labels]
    pages = range(page_count(len(labels), sheet, start_at))
    jobs = min(cores(), len(pages)) if len(labels) >= _WORTH_SPREADING else 1
    second = None if design is None else design.second_code
    with open_crew(_Reader, (pdf, sheet, dpi, second), jobs) as crew:
        for number, readings in crew.run(_Reader.read, pages):
            judge_page(readings, _on_page(wanted, sheet, start_at, number), number + 1, serials)


def page_count(labels: int, sheet: Sheet, start_at: int) -> int:
    """Return the number of pages for *labels* labels, the first at label *start_at* of the first page."""
    return -(-(start_at - 1 + labels) // sheet.per_page)


class _Reader:
    """The worker that reads pages of one document."""

    def __init__(self, document: tuple[bytes, Sheet, int, BarcodeKind | None]) -> None:
        self._pdf, self._sheet, self._dpi, self._second = document

    def read(self, number: int) -> list[Reading]:
        """Return what each label position of page *number* (from 0) contains."""
        (image,) = page_images(self._pdf, self._dpi, (number,))
        return read_page(image, self._sheet, self._dpi, self._second)


def _expected(label: Label, design: LabelDesign | None) -> Expected:
    """Return what is expected of *label*: the second code has its serial."""
    payload = label.payload if design is None or design.has_code else None
    return Expected(label.serial, payload, design is not None and design.second_code is not None)


def _on_page(wanted: Sequence[Expected], sheet: Sheet, start_at: int, number: int) -> list[Expected | None]:
    """Return what each label position of page *number* (from 0) must contain."""
    first = number * sheet.per_page - (start_at - 1)
    places = range(first, first + sheet.per_page)
    return [wanted[at] if 0 <= at < len(wanted) else None for at in places]
