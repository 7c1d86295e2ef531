"""The CSV dialect of mass_mfg: commas, UTF-8 with or without BOM, any line endings, blank lines.

A config also has `#` comments; a values file has none, because its first cell may begin with `#` (a colour, a serial).
Blank lines and comments are skipped between rows only: inside a quoted cell every line belongs to the cell. Line
endings inside a cell become a single newline, as in the reference tool.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import file_error

MAX_COMPLAINTS = 20


class Record(NamedTuple):
    """The cells of one row. *line* is the number of its first line, counted from 1."""

    line: int
    cells: list[str]


class Complaints:
    """The complaints about one file, at most 20."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: list[InputError] = []

    def add(self, line: int, what: str, *, column: str | None = None, hint: str | None = None) -> None:
        """Add a complaint. Raise ComplaintsError when there are 20."""
        text = what if column is None else f'column "{column}": {what}'
        self.take(InputError(text, where=f"{self._path}:{line}", hint=hint))

    def take(self, *errors: InputError) -> None:
        """Add existing complaints. Raise ComplaintsError when there are 20."""
        self.found.extend(errors)
        if len(self.found) >= MAX_COMPLAINTS:
            self.settle()

    def settle(self) -> None:
        """Raise ComplaintsError if there are any complaints."""
        if self.found:
            raise ComplaintsError(sorted(self.found, key=_line)[:MAX_COMPLAINTS])


def _line(complaint: InputError) -> int:
    digits = (complaint.where or "").rpartition(":")[2]
    return int(digits) if digits.isdecimal() else 0


class _Lines(Iterator[str]):
    """The lines for csv.reader, without the blank lines, and with *comments* without those, before a row."""

    def __init__(self, stream: TextIO, comments: bool) -> None:
        self._stream = stream
        self._comments = comments
        self.between_rows = True
        self.number = 0
        self.row_start = 0

    def __next__(self) -> str:
        while True:
            line = next(self._stream)
            self.number += 1
            if not self.between_rows:
                return line
            if line.isspace() or (self._comments and line.startswith("#")):
                continue
            self.between_rows = False
            self.row_start = self.number
            return line


def records(path: Path, what: str, *, comments: bool = False) -> Iterator[Record]:
    """Yield the rows of the file at *path*, with *comments* without lines that begin with `#`.

    Raise InputError if it cannot be read or is not CSV of this dialect.
    """
    with _opened(path, what) as stream:
        lines = _Lines(stream, comments)
        reader = csv.reader(lines, strict=True)
        while True:
            lines.between_rows = True
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(f"not valid CSV: {error}", where=f"{path}:{lines.row_start}", hint=_QUOTES) from error
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{what} is not UTF-8", where=f"{path}:{lines.number + 1}", hint='save it as "CSV UTF-8"'
                ) from error
            yield Record(lines.row_start, cells)


_QUOTES = 'put cells with commas, quotes or several lines in double quotes, and double the quotes inside: "a ""b"", c"'


@contextmanager
def _opened(path: Path, what: str) -> Iterator[TextIO]:
    try:
        # Universal newlines, even inside cells: the reference tool reads like this, and the images must be identical.
        stream = path.open(encoding="utf-8-sig")
    except OSError as error:
        raise file_error(f"cannot read the {what}", error, str(path)) from error
    with stream:
        try:
            yield stream
        except IsADirectoryError as error:
            raise InputError(f"is a directory, expected a {what}", where=str(path)) from error


def wrong_delimiter(cells: Sequence[str]) -> str | None:
    """Return the name of the delimiter that a row seems to use instead of commas, or None if it uses commas."""
    if len(cells) != 1:
        return None
    if ";" in cells[0]:
        return "semicolons"
    return "tabs" if "\t" in cells[0] else None
