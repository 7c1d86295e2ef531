"""The grammar of mass_mfg: a config CSV with keys and encodings, and a values CSV with one row per device.

Config, without a header: `NAME,namespace,` then `KEY,data|file,ENCODING[,REPEAT]`. Values: a header with the keys and
any further columns, then one row per device. Blank cells of a REPEAT column get the value of the first row. Every row
of a values file is a device or a complaint; only lines without any character are skipped.
Source: ESP-IDF, "Manufacturing Utility" (tools/mass_mfg/docs/README.rst), sections "Configuration File" and
"Master Values CSV File". Unlike there, columns may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, unique
from pathlib import Path
from typing import NamedTuple, Self

from rmfab.errors import InputError
from rmfab.nvs.csv_dialect import Complaints, Record, records, wrong_delimiter
from rmfab.nvs.table import EntryKind, Namespace, name_complaint

REPEAT = "REPEAT"
NAMESPACE = "namespace"


@unique
class Source(Enum):
    """The source of a value: the cell, or the file that it names, relative to the working directory."""

    DATA = "data"
    FILE = "file"


@unique
class Encoding(Enum):
    """The encoding of a cell or file, and the *kind* of NVS entry that it becomes."""

    STRING = "string", EntryKind.STRING
    BINARY = "binary", EntryKind.BLOB
    HEX2BIN = "hex2bin", EntryKind.BLOB
    BASE64 = "base64", EntryKind.BLOB
    U8 = "u8", EntryKind.U8
    I8 = "i8", EntryKind.I8
    U16 = "u16", EntryKind.U16
    I16 = "i16", EntryKind.I16
    U32 = "u32", EntryKind.U32
    I32 = "i32", EntryKind.I32
    U64 = "u64", EntryKind.U64
    I64 = "i64", EntryKind.I64

    kind: EntryKind

    def __new__(cls, value: str, kind: EntryKind) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.kind = kind
        return member


@dataclass(frozen=True, slots=True)
class Column:
    """One key of a config and the encoding of its values. *line* is its line in the config."""

    namespace: str
    key: str
    source: Source
    encoding: Encoding
    repeat: bool
    line: int


@dataclass(frozen=True, slots=True)
class Config:
    """A config: its namespaces and columns, in order."""

    path: Path
    rows: tuple[Namespace | Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, without the namespaces."""
        return tuple(row for row in self.rows if isinstance(row, Column))


class Row(NamedTuple):
    """One device of a values file. *cells* are in the order of the config's columns, with REPEAT filled in; *record*
    is the row of the file, in the order of its header."""

    line: int
    cells: tuple[str, ...]
    record: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """A values file: its *header*, and the *places* of the config's columns in it. Iterating reads the file again."""

    config: Config
    path: Path
    header: tuple[str, ...]
    places: tuple[int, ...]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows one by one. Raise ComplaintsError after the last row or after 20 complaints."""
        complaints = Complaints(self.path)
        source = records(self.path, "values file")
        next(source, None)
        repeated: list[str] | None = None
        blanks = _BlankRows(complaints)
        for record in source:
            if blanks.take(record):
                continue
            if len(record.cells) != len(self.header):
                self._complain_of_width(record, complaints)
                continue
            cells = [record.cells[place] for place in self.places]
            if repeated is None:
                repeated = cells
            else:
                self._fill(cells, repeated, record, complaints)
            if not complaints.found:
                yield Row(record.line, tuple(cells), tuple(record.cells))
        blanks.settle()
        if repeated is None and not complaints.found:
            complaints.add(1, "the values file has no rows")
        complaints.settle()

    def _fill(self, cells: list[str], first: Sequence[str], record: Record, complaints: Complaints) -> None:
        for place, column in enumerate(self.config.columns):
            if not column.repeat or cells[place] == first[place]:
                continue
            if cells[place]:
                complaints.add(
                    record.line,
                    "the value differs from the first one of this REPEAT column",
                    column=column.key,
                    hint=f"leave the cell blank, or remove {REPEAT} from line {column.line} of {self.config.path}",
                )
            cells[place] = first[place]

    def _complain_of_width(self, record: Record, complaints: Complaints) -> None:
        delimiter = wrong_delimiter(record.cells)
        hint = f"separate cells with commas, not {delimiter}" if delimiter else None
        if record.cells[0].startswith("#"):
            hint = _NO_COMMENTS
        complaints.add(
            record.line, f"the row has {len(record.cells)} cells, the header has {len(self.header)}", hint=hint
        )

    def text_places(self) -> list[int]:
        """Return the positions, in a record, of the config's columns that are not integers, of which zeros matter."""
        pairs = zip(self.config.columns, self.places, strict=True)
        return [place for column, place in pairs if column.source is Source.DATA and not column.encoding.kind.width]

    def place(self, name: str) -> int:
        """Return the position of the column *name* in a record. Raise InputError if there is none."""
        if name not in self.header:
            raise InputError(
                f'there is no column "{name}"', where=f"{self.path}:1", hint=_suggestion(name, self.header, "columns")
            )
        return self.header.index(name)


