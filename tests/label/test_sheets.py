"""Label sheets: their geometry, and the search by name."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rmfab.errors import InputError
from rmfab.label.sheets import SHEETS, Sheet, sheet


@pytest.mark.parametrize("each", SHEETS, ids=str)
def test_labels_sit_in_the_middle_of_the_page(each: Sheet) -> None:
    """Left and right margins, and top and bottom margins, are equal within 0.11 mm."""
    last = list(each.cells())[-1]
    assert each.first[0] == pytest.approx(each.page[0] - last.x - last.width, abs=0.11)
    assert each.first[1] == pytest.approx(each.page[1] - last.y - last.height, abs=0.11)


@pytest.mark.parametrize("each", SHEETS, ids=str)
def test_cells_do_not_overlap_and_run_row_by_row(each: Sheet) -> None:
    """Labels are counted row by row, and do not overlap."""
    cells = list(each.cells())
    assert len(cells) == each.per_page
    for left, right in pairwise(cells):
        assert right.x >= left.x + left.width - 1e-9 or right.y >= left.y + left.height - 1e-9


@pytest.mark.parametrize(
    ("name", "labels"), [("L7651", 65), ("L7160", 21), ("L4731", 189), ("5160", 30), ("5167", 80), ("94103", 48)]
)
def test_known_sheets_have_as_many_labels_as_the_maker_says(name: str, labels: int) -> None:
    """Each sheet has the number of labels that the maker states."""
    assert sheet(name).per_page == labels


@pytest.mark.parametrize("spelling", ["L7651", "l7651", " Avery L7651", "L-7651", "avery zweckform l7651"])
def test_a_sheet_is_found_however_it_is_spelt(spelling: str) -> None:
    """Case, dashes, spaces and the maker's name are ignored."""
    assert sheet(spelling) is sheet("L7651")


def test_a_misspelt_sheet_is_refused_with_a_suggestion() -> None:
    """The hint for a misspelt sheet suggests a similar name."""
    with pytest.raises(InputError) as refused:
        sheet("L7615")
    assert "L7651" in str(refused.value.hint).split("?")[0]
    assert "did you mean" in str(refused.value.hint)


@pytest.mark.parametrize("name", ["", "zzz", "Avery"])
def test_an_unknown_sheet_is_refused_with_the_known_ones(name: str) -> None:
    """If no name is similar, the hint lists all sheets."""
    with pytest.raises(InputError) as refused:
        sheet(name)
    assert "94103" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("label", "columns", "first", "pitch"),
    [
        ((50.0, 20.0), 5, (0.0, 0.0), (50.0, 20.0)),
        ((50.0, 20.0), 2, (0.0, 0.0), (40.0, 20.0)),
        ((0.0, 20.0), 2, (0.0, 0.0), (40.0, 20.0)),
    ],
    ids=["beyond the page", "overlapping", "empty"],
)
def test_an_impossible_geometry_is_no_sheet(
    label: tuple[float, float], columns: int, first: tuple[float, float], pitch: tuple[float, float]
) -> None:
    """A sheet with an impossible geometry is rejected when it is made."""
    with pytest.raises(InputError):
        Sheet("X", (210.0, 297.0), label, columns, 2, first, pitch)
