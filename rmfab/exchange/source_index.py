"""What the units of a source are compared with: its images, its registered certificates, and each other.

A temporary database on disk, so that a source may be of any size. It contains digests and public names, no secret.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from rmfab.errors import InputError
from rmfab.exchange.found_unit import entries_digest
from rmfab.files import file_error, read_input
from rmfab.nvs.csv_dialect import records
from rmfab.nvs.decoding import decode_image
from rmfab.nvs.reader import Image
from rmfab.nvs.table import Entry

_LARGEST_IMAGE = 1 << 22
_MOST_UNREADABLE = 10_000
_TABLES = (
    "CREATE TABLE image (node_id TEXT, name BLOB, digest BLOB, used INTEGER DEFAULT 0)",
    "CREATE INDEX image_node_id ON image (node_id)",
    "CREATE TABLE certificate (node_id TEXT PRIMARY KEY, digest BLOB, line INTEGER)",
)


def read_sound_image(path: Path) -> Image:
    """Return the image in the file *path*. Raise InputError unless firmware reads it without any repair."""
    image = decode_image(read_input(path, "NVS image", most=_LARGEST_IMAGE))
    if not image.mountable or not image.sound:
        raise InputError("this image is damaged", hint=f"`rmfab nvs check {path}` says how", cause="import-image")
    return image


def differing(image: Image, entries: tuple[Entry, ...]) -> str:
    """Return the names of the keys in which *image* and *entries* differ."""
    theirs, ours = ({(one.namespace, one.key): one for one in some} for some in (image.entries, entries))
    names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    return ", ".join(f"{namespace}.{key}" for namespace, key in names)


class SourceIndex:
    """The index of one source: images of the folder *images* by the node id in key *namespace*.node_id."""

    def __init__(self, images: Path, namespace: str) -> None:
        self._images = images
        self._namespace = namespace
        self._db = sqlite3.connect("")
        for table in _TABLES:
            self._db.execute(table)
        self.unreadable: list[InputError] = []

    def read_images(self) -> Iterator[int]:
        """Read all images; yield their number so far. One that cannot be read is in `unreadable`, and has no unit."""
        for done, name in enumerate(self._names(), 1):
            self._read_image(name)
            yield done
        self.unreadable.sort(key=lambda one: str(one.where))

    def _names(self) -> Iterator[str]:
        """Yield the names of the images, in the order of the folder: there may be a hundred thousand."""
        try:
            with os.scandir(self._images) as entries:
                for entry in entries:
                    if Path(entry.name).suffix == ".bin":
                        yield entry.name
        except OSError as error:
            raise file_error("cannot read the folder of the images", error, str(self._images)) from error

    def _read_image(self, name: str) -> None:
        path = self._images / name
        try:
            if path.is_symlink() or not path.is_file():
                raise InputError("not a regular file in this folder", cause="import-image")
            image = read_sound_image(path)
        except InputError as error:
            if len(self.unreadable) < _MOST_UNREADABLE:
                self.unreadable.append(InputError(error.what, where=str(path), hint=error.hint, cause=error.cause))
            return
        told = image.value(self._namespace, "node_id")
        node_id = told.decode("ascii", "backslashreplace") if isinstance(told, bytes) else None
        self._db.execute(
            "INSERT INTO image (node_id, name, digest) VALUES (?, ?, ?)",
            (node_id, os.fsencode(name), entries_digest(image.entries)),
        )

    def read_certificates(self, path: Path) -> None:
        """Read the registration file *path* with columns node_id and certs. Raise InputError."""
        rows = records(path, "registration file")
        header = next(rows, None)
        names = [] if header is None else [cell.strip() for cell in header.cells]
        if "node_id" not in names or "certs" not in names:
            raise InputError("the header has no columns node_id and certs", where=f"{path}:1", cause="import-source")
        node_id, certs = names.index("node_id"), names.index("certs")
        for row in rows:
            if len(row.cells) != len(names):
                what = f"the row has {len(row.cells)} cells, the header has {len(names)}"
                raise InputError(what, where=f"{path}:{row.line}", cause="import-source")
            values = row.cells[node_id], _fingerprint(row.cells[certs].encode()), row.line
            self._db.execute("INSERT OR IGNORE INTO certificate VALUES (?, ?, ?)", values)

    def judge_image(self, node_id: str, entries: tuple[Entry, ...]) -> None:
        """Raise InputError unless exactly one image has this *node_id*, and it contains exactly *entries*."""
        found = self._db.execute("SELECT rowid, name, digest FROM image WHERE node_id = ?", (node_id,)).fetchall()
        if len(found) != 1:
            names = ", ".join(sorted(os.fsdecode(name) for _, name, _ in found)[:4])
            what = f"several images have the node id {node_id}: {names}" if found else f"no image has node id {node_id}"
            raise InputError(what, hint=f"images are read from {self._images}", cause="import-image")
        rowid, name, digest = found[0][0], os.fsdecode(found[0][1]), found[0][2]
        self._db.execute("UPDATE image SET used = 1 WHERE rowid = ?", (rowid,))
        if digest != entries_digest(entries):
            keys = differing(read_sound_image(self._images / name), entries)
            raise InputError(
                f"the image {name} and this row differ in {keys}",
                hint="find out which of the two is right: units may have been flashed with the image",
                cause="import-image",
            )

    def judge_registered(self, node_id: str, certificate_pem: bytes) -> None:
        """Raise InputError if a different certificate was registered for *node_id*."""
        row = self._db.execute("SELECT digest, line FROM certificate WHERE node_id = ?", (node_id,)).fetchone()
        if row is not None and row[0] != _fingerprint(certificate_pem):
            raise InputError(
                f"line {row[1]} of node_certs.csv has a different certificate for node {node_id}",
                hint="the cloud would not let this unit in: register the certificate of its image",
                cause="import-pair",
            )

    def unused_images(self) -> int:
        """Return how many images belong to none of the units that were asked for."""
        return int(self._db.execute("SELECT COUNT(*) FROM image WHERE used = 0").fetchone()[0])

    def close(self) -> None:
        """Remove the database."""
        self._db.close()


def _fingerprint(certificate_pem: bytes) -> bytes:
    """Return the SHA-256 of the certificate, nothing if it is none."""
    try:
        return x509.load_pem_x509_certificate(certificate_pem).fingerprint(hashes.SHA256())
    except ValueError:
        return b""