_NO_COMMENTS = "a values file has no comments: remove the line, or make it a row"


class _BlankRows:
    """Complains of rows without any text, as spreadsheet programs write for rows that were once used.

    Rows that follow each other are one complaint.
    """

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._first = 0
        self._count = 0

    def take(self, record: Record) -> bool:
        """Return whether *record* is blank. A row of one cell never is: it may be the value ""."""
        if len(record.cells) < 2 or any(cell and not cell.isspace() for cell in record.cells):
            if self._count:
                self.settle()
            return False
        self._first = self._first or record.line
        self._count += 1
        return True

    def settle(self) -> None:
        """Complain of the rows so far."""
        if not self._count:
            return
        first, count, self._first, self._count = self._first, self._count, 0, 0
        what = "all cells of this row are blank"
        more = "" if count == 1 else f", and of the next {count - 1}"
        self._complaints.add(first, what + more, hint="remove rows that are no device")


def parse_config(path: Path) -> Config:
    """Read a config. Raise ComplaintsError (an InputError) with all complaints."""
    complaints = Complaints(path)
    reader = ConfigReader(complaints)
    for record in records(path, "config", comments=True):
        reader.take(record)
    if not reader.columns and not complaints.found:
        complaints.add(1, "the config has no keys", hint="write NAME,namespace, and then lines such as KEY,data,u8")
    complaints.settle()
    return Config(path, tuple(reader.rows))


