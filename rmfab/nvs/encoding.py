"""The decoder of a values file: cells become NVS entries, as in esp_idf_nvs_partition_gen, but checked.

Integers are decimal, as Python parses them. `binary` encodes a cell's text as UTF-8. `hex2bin` and `base64` are
decoded; whitespace around the text (in base64 anywhere) is allowed. A `file` is read as a whole and decoded in the
same way.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from pathlib import Path

from rmfab.errors import InputError
from rmfab.nvs.grammar import Column, Config, Encoding, Row, Source
from rmfab.nvs.named_files import NamedFiles
from rmfab.nvs.spreadsheet import HINT, is_rounded
from rmfab.nvs.table import Entry, Namespace
from rmfab.nvs.wifi_companions import COMPANIONED, with_companions

Decoder = Callable[[str | bytes], int | str | bytes]


class RowEncoder:
    """The encoder of rows into items to pack. A cell that equals the one above is decoded once.

    *files* reads the files of `file` columns; without it, there are none.
    """

    def __init__(self, config: Config, values: Path, files: NamedFiles | None = None) -> None:
        self._columns = config.columns
        self._layout = tuple(row if isinstance(row, Namespace) else None for row in config.rows)
        self._plain = all(isinstance(row, Column) for row in config.rows[1:])
        self._companions = any(column.key in COMPANIONED for column in self._columns)
        self._values = values
        self._file = (files or NamedFiles(Path(), ())).read
        self._above: list[tuple[str, Entry] | None] = [None] * len(self._columns)

    def items(self, row: Row) -> list[Entry | Namespace]:
        """Return the namespaces and entries of one device. Raise InputError with file, line and column."""
        entries = self.entries(row)
        items: list[Entry | Namespace] = []
        if self._plain:
            items.extend(filter(None, self._layout[:1]))
            items.extend(entries)
        else:
            following = iter(entries)
            items.extend(next(following) if namespace is None else namespace for namespace in self._layout)
        return with_companions(items) if self._companions else items

    def entries(self, row: Row) -> list[Entry]:
        """Return the entries of the config's columns only. Raise InputError as `items` does."""
        entries = []
        above = self._above
        for place, cell in enumerate(row.cells):
            known = above[place]
            if known is None or known[0] != cell:
                known = above[place] = (cell, self.entry(self._columns[place], cell, row.line))
            entries.append(known[1])
        return entries

    def complaints(self, row: Row) -> list[InputError]:
        """Return all errors of the cells of *row*."""
        found = []
        for column, cell in zip(self._columns, row.cells, strict=True):
            try:
                self.entry(column, cell, row.line)
            except InputError as error:
                found.append(error)
        return found

    def entry(self, column: Column, cell: str, line: int) -> Entry:
        """Return the entry of one cell. Raise InputError with file, line and column."""
        try:
            raw = cell if column.source is Source.DATA else self._file(cell)
            return Entry(column.namespace, column.key, column.encoding.kind, _DECODERS[column.encoding](raw))
        except InputError as error:
            raise InputError(
                f'column "{column.key}": {error.what}',
                where=f"{self._values}:{line}",
                hint=error.hint,
                cause=error.cause,
            ) from None


def _integer(raw: str | bytes) -> int:
    if not raw.strip():
        raise InputError("the integer is missing")
    try:
        return int(raw)
    except ValueError:
        text = str(raw, "ascii", "replace") if isinstance(raw, bytes) else raw
        hint = "write it in decimal" if text.strip()[:2].lower() == "0x" else HINT if is_rounded(text.strip()) else None
        raise InputError("not an integer", hint=hint) from None


def _string(raw: str | bytes) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InputError("the file is not UTF-8 text", hint='use the encoding "binary"') from None


def _binary(raw: str | bytes) -> bytes:
    return raw.encode() if isinstance(raw, str) else raw


def _hex(raw: str | bytes) -> bytes:
    text = raw.strip()
    if isinstance(text, str) and len(text) < 16 and is_rounded(text):
        raise InputError("not a hex digit", hint=HINT)
    if len(text) % 2:
        raise InputError(f"odd number of hex digits ({len(text)})")
    try:
        return binascii.a2b_hex(text)
    except ValueError:
        raise InputError("not a hex digit", hint="use hex digits only, without 0x, spaces or colons") from None


def _base64(raw: str | bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(_binary(raw).split()), strict_mode=True)
    except ValueError as error:
        raise InputError(f"invalid base64: {str(error)[:1].lower()}{str(error)[1:]}") from None


_DECODERS: dict[Encoding, Decoder] = dict.fromkeys(Encoding, _integer) | {
    Encoding.STRING: _string,
    Encoding.BINARY: _binary,
    Encoding.HEX2BIN: _hex,
    Encoding.BASE64: _base64,
}
