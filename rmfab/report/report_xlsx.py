"""A report as a workbook: a sheet per section and one of units. XlsxWriter writes it row by row, in constant memory.

Text is written as text and never as a formula, a link or a number, so that serials keep their zeros. A text that would
be a formula if a person typed it gets Excel's own fence, the prefix that is not part of the value (ECMA-376 part 1,
18.8.45, quotePrefix).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rmfab.errors import InputError, printable
from rmfab.report.document import ReportDocument, missing_extra
from rmfab.report.sections import Kind, Section
from rmfab.report.spreadsheet_text import is_formula
from rmfab.report.units import COLUMNS, row_of

try:
    import xlsxwriter
except ImportError:
    raise missing_extra(".xlsx") from None

_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "nan_inf_to_errors": True,
}
_MOST_ROWS = 1_048_575
"""Of a sheet, below its head (Excel's limit)."""
_FORMATS = {Kind.SHARE: "0.0%", Kind.COUNT: "0", Kind.NUMBER: "General"}
_WIDTH, _WIDE = 12, 24


class _Book:
    """A workbook and the formats of its cells."""

    def __init__(self, path: Path) -> None:
        self.book = xlsxwriter.Workbook(str(path), _OPTIONS)
        self._head = self.book.add_format({"bold": True, "bottom": 1})
        self._fence = self.book.add_format({"quote_prefix": True})
        self._kinds = {kind: self.book.add_format({"num_format": text}) for kind, text in _FORMATS.items()}

    def sheet(self, name: str, titles: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[Kind]) -> None:
        """Add a sheet that filters by its head."""
        sheet = self.book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        sheet.set_paper(9)  # A4
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)
        for at, title in enumerate(titles):
            sheet.set_column(at, at, _WIDE if kinds[at] is Kind.TEXT else _WIDTH)
            sheet.write_string(0, at, title, self._head)
        count = 0
        for count, row in enumerate(rows, 1):
            for at, value in enumerate(row):
                self._write(sheet, count, at, value, kinds[at])
        sheet.autofilter(0, 0, max(count, 1), len(titles) - 1)

    def _write(self, sheet: Any, row: int, column: int, value: object, kind: Kind) -> None:
        if value is None or value == "":
            return
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value)
        elif isinstance(value, (int, float)):
            sheet.write_number(row, column, value, self._kinds.get(kind))
        else:
            text = printable(str(value))
            sheet.write_string(row, column, text, self._fence if is_formula(text) else None)


def write_xlsx(path: Path, report: ReportDocument) -> None:
    """Write the workbook to *path*. Raise InputError if a sheet cannot hold all units."""
    units = report.totals["units"]
    if units > _MOST_ROWS:
        hint = "write it as .csv or .json, or a report of each batch"
        raise InputError(f"a sheet cannot hold {units} units", hint=hint)
    book = _Book(path)
    pairs = list(_pairs({"report": report.head.to_json(), "totals": report.totals}))
    book.sheet("Summary", ("what", "value"), pairs, (Kind.TEXT, Kind.TEXT))
    for section in report.sections:
        book.sheet(*_sheet(section))
    kinds = [Kind.NUMBER if name == "seconds" else _unit_kind(name) for name in COLUMNS]
    book.sheet("Units", COLUMNS, map(row_of, report.units()), kinds)
    book.book.close()


def _sheet(section: Section) -> tuple[str, list[str], tuple[tuple[Any, ...], ...], list[Kind]]:
    titles = [column.title for column in section.columns]
    return section.title, titles, section.rows, [column.kind for column in section.columns]


def _unit_kind(name: str) -> Kind:
    return Kind.COUNT if name in ("attempts", "runs", "labels") else Kind.TEXT


def _pairs(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values in *value* with their whole names, such as `totals.first_pass.yield`."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _pairs(one, f"{name}.{key}" if name else key)
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else value
