"""The label sheets that rmfab supports, in millimetres.

A sheet has a page size, a label size, columns and rows, the left and top edge of the first label, and the pitch from
one label to the next. Sources: LibreOffice labels.xml, glabels templates. A sheet is listed only if these sources agree
and its labels are centred on the page.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from rmfab.errors import InputError

A4 = (210.0, 297.0)
LETTER = (215.9, 279.4)


@dataclass(frozen=True)
class Cell:
    """The place of one label on its page, in mm from the page's top left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Sheet:
    """The geometry of a label sheet in mm. Labels are counted from 1, row by row."""

    name: str
    page: tuple[float, float]
    label: tuple[float, float]
    columns: int
    rows: int
    first: tuple[float, float]
    pitch: tuple[float, float]

    def __post_init__(self) -> None:
        for start, pitch, count, size, page in zip(
            self.first, self.pitch, (self.columns, self.rows), self.label, self.page, strict=True
        ):
            if count < 1 or size <= 0 or start < 0 or (count > 1 and pitch < size):
                raise InputError(f"sheet {self.name} has overlapping or empty labels")
            if start + (count - 1) * pitch + size > page + 0.01:
                raise InputError(f"sheet {self.name} has labels beyond the edge of its page")

    @property
    def per_page(self) -> int:
        """The number of labels per page."""
        return self.columns * self.rows

    def cells(self) -> Iterator[Cell]:
        """Yield the places of the labels of a page, row by row."""
        for row in range(self.rows):
            for column in range(self.columns):
                x, y = self.first[0] + column * self.pitch[0], self.first[1] + row * self.pitch[1]
                yield Cell(x, y, *self.label)

    def __str__(self) -> str:
        return self.name


SHEETS = (
    Sheet("L7651", A4, (38.10, 21.17), 5, 13, (4.67, 10.90), (40.64, 21.17)),
    Sheet("L7160", A4, (63.50, 38.10), 3, 7, (7.20, 15.15), (66.04, 38.10)),
    Sheet("L7159", A4, (64.00, 33.86), 3, 8, (6.46, 13.06), (66.54, 33.86)),
    Sheet("L7163", A4, (99.06, 38.10), 2, 7, (4.67, 15.15), (101.60, 38.10)),
    Sheet("L4731", A4, (25.40, 10.00), 7, 27, (8.48, 13.50), (27.94, 10.00)),
    Sheet("L7658", A4, (25.40, 10.00), 7, 27, (8.48, 13.50), (27.94, 10.00)),
    Sheet("L4730", A4, (17.78, 10.00), 10, 27, (4.67, 13.50), (20.32, 10.00)),
    Sheet("L7657", A4, (17.78, 10.00), 10, 27, (4.67, 13.50), (20.32, 10.00)),
    Sheet("5160", LETTER, (66.68, 25.40), 3, 10, (4.76, 12.70), (69.85, 25.40)),
    Sheet("8160", LETTER, (66.68, 25.40), 3, 10, (4.76, 12.70), (69.85, 25.40)),
    Sheet("5167", LETTER, (44.45, 12.70), 4, 20, (7.14, 12.70), (52.40, 12.70)),
    Sheet("8167", LETTER, (44.45, 12.70), 4, 20, (7.14, 12.70), (52.40, 12.70)),
    Sheet("94103", LETTER, (25.40, 25.40), 6, 8, (15.875, 15.875), (31.75, 31.75)),
    Sheet("OL5425", LETTER, (25.40, 25.40), 8, 10, (6.35, 12.70), (25.40, 25.40)),
)


def single_label_sheet(width: float, height: float) -> Sheet:
    """Return the sheet for one label per page, as label printers with a driver want it."""
    size = (width, height)
    return Sheet(f"{width:g}x{height:g}", size, size, 1, 1, (0.0, 0.0), size)


def sheet(name: str) -> Sheet:
    """Return the sheet *name*; case, spaces and the maker's name are ignored. Raise InputError if there is none."""
    wanted = _plain(name)
    known = {_plain(each.name): each for each in SHEETS}
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    names = ", ".join(each.name for each in SHEETS)
    hint = f"did you mean {' or '.join(known[each].name for each in near)}? " if near else ""
    raise InputError(f'unknown label sheet "{name}"', hint=f"{hint}known sheets: {names}", cause="unknown-sheet")


def _plain(name: str) -> str:
    letters = "".join(letter for letter in name.upper() if letter.isalnum())
    return letters.removeprefix("AVERY").removeprefix("ZWECKFORM").removeprefix("ONLINELABELS")
