"""A batch as a pair of mass_mfg CSVs with their images: of the official admin CLI, of mfg_gen.py, or of `rmfab build`.

The admin CLI adds a registration file, its CA, and a column with the payload of the QR code. Source:
esp-rainmaker-admin-cli, rmaker_admin_lib/certs.py (`_create_mfg_config_file`, `_mfg_files_init`,
`_save_nodeid_cert_and_qrcode_to_file`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.exchange.found_unit import FoundUnit, SourceKind, checked_node_id
from rmfab.exchange.source_files import SourceFiles, files_digest
from rmfab.exchange.source_index import SourceIndex
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Row, parse_config, read_values
from rmfab.nvs.table import Entry

SERIAL, QR_CODE = "serial", "qrcode"


@dataclass(frozen=True)
class SheetPaths:
    """The files of a batch in *folder*. *registration* and *authority*: None if there is none."""

    folder: Path
    config: Path
    values: Path
    images: Path
    registration: Path | None = None
    authority: Path | None = None


class MassMfgSource:
    """The batch at *paths*; its serials are in the column *serial_column*, None for `serial` if there is one.

    *namespace* is the one of RainMaker's keys. Raise InputError if there is no such column, or as `parse_config` and
    `read_values` do.
    """

    flashed = False

    def __init__(self, kind: SourceKind, paths: SheetPaths, namespace: str, serial_column: str | None) -> None:
        self.kind = kind
        self.authority = paths.authority
        self._paths = paths
        self._namespace = namespace
        listed = [path for path in (paths.config, paths.values, paths.registration) if path is not None]
        self._listed = listed
        self.sha256 = files_digest(listed)
        self._values = read_values(parse_config(paths.config), paths.values)
        if serial_column is not None:
            self._serial: int | None = self._values.place(serial_column)
        else:
            self._serial = self._values.header.index(SERIAL) if SERIAL in self._values.header else None
        self._qr = self._values.header.index(QR_CODE) if QR_CODE in self._values.header else None
        self._index = SourceIndex(paths.images, namespace)

    @property
    def has_serials(self) -> bool:
        """Whether each unit has a serial."""
        return self._serial is not None

    def prepare(self) -> Iterator[int]:
        """Read the registered certificates and the images; yield the number of images so far."""
        if self._paths.registration is not None:
            self._index.read_certificates(self._paths.registration)
        yield from self._index.read_images()

    def units(self) -> Iterator[FoundUnit | InputError]:
        """Yield the unit of each row, then the images that cannot be read. Raise InputError for CSVs that cannot be
        read, or have changed."""
        if files_digest(self._listed) != self.sha256:
            raise InputError("a file changed while it was in use", where=str(self._paths.values))
        encoder = RowEncoder(self._values.config, self._values.path, SourceFiles(self._paths.folder))
        for row in self._values:
            where = f"{self._values.path}:{row.line}"
            try:
                yield self._unit(row, encoder, where)
            except InputError as error:
                yield InputError(error.what, where=where, hint=error.hint, cause=error.cause)
        yield from self._index.unreadable

    def unused_images(self) -> int:
        """Return how many images belong to no row."""
        return self._index.unused_images()

    def close(self) -> None:
        """Remove the index."""
        self._index.close()

    def _unit(self, row: Row, encoder: RowEncoder, where: str) -> FoundUnit:
        """Return the unit of *row*. Raise InputError for a bad cell or file, or if its image says otherwise."""
        entries = tuple(item for item in encoder.items(row) if isinstance(item, Entry))
        told = {one.key: one.value for one in entries if one.namespace == self._namespace}
        node_id, certificate = checked_node_id(told.get("node_id")), told.get("client_cert")
        self._index.judge_image(node_id, entries)
        if isinstance(certificate, bytes):
            self._index.judge_registered(node_id, certificate)
        return FoundUnit(
            where,
            None if self._serial is None else row.record[self._serial],
            entries,
            None if self._qr is None else row.record[self._qr] or None,
        )
