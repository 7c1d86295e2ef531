"""Cells for spreadsheets: what a device or a person typed must stay text there, and never become a formula.

A text that begins with one of = + - @, a tab or a line break is a formula to Excel and LibreOffice, also in a CSV file
(OWASP, "CSV Injection"). An apostrophe before it is how a person enters such a text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from rmfab.errors import printable

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would take *text* for a formula, also after blanks."""
    return text.startswith(_STARTS) or text.lstrip().startswith(_STARTS)


def cell(value: object) -> object:
    """Return *value* as a cell of a CSV file: a number stays one, text is printable and fenced, None is empty."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    text = str(value)
    return f"'{printable(text)}" if is_formula(text) else printable(text)


def write_rows(stream: TextIO, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table (RFC 4180, but lines end with LF only)."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([cell(value) for value in row])
