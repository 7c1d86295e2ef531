"""Factory images from a config and a values CSV, like ESP-IDF's mass manufacturing utility, but checked and parallel.

Every row is checked before the first file is written. Then `csv/PREFIX-ID.csv` and `bin/PREFIX-ID.bin` are written
atomically. Files that already exist with the same content are skipped, so an interrupted run can be repeated.
Source: ESP-IDF, tools/mass_mfg (docs/README.rst, "Running the utility"), esp-rainmaker-admin-cli (--prefix_num).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, unique
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import FolderWriter, is_safe_name, make_folder, sweep, sync_folder
from rmfab.nvs.csv_dialect import Complaints
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Column, Config, Row, Values
from rmfab.nvs.named_files import NamedFiles
from rmfab.nvs.packing import judge_fit, judge_size, pack
from rmfab.nvs.spreadsheet import SpreadsheetJudge, SpreadsheetWarning
from rmfab.nvs.table import Entry, Namespace, PageVersion
from rmfab.workers.crew import Crew, cores, open_crew
from rmfab.workers.feeding import chunked

if TYPE_CHECKING:
    import sqlite3

FOLDERS = ("bin", "csv")

CHUNK = 256
"""Rows per chunk of a worker."""

INLINE_ROWS = 16_000
"""Below this number of rows, worker processes save less than two seconds, and cost a third more CPU time."""

_KEPT_BYTES = 1 << 24
"""The most bytes of values that a check keeps for writing: those of some 10,000 units, in some 50 MB of memory."""

_MANY_SIZES = 10_000
"""The most combinations of sizes that a check keeps."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """A running number in file names, as in PREFIX-00042-ID. *start* is the first, *length* the minimum of digits."""

    start: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or not 0 <= self.length <= 32:
            raise InputError("expected a running number from 0 with at most 32 digits")


@dataclass(frozen=True, slots=True)
class MassMfgRequest:
    """A request for images of *size* bytes each. *force* replaces files with different content.

    The files of `file` rows, relative to the working directory, must be in the folder of the values file or in one of
    *allow_files*.
    *fileid* is the column whose cells end the file names; None numbers them 1, 2, 3 … Raise InputError if the prefix
    is not safe in a file name, the size is not that of a partition, or the column does not exist.
    """

    values: Values
    prefix: str
    size: int
    outdir: Path
    version: PageVersion = PageVersion.V2
    numbering: Numbering | None = None
    fileid: str | None = None
    force: bool = False
    allow_files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        judge_size(self.size)
        if not is_safe_name(self.prefix):
            raise InputError(f'prefix "{self.prefix}" is not safe in a file name', hint=_SAFE)
        if self.fileid is not None:
            self.values.place(self.fileid)


_SAFE = "use at most 64 of A-Z a-z 0-9 . _ - and no leading dot"


@unique
class MassMfgStage(Enum):
    """A stage of a run: all rows are checked before any is written."""

    CHECK = "check"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of rows that a stage has done. *total* is None until all rows are checked."""

    stage: MassMfgStage
    done: int
    total: int | None


class _Device(NamedTuple):
    """A row, its file name without extension, and its *items*, None if they are not known yet."""

    name: str
    row: Row
    items: list[Entry | Namespace] | None = None


def generate(order: MassMfgRequest, workers: int | None = None) -> Iterator[Progress | SpreadsheetWarning]:
    """Write all files with *workers* processes (None: one per core), and yield the progress.

    Warnings come before the first file is written. Raise InputError (ComplaintsError) before anything is written if a
    row is wrong, InputError later if a file exists with different content or cannot be written, StationError if a
    worker process dies.
    """
    check = _Check(order)
    yield from check.run()
    yield from check.warnings()
    small = check.total < INLINE_ROWS
    try:
        with open_crew(_Worker, order, 1 if small else workers or cores()) as crew:
            chunks = check.kept if small and check.kept else chunked(_devices(order), CHUNK)
            yield from _write(order, crew, chunks, check.total)
    finally:  # what killed workers or an earlier run left
        for name in FOLDERS:
            sweep(order.outdir / name)


class _Check:
    """The check of all rows, before any file is written.

    It keeps the rows of a small file in *kept*, in chunks; of a larger one, that is None.
    """

    def __init__(self, order: MassMfgRequest) -> None:
        self._order = order
        self._complaints = Complaints(order.values.path)
        self._spreadsheet = _spreadsheet_judge(order)
        self._encoder = _row_encoder(order)
        self._fitting: set[tuple[int, ...]] = set()
        self._bytes = 0
        self.kept: list[list[_Device]] | None = []
        self.total = 0

    def warnings(self) -> list[SpreadsheetWarning]:
        """Return the warnings about the rows."""
        return self._spreadsheet.warnings()

    def run(self) -> Iterator[Progress]:
        """Judge the rows and yield the progress. Raise ComplaintsError with everything that is wrong."""
        complaints = self._complaints
        try:
            for chunk in chunked(_judged(self._order, complaints), CHUNK):
                judged = [device._replace(items=self._items(device.row)) for device in chunk]
                self.total += len(chunk)
                self._keep(judged)
                yield Progress(MassMfgStage.CHECK, self.total, None)
        except ComplaintsError as error:
            if not complaints.found:
                raise
            complaints.take(*(complaint for complaint in error.complaints if complaint not in complaints.found))
        complaints.settle()

    def _keep(self, chunk: list[_Device]) -> None:
        if self.kept is not None and self._bytes < _KEPT_BYTES:
            self.kept.append(chunk)
        else:
            self.kept = None

    def _items(self, row: Row) -> list[Entry | Namespace] | None:
        """Return the items of a row, None if it is wrong, which is a complaint."""
        self._spreadsheet.take(row)
        try:
            items = self._encoder.items(row)
            sizes = tuple([item.size if isinstance(item, Entry) else 0 for item in items])
            self._bytes += sum(sizes)
            # what the rows of one file need depends on these sizes only, and few of them differ
            if sizes not in self._fitting:
                judge_fit(items, self._order.size, self._order.version)
                if len(self._fitting) < _MANY_SIZES:
                    self._fitting.add(sizes)
        except InputError as error:
            where = f"{self._order.values.path}:{row.line}"
            found = self._encoder.complaints(row) or [InputError(error.what, where=where, hint=error.hint)]
            self._complaints.take(*found)
            return None
        return items


