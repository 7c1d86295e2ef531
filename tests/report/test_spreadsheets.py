"""Spreadsheets: text of devices is never a formula, and serials stay text."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import openpyxl
import pytest

from rmfab.report.document import ReportDocument
from rmfab.report.report_text import CSV_COLUMNS, write_csv
from rmfab.report.report_xlsx import write_xlsx
from rmfab.report.spreadsheet_text import cell, is_formula
from tests.report.made import history, report, run

FORMULAS = ['=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "=cmd|' /C calc'!A0"]
SERIALS = ["000123", "1E5", "0x10", "2026-01-01", "-17", "TRUE"]


def made() -> ReportDocument:
    """A report with a formula in every text that others write, and serials that look like numbers."""
    units = [history(serial, run(serial, n)) for n, serial in enumerate(SERIALS)]
    for number, text in enumerate(FORMULAS):
        fields = {"slot": text, "operator": text, "reason": text}
        units.append(history(f"U{number}", run(f"U{number}", number, "FAIL", text, **fields)))
    return report(units, product="=1+1")


def test_csv() -> None:
    """In CSV, a formula has an apostrophe before it; other readers get every row and column whole."""
    stream = io.BytesIO()
    write_csv(stream, made())
    assert stream.getvalue().startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(stream.getvalue().decode("utf-8-sig"), newline="")))
    assert rows[0] == list(CSV_COLUMNS)
    assert {len(row) for row in rows} == {len(CSV_COLUMNS)}
    assert not [value for row in rows for value in row if is_formula(value)]
    serials = [row[0] for row in rows[1:]]
    assert serials[: len(SERIALS)] == [f"'{one}" if one == "-17" else one for one in SERIALS]


def test_xlsx(tmp_path: Path) -> None:
    """In XLSX, every text is a string, also one that looks like a number; a formula is marked as typed text."""
    path = tmp_path / "r.xlsx"
    write_xlsx(path, made())
    book = openpyxl.load_workbook(path)
    cells = [one for sheet in book for row in sheet.iter_rows() for one in row if one.value is not None]
    assert {one.data_type for one in cells} <= {"s", "n", "b"}
    serials = [row[0] for row in book["Units"].iter_rows(min_row=2)]
    assert [one.value for one in serials][: len(SERIALS)] == SERIALS
    assert {one.data_type for one in serials} == {"s"}
    dangerous = [one for one in cells if isinstance(one.value, str) and is_formula(one.value)]
    assert len(dangerous) > len(FORMULAS)
    assert all(one.quotePrefix for one in dangerous)
    assert not any(one.hyperlink for one in cells)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (-61, -61),
        (0.5, 0.5),
        ("-61", "'-61"),
        ("a\x1b[0m", "a\\x1b[0m"),
        ("plain", "plain"),
        (True, "True"),
    ],
)
def test_a_cell(value: object, shown: object) -> None:
    """A number stays one, also below zero; text is printable, and fenced if it would be a formula."""
    assert cell(value) == shown
