"""The CSV dialect of mass_mfg: commas, UTF-8 with or without BOM, any line ends, blank lines and `#` comments.

Blank lines and comments are skipped between rows only; inside a quoted cell every line belongs to the cell.
Line ends inside a cell become a single newline, as the reference tool reads them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from rmfab.errors import ComplaintsError, InputError

MAX_COMPLAINTS = 20


class Record(NamedTuple):
    """The cells of one row, and the number of its first line, counted from 1."""

    line: int
    cells: list[str]


class Complaints:
    """What is wrong with one file, gathered until there is too much of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: list[InputError] = []

    def add(self, line: int, what: str, *, column: str | None = None, hint: str | None = None) -> None:
        """Notes a complaint; raises ComplaintsError once there are 20."""
        text = what if column is None else f'column "{column}": {what}'
        self.take(InputError(text, where=f"{self._path}:{line}", hint=hint))

    def take(self, *errors: InputError) -> None:
        """Notes complaints that were made elsewhere."""
        self.found.extend(errors)
        if len(self.found) >= MAX_COMPLAINTS:
            self.settle()

    def settle(self) -> None:
        """Raises ComplaintsError where anything was noted."""
        if self.found:
            raise ComplaintsError(sorted(self.found, key=_line)[:MAX_COMPLAINTS])


def _line(complaint: InputError) -> int:
    digits = (complaint.where or "").rpartition(":")[2]
    return int(digits) if digits.isdecimal() else 0


class _Lines(Iterator[str]):
    """Hands lines to csv.reader; before the first line of a row it skips blank lines and comments."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.between_rows = True
        self.number = 0
        self.row_start = 0

    def __next__(self) -> str:
        while True:
            line = next(self._stream)
            self.number += 1
            if not self.between_rows:
                return line
            if line.startswith("#") or line.isspace():
                continue
            self.between_rows = False
            self.row_start = self.number
            return line


def records(path: Path, what: str) -> Iterator[Record]:
    """The rows of the file at *path*. Raises InputError where it cannot be read or is no CSV of this dialect."""
    with _opened(path, what) as stream:
        lines = _Lines(stream)
        reader = csv.reader(lines, strict=True)
        while True:
            lines.between_rows = True
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(f"this is no CSV: {error}", where=f"{path}:{lines.row_start}", hint=_QUOTES) from error
            except UnicodeDecodeError as error:
                raise InputError(
                    f"this {what} is not UTF-8", where=f"{path}:{lines.number + 1}", hint='save it as "CSV UTF-8"'
                ) from error
            yield Record(lines.row_start, cells)


_QUOTES = (
    'a cell with commas, quotes or several lines stands in double quotes, and quotes in it are doubled: "a ""b"", c"'
)


@contextmanager
def _opened(path: Path, what: str) -> Iterator[TextIO]:
    try:
        # Universal newlines, also inside cells: the reference tool reads that way, and the bytes must agree.
        stream = path.open(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read this {what}: {error.strerror or error}", where=str(path)) from error
    with stream:
        try:
            yield stream
        except IsADirectoryError as error:
            raise InputError(f"this {what} is a folder", where=str(path)) from error


def wrong_delimiter(cells: Sequence[str]) -> str | None:
    """The delimiter that a row seems to use instead of commas, in words; None where commas are right."""
    if len(cells) != 1:
        return None
    if ";" in cells[0]:
        return "semicolons"
    return "tabs" if "\t" in cells[0] else None
