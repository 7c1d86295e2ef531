"""What spreadsheet programs do to numbers is warned about, and what only looks like it is not."""

from pathlib import Path

import pytest

from rmfab.nvs.grammar import Row
from rmfab.nvs.spreadsheet import SpreadsheetJudge


def warnings(*cells: str) -> list[str]:
    judge = SpreadsheetJudge(Path("v.csv"), ["id"], [0])
    for line, cell in enumerate(cells, start=2):
        judge.take(Row(line, (cell,), (cell,)))
    return [warning.text for warning in judge.warnings()]


@pytest.mark.parametrize("cell", ["2.02408E+11", "1E+10", "2,02408E+11", "-1.5E+20", "8.9E-05", "894903012345678000"])
def test_rounded(cell):
    """Scientific notation, and 17 digits or more that end in zeros after the 15th."""
    assert warnings("x", cell) == ['v.csv:3: column "id": this cell may have been a long number']


@pytest.mark.parametrize("cell", ["1-Feb", "12-Dec", "Jan-26"])
def test_dated(cell):
    """A day and a month, or a month and a year."""
    assert warnings(cell, "x", cell) == ['v.csv:2: column "id": this and 1 more cell may have been a number, no date']


LOST = [
    ["0017", "0018", "19", "0020"],
    ["19", "0017"],
    ["482913", "120934", "7741", "993120", "551212", "104523"],
    ["00aa11", "12bb34", "77cc21", "1122", "a0b1c2", "ffeedd"],
]


@pytest.mark.parametrize("cells", LOST)
def test_lost_zeros(cells):
    """Numbers that are shorter than those with leading zeros, or than nearly all numbers of the column."""
    (text,) = warnings(*cells)
    assert "may have lost leading zeros" in text
    assert text.startswith(
        f"v.csv:{2 + next(n for n, cell in enumerate(cells) if len(cell) < len(max(cells, key=len)))}:"
    )


FINE = [
    [str(number) for number in range(1, 200)],
    ["0017", "0018", "0019"],
    ["007", "0008", "9"],
    ["white", "green", "black", "12", "brown", "khaki"],
    ["5", "482913", "12", "9", "77", "1000"],
    ["E10", "1E10", "1-2", "1.5", "20240801", "2026-02-01", ""],
    ["1234567890123450", "123456789012345"],
    ["a" * 2000, "12", "b" * 2000],
]


@pytest.mark.parametrize("cells", FINE)
def test_no_false_alarm(cells):
    """Numbers that count up, texts, short lists and ISO dates are fine."""
    assert warnings(*cells) == []


def test_rows_that_look_like_comments():
    """Rows with # in front are named, because a config's comments look the same."""
    assert warnings("#1", "x", "#2", "#3") == [
        "v.csv:2: # begins this and 2 more rows; in a values file that is no comment"
    ]


def test_cells_stay_secret():
    """A warning shows no cell: it may be a PoP or a PIN."""
    assert "7741" not in " ".join(warnings("482913", "120934", "7741", "993120", "551212", "104523"))
