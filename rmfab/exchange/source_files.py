"""The files of a source: inside its folder, whatever paths its CSVs name.

The official tools write paths relative to the folder in which they ran, or absolute ones, and a factory moves its
batches. So only the end of a path counts: `out/2026-01-31/Mfg-000001/node_details/node-000001-X/node.crt` is
`node_details/node-000001-X/node.crt` in the folder of the batch. Source: esp-rainmaker-admin-cli, certs.py
(`_mfg_files_init`); esp-rainmaker-cli, claim.py (`set_csv_file_data`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from rmfab.errors import InputError
from rmfab.files import file_error
from rmfab.nvs.named_files import NamedFiles


class SourceFiles(NamedFiles):
    """Reader of the files in *folder* that the `file` cells of its CSVs name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, (folder,))
        self._folder = folder

    def _read(self, name: str) -> bytes:
        try:
            return super()._read(self._local(name))
        except InputError as error:
            hint = f"the file must be in {self._folder}" if error.cause == "file-outside" else error.hint
            raise InputError(error.what, hint=hint, cause=error.cause) from None

    def _local(self, name: str) -> str:
        """Return the longest end of the path *name* that exists in the folder; *name* itself if none does."""
        parts = PurePosixPath(name).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)) if parts[start] != "/")
        return next((end for end in ends if "\0" not in end and os.path.lexists(self._folder / end)), name)


def inside(folder: Path, name: str) -> Path:
    """Return the regular file *name* of *folder*. Raise InputError if it is not there, or a link to outside."""
    path = folder / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise InputError("a link to a file outside of the folder of this batch", where=str(path), cause="import-source")
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), cause="import-source")
    return path


def files_digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the content of *paths*, in hex. Raise InputError."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise file_error("cannot read this file", error, str(path)) from error
    return digest.hexdigest()
