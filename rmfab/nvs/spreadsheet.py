"""What spreadsheet programs do to numbers: long ones become `2.02408E+11`, leading zeros vanish, `1-2` becomes a date.

None of it is an error of the CSV, and so each is a warning. The cells may be secret: a warning names places only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rmfab.nvs.grammar import Row

HINT = "format the column as text, fill it in again, and save the CSV from there"

_LONGEST = 64
"""The longest cell that may be a number: longer ones are keys and certificates."""

_PRECISION = 15
"""Spreadsheet programs keep 15 digits of a number, and write zeros for the others."""

_FEW = 5
"""In fewer cells, no length is the usual one."""

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_ODD = re.compile(
    rf"(?P<rounded>-?\d(?:[.,]\d+)?E[+-]\d\d+|[1-9]\d{{{_PRECISION - 1}}}0{{2,}})"
    rf"|(?P<dated>\d\d?-(?:{_MONTHS})|(?:{_MONTHS})-\d\d)"
)
_TEXTS = {"rounded": "may have been a long number", "dated": "may have been a number, no date"}
_HEX = re.compile(r"[0-9A-Fa-f]+")


def is_rounded(cell: str) -> bool:
    """Return whether *cell* looks like a long number that a spreadsheet program rounded."""
    odd = _ODD.fullmatch(cell)
    return odd is not None and odd.lastgroup == "rounded"


class SpreadsheetWarning(NamedTuple):
    """A warning about a column, and what to do."""

    text: str
    hint: str


class SpreadsheetJudge:
    """Judge of the columns at *places* of the header of a values file, row by row. Its memory does not grow."""

    def __init__(self, path: Path, header: Sequence[str], places: Iterable[int]) -> None:
        self._path = path
        self._columns = [(place, _ColumnJudge(header[place])) for place in sorted(set(places))]
        self._hashes = _Seen(0)

    def take(self, row: Row) -> None:
        """Look at one row."""
        record = row.record
        if record[0].startswith("#"):
            self._hashes.line = self._hashes.line or row.line
            self._hashes.count += 1
        for place, column in self._columns:
            column.take(row.line, record[place])

    def warnings(self) -> list[SpreadsheetWarning]:
        """Return the warnings about the rows so far."""
        found = [warning for _, column in self._columns for warning in column.warnings(self._path)]
        if self._hashes.count:
            where = f"{self._path}:{self._hashes.line}"
            what = f"{where}: # begins {self._hashes.counted('row')}; in a values file that is no comment"
            found.append(SpreadsheetWarning(what, "remove rows that are no device"))
        return found


class _Seen:
    """A number of cells, and the line of the first."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.count = 0

    def counted(self, noun: str) -> str:
        """Return the number of cells with the *noun*, and that the line is that of the first."""
        return (
            f"this {noun}"
            if self.count == 1
            else f"this and {self.count - 1} more {noun}{'s' if self.count > 2 else ''}"
        )


class _ColumnJudge:
    def __init__(self, name: str) -> None:
        self._name = name
        self._odd: dict[str, _Seen] = {}
        self._lengths: Counter[int] = Counter()
        self._padded: set[int] = set()
        self._bare: dict[int, _Seen] = {}
        self._hex = True
        self._ascending = True
        self._last = -1

    def take(self, line: int, cell: str) -> None:
        length = len(cell)
        if length > _LONGEST or not length:
            return
        self._lengths[length] += 1
        if cell.isdecimal() and cell.isascii():
            self._take_number(line, cell, length)
        else:
            self._ascending = False
            self._hex = self._hex and _HEX.fullmatch(cell) is not None
        odd = _ODD.fullmatch(cell)
        if odd is not None and odd.lastgroup is not None:
            self._odd.setdefault(odd.lastgroup, _Seen(line)).count += 1

    def _take_number(self, line: int, cell: str, length: int) -> None:
        if cell[0] == "0" and length > 1:
            self._padded.add(length)
            return
        self._bare.setdefault(length, _Seen(line)).count += 1
        number = int(cell)
        self._ascending = self._ascending and number >= self._last
        self._last = number

    def warnings(self, path: Path) -> Iterator[SpreadsheetWarning]:
        for kind, seen in self._odd.items():
            yield self._warning(path, seen, _TEXTS[kind])
        usual = self._usual_length()
        short = _Seen(0)
        for length, seen in self._bare.items():
            if length < usual:
                short.line = min(short.line or seen.line, seen.line)
                short.count += seen.count
        if short.count:
            yield self._warning(path, short, "may have lost leading zeros, which others have")

    def _warning(self, path: Path, seen: _Seen, text: str) -> SpreadsheetWarning:
        where = f'{path}:{seen.line}: column "{self._name}"'
        return SpreadsheetWarning(f"{where}: {seen.counted('cell')} {text}", HINT)

    def _usual_length(self) -> int:
        """Return the length that numbers of this column seem to have, 0 if there is none.

        It is the one length of cells with leading zeros, or that of four cells in five, unless the numbers just count
        up: then they have no leading zeros.
        """
        if self._padded:
            return next(iter(self._padded)) if len(self._padded) == 1 else 0
        total = self._lengths.total()
        if self._ascending or not self._hex or total < _FEW:
            return 0
        length, count = self._lengths.most_common(1)[0]
        return length if count * 5 >= total * 4 else 0
