"""Factory images from a config and a values CSV: what ESP-IDF's mass manufacturing utility does, checked and parallel.

Every row is judged before the first file is written. Then `csv/PREFIX-ID.csv` and `bin/PREFIX-ID.bin` appear, whole
or not at all; equal files that are there already are left alone, so a run that was cut short is simply repeated.
Source: ESP-IDF, tools/mass_mfg (docs/README.rst, "Running the utility"), esp-rainmaker-admin-cli (--prefix_num).
"""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, unique
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from rmfab.errors import ComplaintsError, InputError, StationError
from rmfab.files import is_safe_name, make_folder, sweep, sync_folder, write_file
from rmfab.nvs.csv_dialect import Complaints, records
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.fit import check_fit, check_size
from rmfab.nvs.grammar import Column, Config, Row, Values
from rmfab.nvs.packing import pack
from rmfab.nvs.table import PageVersion
from rmfab.workers.crew import Crew, cores, open_crew
from rmfab.workers.feeding import chunked

FOLDERS = ("bin", "csv")

CHUNK = 64
"""Rows that a worker takes at once."""

INLINE_ROWS = 384
"""Up to so many rows the start of worker processes would cost more than they save."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """A running number in the file names: PREFIX-00042-ID. *start* is the first, *length* its least digits."""

    start: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or not 0 <= self.length <= 32:
            raise InputError("a running number starts at 0 or later and has at most 32 digits")


@dataclass(frozen=True, slots=True)
class MassMfgRequest:
    """What is to be made, with a *size* in bytes; *force* replaces files that differ.

    *fileid* names the column whose cells end the file names, None for 1, 2, 3 … Raises InputError on a prefix, a size
    or a column that cannot be.
    """

    values: Values
    prefix: str
    size: int
    outdir: Path
    version: PageVersion = PageVersion.V2
    numbering: Numbering | None = None
    fileid: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        check_size(self.size)
        if not is_safe_name(self.prefix):
            raise InputError(f'the prefix "{self.prefix}" cannot begin a file name', hint=_SAFE)
        if self.fileid is not None:
            self.values.place(self.fileid)


_SAFE = "at most 64 of A-Z a-z 0-9 . _ - and no leading dot"


@unique
class MassMfgStage(Enum):
    """What a run is about: every row is checked before any is written."""

    CHECK = "check"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Progress:
    """How many rows a stage has done. *total* is known once all rows were checked."""

    stage: MassMfgStage
    done: int
    total: int | None


class _Device(NamedTuple):
    """A row and the name of its files, without the ending."""

    name: str
    row: Row


def generate(order: MassMfgRequest, workers: int | None = None) -> Iterator[Progress]:
    """Makes all files, on *workers* processes (None: one for each core); yields how far it is.

    Raises InputError (ComplaintsError) before anything is written where a row is wrong, and later where a file with
    other content is in the way or cannot be written; StationError where a worker process dies.
    """
    workers = workers or cores()
    small = workers == 1 or sum(1 for _ in islice(records(order.values.path, "values file"), INLINE_ROWS)) < INLINE_ROWS
    try:
        with open_crew(_Worker, order, 1 if small else workers) as crew:
            total = 0
            for progress in _check(order, crew):
                total = progress.done
                yield progress
            yield from _write(order, crew, total)
    except (StationError, KeyboardInterrupt, GeneratorExit):
        for name in FOLDERS:
            sweep(order.outdir / name, f"{order.prefix}-")
        raise


def _check(order: MassMfgRequest, crew: Crew[_Worker]) -> Iterator[Progress]:
    complaints = Complaints(order.values.path)
    done = 0
    try:
        for chunk, errors in crew.run(_Worker.check, chunked(_judged(order, complaints), CHUNK), ordered=False):
            complaints.take(*errors)
            done += len(chunk)
            yield Progress(MassMfgStage.CHECK, done, None)
    except ComplaintsError as error:
        if not complaints.found:
            raise
        complaints.take(*(complaint for complaint in error.complaints if complaint not in complaints.found))
    complaints.settle()


def _write(order: MassMfgRequest, crew: Crew[_Worker], total: int) -> Iterator[Progress]:
    folders = [make_folder(order.outdir / name, secret=True) for name in FOLDERS]
    done = 0
    for chunk, _ in crew.run(_Worker.write, chunked(_devices(order), CHUNK), ordered=False):
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
    """The devices, with a complaint for every name that is unsafe or was there before. Flat in memory."""
    with closing(sqlite3.connect("")) as names:  # a temporary file of SQLite's own
        names.execute("CREATE TABLE names (name TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        for device in _devices(order):
            _judge_name(order, device, names, complaints)
            yield device


def _judge_name(order: MassMfgRequest, device: _Device, names: sqlite3.Connection, complaints: Complaints) -> None:
    if order.fileid is None:
        return
    identity = device.row.record[order.values.place(order.fileid)]
    if not is_safe_name(identity):
        complaints.add(device.row.line, "this value cannot be part of a file name", column=order.fileid, hint=_SAFE)
        return
    try:
        names.execute("INSERT INTO names VALUES (?, ?)", (device.name, device.row.line))
    except sqlite3.IntegrityError:
        (line,) = names.execute("SELECT line FROM names WHERE name = ?", (device.name,)).fetchone()
        complaints.add(device.row.line, f"the same value stands on line {line}", column=order.fileid)


class _Worker:
    """What a worker does with a chunk; lives in its process from the first chunk to the last."""

    def __init__(self, order: MassMfgRequest) -> None:
        self._order = order
        self._encoder = RowEncoder(order.values.config, order.values.path)
        self._intermediate = _Intermediate(order.values.config)

    def check(self, chunk: list[_Device]) -> list[InputError]:
        """Every reason why a row of the chunk cannot become an image."""
        return [error for device in chunk for error in self._complaints(device.row)]

    def _complaints(self, row: Row) -> list[InputError]:
        try:
            check_fit(self._encoder.items(row), self._order.size, self._order.version)
        except InputError as error:
            where = f"{self._order.values.path}:{row.line}"
            return self._encoder.complaints(row) or [InputError(error.what, where=where, hint=error.hint)]
        return []

    def write(self, chunk: list[_Device]) -> None:
        """Writes both files of every row of the chunk."""
        order = self._order
        for device in chunk:
            image = pack(self._encoder.items(device.row), order.size, order.version)
            text = self._intermediate.text(device.row)
            for folder, ending, data in (("csv", "csv", text.encode()), ("bin", "bin", image)):
                path = order.outdir / folder / f"{device.name}.{ending}"
                write_file(path, data, secret=True, force=order.force, sync=False)


class _Intermediate:
    """The generator's own input CSV of one device: key,type,encoding,value with CRLF and as few quotes as possible."""

    def __init__(self, config: Config) -> None:
        self._pieces = [_line("key", "type", "encoding", "value")]
        for row in config.rows:
            if isinstance(row, Column):
                self._pieces[-1] += _line(row.key, row.source.value, row.encoding.value, "").removesuffix("\r\n")
                self._pieces.append("\r\n")
            else:
                self._pieces[-1] += _line(row.name, "namespace", "", "")

    def text(self, row: Row) -> str:
        """The CSV with the cells of *row*."""
        return "".join(chain.from_iterable(zip(self._pieces, map(_quoted, row.cells), strict=False))) + self._pieces[-1]


def _line(*cells: str) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(cells)
    return stream.getvalue()


_NEEDS_QUOTES: Callable[[str], object] = re.compile(r'[,"\r\n]').search


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES(cell) else cell
