"""The CSV of `rmfab generate --values`: values that are given for each identity instead of drawn.

Columns: `serial`, `node_id`, and every column of the extra mass_mfg config, in any order. The whole file is judged
before anything is made. Its rows keep their order, and so the values of a row stay together.

If serials come with the board, the file has no serials: a column `serial` is then only a key of the extra config, and
`{serial}` in an extra value is the serial, once the identity has one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import file_error, is_safe_name
from rmfab.identity import node_id as node_ids
from rmfab.identity.extra_keys import as_data, inline, load_extra
from rmfab.nvs.csv_dialect import Complaints
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Config, Row, Values, read_values
from rmfab.nvs.named_files import NamedFiles
from rmfab.nvs.spreadsheet import SpreadsheetJudge, SpreadsheetWarning
from rmfab.product.product import Product
from rmfab.product.toml_reader import suggestion
from rmfab.product.vocabulary import Credentials, NodeIdKind

SERIAL = "serial"
NODE_ID = "node_id"
SERIAL_MARK = "{serial}"

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ValuesRow:
    """The values of one identity. *extra*: namespace, key and cell of each column of the extra config."""

    line: int
    serial: str | None
    node_id: str | None
    extra: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ValuesFile:
    """A valid values file of *count* rows; *sha256* is the digest of the file, in hex. *warnings* name cells that a
    spreadsheet program may have changed."""

    path: Path
    count: int
    sha256: str
    serials: bool
    node_ids: bool
    warnings: tuple[SpreadsheetWarning, ...]
    _values: Values = field(repr=False)
    _config: Config = field(repr=False)
    _files: NamedFiles = field(repr=False, compare=False)

    def rows(self) -> Iterator[ValuesRow]:
        """Yield the rows in order. Raise InputError if the file has changed since it was judged."""
        if _digest(self.path) != self.sha256:
            raise InputError("the file changed while it was in use", where=str(self.path))
        serial = _place(self._values, SERIAL) if self.serials else None
        node_id = _place(self._values, NODE_ID)
        for row in self._values:
            cells = zip(self._config.columns, _inlined(self._config, row, self._files), strict=True)
            yield ValuesRow(
                row.line,
                None if serial is None else row.record[serial],
                None if node_id is None else row.record[node_id],
                tuple((column.namespace, column.key, cell) for column, cell in cells),
            )


def open_values(path: Path, product: Product, allow_files: Sequence[Path] = ()) -> ValuesFile:
    """Judge a values file for *product*. Raise InputError, or ComplaintsError with file, line and column of each.

    The files of `file` columns, relative to the folder of the config, must be in that folder, in the one of the values
    file, or in one of *allow_files*.
    """
    extra = load_extra(product.factory)
    config = Config(path, ()) if extra is None else extra
    files = NamedFiles(config.path.parent, (config.path.parent, path.parent, *allow_files))
    digest = _digest(path)
    values = read_values(config, path)
    complaints = Complaints(path)
    _judge_header(values, product, complaints)
    complaints.settle()
    columns = (NODE_ID,) if product.serial.late else (SERIAL, NODE_ID)
    checker = _Checker(values, config, files, complaints, columns)
    try:
        for row in values:
            checker.check(row)
    except ComplaintsError as error:
        if checker.settled:
            raise
        complaints.take(*error.complaints)
    finally:
        checker.close()
    complaints.settle()
    given = (SERIAL in columns and SERIAL in values.header, NODE_ID in values.header)
    return ValuesFile(path, checker.count, digest, *given, checker.warnings(), values, config, files)


def judge_no_values_needed(product: Product) -> None:
    """Raise InputError if identities of *product* cannot be made without a values file."""
    if product.identity.node_id is NodeIdKind.VALUES:
        raise InputError(
            "the node ids of this product come from a values file",
            where="[identity] node_id",
            hint="use rmfab generate --values FILE with a column node_id",
        )
    extra = load_extra(product.factory)
    if extra is not None and extra.columns:
        names = ", ".join(dict.fromkeys(column.key for column in extra.columns))
        raise InputError(
            "the extra config of this product requires values for each identity",
            where="[factory] config",
            hint=f"use rmfab generate --values FILE with columns {names}",
        )


class _Checker:
    """Judge of rows, one after the other. A temporary database on disk records values that must be unique."""

    def __init__(
        self, values: Values, config: Config, files: NamedFiles, complaints: Complaints, columns: Sequence[str]
    ) -> None:
        self._places = {name: _place(values, name) for name in columns}
        self._path = values.path
        self._complaints = complaints
        self._config = config
        self._files = files
        self._encoder = RowEncoder(as_data(config), values.path)
        self._seen = sqlite3.connect("")
        self._seen.execute("CREATE TABLE seen (name TEXT, value TEXT, line INTEGER, PRIMARY KEY (name, value))")
        names = [place for place in self._places.values() if place is not None]
        self._spreadsheet = SpreadsheetJudge(values.path, values.header, [*values.text_places(), *names])
        self.settled = False
        self.count = 0

    def warnings(self) -> tuple[SpreadsheetWarning, ...]:
        """Return the warnings about the rows so far."""
        return tuple(self._spreadsheet.warnings())

    def close(self) -> None:
        self._seen.close()

    def check(self, row: Row) -> None:
        self.count += 1
        self._spreadsheet.take(row)
        try:
            for name, place in self._places.items():
                if place is not None:
                    self._judge_name(name, row.record[place], row.line)
            self._judge_extra(row)
        except ComplaintsError:
            self.settled = True
            raise

    def _judge_name(self, name: str, value: str, line: int) -> None:
        if not value:
            self._complaints.add(line, "the cell is blank", column=name)
            return
        if name == SERIAL and not is_safe_name(value):
            hint = "use 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot: a serial becomes a file name"
            self._complaints.add(line, f'"{value[:80]}" is not a valid serial', column=name, hint=hint)
            return
        if name == NODE_ID:
            try:
                node_ids.check(value)
            except InputError as error:
                self._complaints.add(line, error.what, column=name, hint=error.hint)
                return
        self._judge_unique(name, value, line)

    def _judge_unique(self, name: str, value: str, line: int) -> None:
        try:
            self._seen.execute("INSERT INTO seen VALUES (?, ?, ?)", (name, value, line))
        except sqlite3.IntegrityError:
            query = "SELECT line FROM seen WHERE name = ? AND value = ?"
            earlier = self._seen.execute(query, (name, value)).fetchone()[0]
            self._complaints.add(line, f'"{value}" is already on line {earlier}', column=name)

    def _judge_extra(self, row: Row) -> None:
        if not self._config.columns:
            return
        try:
            cells = _inlined(self._config, row, self._files)
        except InputError as error:
            self._complaints.take(
                InputError(error.what, where=f"{self._path}:{row.line}", hint=error.hint, cause=error.cause)
            )
            return
        self._complaints.take(*self._encoder.complaints(row._replace(cells=cells)))


def _judge_header(values: Values, product: Product, complaints: Complaints) -> None:
    known = list(dict.fromkeys([SERIAL, NODE_ID, *(column.key for column in values.config.columns)]))
    for name in values.header:
        if name not in known:
            hint = suggestion(name, known) or f"columns: {', '.join(known)}"
            complaints.add(1, f'unknown column "{name}"', hint=hint)
    of_config = [column.key for column in values.config.columns]
    for name in (SERIAL, NODE_ID):
        if values.header.count(name) > max(1, of_config.count(name)):
            complaints.add(1, f'column "{name}" appears {values.header.count(name)} times')
    if product.serial.late and SERIAL in values.header and SERIAL not in of_config:
        hint = f"remove the column; {SERIAL_MARK} in a column of the extra config is the serial"
        complaints.add(1, f'unexpected column of serials: [product] serial is "{product.serial}"', hint=hint)
    if NODE_ID in values.header:
        if product.identity.credentials is Credentials.CLOUD_CLAIM and NODE_ID not in of_config:
            hint = 'remove the column, or set [identity] credentials = "certificate"'
            complaints.add(1, "unexpected column of node ids: self or assisted claiming assigns them", hint=hint)
    elif product.identity.node_id is NodeIdKind.VALUES:
        hint = 'add the column, or set [identity] node_id = "shortuuid"'
        complaints.add(1, 'missing column "node_id"', hint=hint)


def _inlined(config: Config, row: Row, files: NamedFiles) -> tuple[str, ...]:
    cells = []
    for column, cell in zip(config.columns, row.cells, strict=True):
        try:
            cells.append(inline(column, cell, files))
        except InputError as error:
            raise InputError(f'column "{column.key}": {error}', hint=error.hint, cause=error.cause) from None
    return tuple(cells)


def _place(values: Values, name: str) -> int | None:
    return values.header.index(name) if name in values.header else None


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                digest.update(piece)
    except OSError as error:
        raise file_error("cannot read the values file", error, str(path)) from error
    return digest.hexdigest()
