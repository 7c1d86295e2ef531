"""The CSV of a single device: the input of ESP-IDF's nvs_partition_gen, and what `nvs generate` writes to `csv/`.

A header `key,type,encoding,value`, then `NAME,namespace,,` and `KEY,data|file,ENCODING,VALUE`. Lines that begin with
`#` are comments. Source: ESP-IDF, "NVS Partition Generator Utility", section "CSV File Format".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rmfab.errors import InputError
from rmfab.nvs.csv_dialect import Complaints, Record, records
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Column, Config, ConfigReader
from rmfab.nvs.named_files import NamedFiles
from rmfab.nvs.table import Entry, Namespace
from rmfab.nvs.wifi_companions import with_companions

HEADER = ("key", "type", "encoding", "value")


def read_device_csv(
    path: Path, allow_files: Sequence[Path] = (), files: NamedFiles | None = None
) -> list[Entry | Namespace]:
    """Return the items of a device's CSV, in order.

    The files of `file` rows, relative to the working directory, must be in the folder of the CSV or in one of
    *allow_files*; or *files* reads them. Raise ComplaintsError (an InputError) with file and line of everything that is
    wrong.
    """
    source = records(path, "CSV", comments=True)
    _judge_header(next(source, None), path)
    complaints = Complaints(path)
    named = files or NamedFiles(Path(), (path.parent, *allow_files))
    reader = _DeviceReader(complaints, RowEncoder(Config(path, ()), path, named))
    for record in source:
        reader.take(record)
    if not reader.items and not complaints.found:
        complaints.add(1, "the CSV has no entries")
    complaints.settle()
    return with_companions(reader.items)


def _judge_header(header: Record | None, path: Path) -> None:
    if header is None or tuple(cell.strip() for cell in header.cells[:4]) != HEADER:
        raise InputError(
            f"the header is not {','.join(HEADER)}",
            where=f"{path}:{header.line if header else 1}",
            hint="`rmfab nvs generate` takes a config and a values file instead",
        )


class _DeviceReader:
    def __init__(self, complaints: Complaints, encoder: RowEncoder) -> None:
        self._complaints = complaints
        self._encoder = encoder
        self._keys = ConfigReader(complaints)
        self.items: list[Entry | Namespace] = []

    def take(self, record: Record) -> None:
        """Read one row."""
        cells = record.cells
        if any(cell.strip() for cell in cells[4:]) or len(cells) < 2:
            self._complaints.add(record.line, f"{len(cells)} cells, expected {','.join(HEADER)}")
            return
        before = len(self._keys.rows)
        self._keys.take(Record(record.line, cells[:3]))
        for row in self._keys.rows[before:]:
            value = cells[3] if len(cells) > 3 else ""
            if isinstance(row, Column):
                self._take_entry(row, value, record.line)
            elif value.strip():
                self._complaints.add(record.line, "a namespace has no value")
            else:
                self.items.append(row)

    def _take_entry(self, column: Column, value: str, line: int) -> None:
        try:
            self.items.append(self._encoder.entry(column, value, line))
        except InputError as error:
            self._complaints.take(error)