class ConfigReader:
    """Reader of the lines of a config into *rows*. It checks types, encodings, names and duplicates."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._namespace: str | None = None
        self._lines: dict[tuple[str, str], int] = {}
        self.rows: list[Namespace | Column] = []
        self.columns = 0

    def take(self, record: Record) -> None:
        """Parse one line of the config."""
        cells = [cell.strip() for cell in record.cells]
        while len(cells) > 3 and not cells[-1]:
            cells.pop()
        delimiter = wrong_delimiter(cells)
        if delimiter is not None:
            self._complaints.add(record.line, f"cells are separated by {delimiter}", hint="save the file with commas")
        elif len(cells) < 2 or len(cells) > 4:
            self._complaints.add(record.line, f"{len(cells)} cells, expected key,type,encoding and optionally {REPEAT}")
        elif cells[1] == NAMESPACE:
            self._take_namespace(record.line, cells)
        else:
            self._take_column(record.line, [*cells, "", ""][:4])

    def _take_namespace(self, line: int, cells: Sequence[str]) -> None:
        self._namespace = cells[0]
        complaint = name_complaint(cells[0])
        if complaint is not None:
            self._complaints.add(line, f"namespace {complaint}")
        elif any(cells[2:]):
            self._complaints.add(line, "a namespace has no encoding or value", hint=f"write {cells[0]},{NAMESPACE},")
        else:
            self.rows.append(Namespace(cells[0]))

    def _take_column(self, line: int, cells: Sequence[str]) -> None:
        self.columns += 1
        key, source, encoding, repeat = cells
        before = len(self._complaints.found)
        complaint = name_complaint(key)
        if complaint is not None:
            self._complaints.add(line, f"key {complaint}")
        if source not in _SOURCES:
            self._complain_of_type(line, cells)
        elif encoding not in _ENCODINGS:
            hint = _suggestion(encoding, tuple(_ENCODINGS), "encodings")
            self._complaints.add(line, f'"{encoding}" is not an encoding', column=key, hint=hint)
        if repeat not in ("", REPEAT):
            self._complaints.add(line, f'"{repeat}" found, expected {REPEAT} or nothing', column=key)
        if self._namespace is None:
            self._complaints.add(line, f'key "{key}" has no namespace', hint=f"start with NAME,{NAMESPACE},")
        earlier = self._lines.setdefault((self._namespace or "", key), line)
        if earlier != line:
            self._complaints.add(line, f'duplicate key "{key}" in this namespace, first on line {earlier}')
        if len(self._complaints.found) == before:
            namespace = self._namespace or ""
            self.rows.append(Column(namespace, key, Source(source), _ENCODINGS[encoding], bool(repeat), line))

    def _complain_of_type(self, line: int, cells: Sequence[str]) -> None:
        if list(cells[:3]) == ["key", "type", "encoding"]:
            self._complaints.add(line, "unexpected header", hint="remove it: a config starts with a namespace")
            return
        hint = _suggestion(cells[1], (*_SOURCES, NAMESPACE), "types")
        self._complaints.add(line, f'"{cells[1]}" is not a type', column=cells[0], hint=hint)


_SOURCES = tuple(source.value for source in Source)
_ENCODINGS = {encoding.value: encoding for encoding in Encoding}


def read_values(config: Config, path: Path) -> Values:
    """Open a values file, and find the columns of *config* in its header.

    A key of two namespaces has two columns, in the order of the config. Raise ComplaintsError (an InputError).
    """
    header = next(records(path, "values file"), None)
    if header is None:
        raise InputError("the values file is empty", where=str(path), hint="start it with a header of keys")
    names = tuple(cell.strip() for cell in header.cells)
    complaints = Complaints(path)
    delimiter = wrong_delimiter(names)
    if delimiter is not None:
        complaints.add(header.line, f"cells are separated by {delimiter}", hint="save the file with commas")
        complaints.settle()
    if names[0].startswith("#") and config.columns and not any(column.key in names for column in config.columns):
        complaints.add(header.line, "this header has none of the keys", hint=_NO_COMMENTS)
        complaints.settle()
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return Values(config, path, names, _match(config, header.line, places, complaints))


def _match(config: Config, line: int, places: dict[str, list[int]], complaints: Complaints) -> tuple[int, ...]:
    matched = []
    wanted: dict[str, int] = {}
    keys = {column.key for column in config.columns}
    spare = tuple(name for name in places if name not in keys)
    for column in config.columns:
        number = wanted[column.key] = wanted.get(column.key, 0) + 1
        if number <= len(places.get(column.key, ())):
            matched.append(places[column.key][number - 1])
        elif number == 1:
            hint = _suggestion(column.key, spare, "columns without a key")
            complaints.add(line, f'there is no column for key "{column.key}"', hint=hint)
        else:
            complaints.add(line, f'key "{column.key}" is in {number} namespaces and needs as many columns')
    for key, number in wanted.items():
        if len(places.get(key, ())) > number:
            complaints.add(line, f'there are {len(places[key])} columns "{key}", but the config has {number}')
    complaints.settle()
    return tuple(matched)


def _suggestion(word: str, known: Sequence[str], what: str) -> str:
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1)
    if close:
        return f'did you mean "{by_lower[close[0]]}"?'
    names = ", ".join(known[:12])
    return f"{what}: {names}" if names else f"there are no {what}"