def _row_encoder(order: MassMfgRequest) -> RowEncoder:
    files = NamedFiles(Path(), (order.values.path.parent, *order.allow_files))
    return RowEncoder(order.values.config, order.values.path, files)


def _spreadsheet_judge(order: MassMfgRequest) -> SpreadsheetJudge:
    values = order.values
    named = [] if order.fileid is None else [values.place(order.fileid)]
    return SpreadsheetJudge(values.path, values.header, [*values.text_places(), *named])


def _write(
    order: MassMfgRequest, crew: Crew[_Worker], chunks: Iterable[list[_Device]], total: int
) -> Iterator[Progress]:
    folders = [make_folder(order.outdir / name, secret=True) for name in FOLDERS]
    done = 0
    for chunk, _ in crew.run(_Worker.write, chunks, ordered=False):
        done += len(chunk)
        yield Progress(MassMfgStage.WRITE, done, total)
    for folder in folders:
        sync_folder(folder)


def _devices(order: MassMfgRequest) -> Iterator[_Device]:
    place = None if order.fileid is None else order.values.place(order.fileid)
    for count, row in enumerate(order.values):
        parts = [order.prefix]
        if order.numbering is not None:
            parts.append(f"{order.numbering.start + count:0{order.numbering.length}}")
        parts.append(str(count + 1) if place is None else row.record[place])
        yield _Device("-".join(parts), row)


def _judged(order: MassMfgRequest, complaints: Complaints) -> Iterator[_Device]:
    """Yield the devices, and complain about unsafe and duplicate file names. Memory use does not grow with the rows."""
    if order.fileid is None:
        yield from _devices(order)
        return
    import sqlite3  # only needed here, and slow to import

    place = order.values.place(order.fileid)
    with closing(sqlite3.connect("")) as names:  # "" is a temporary database on disk
        names.execute("CREATE TABLE names (name TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        for device in _devices(order):
            _judge_name(order.fileid, place, device, names, complaints)
            yield device


def _judge_name(fileid: str, place: int, device: _Device, names: sqlite3.Connection, complaints: Complaints) -> None:
    if not is_safe_name(device.row.record[place]):
        complaints.add(device.row.line, "the value is not safe in a file name", column=fileid, hint=_SAFE)
        return
    added = names.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (device.name, device.row.line))
    if not added.rowcount:
        (line,) = names.execute("SELECT line FROM names WHERE name = ?", (device.name,)).fetchone()
        complaints.add(device.row.line, f"duplicate of the value on line {line}", column=fileid)


class _Worker:
    """The worker for chunks of rows. Each process has one for the whole run."""

    def __init__(self, order: MassMfgRequest) -> None:
        self._order = order
        self._encoder = _row_encoder(order)
        self._intermediate = _Intermediate(order.values.config)
        self._folders: list[FolderWriter] = []

    def write(self, chunk: list[_Device]) -> None:
        """Write the two files of each row of the chunk."""
        order = self._order
        if not self._folders:
            self._folders = [FolderWriter(order.outdir / name, secret=True, force=order.force) for name in FOLDERS]
        images, sheets = self._folders
        for device in chunk:
            items = device.items or self._encoder.items(device.row)
            image = pack(items, order.size, order.version)
            sheets.write(f"{device.name}.csv", self._intermediate.text(device.row).encode())
            images.write(f"{device.name}.bin", image)


class _Intermediate:
    """The generator's input CSV for one device: key,type,encoding,value with CRLF and minimal quoting."""

    def __init__(self, config: Config) -> None:
        self._pieces = [_line("key", "type", "encoding", "value")]
        for row in config.rows:
            if isinstance(row, Column):
                self._pieces[-1] += _line(row.key, row.source.value, row.encoding.value, "").removesuffix("\r\n")
                self._pieces.append("\r\n")
            else:
                self._pieces[-1] += _line(row.name, "namespace", "", "")

    def text(self, row: Row) -> str:
        """Return the CSV with the cells of *row*."""
        return "".join(chain.from_iterable(zip(self._pieces, map(_quoted, row.cells), strict=False))) + self._pieces[-1]


def _line(*cells: str) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(cells)
    return stream.getvalue()


def _quoted(cell: str) -> str:
    # four searches for one character are much faster than a regular expression, for cells as long as a certificate
    if "," in cell or '"' in cell or "\n" in cell or "\r" in cell:
        return '"' + cell.replace('"', '""') + '"'
    return cell
