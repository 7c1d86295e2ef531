"""The files that the cells of a CSV name in `file` rows.

A CSV may come from someone else, and what its files contain ends up in images. So a file must be in one of the given
folders, after all links are followed, and a regular file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input

_LARGEST = 1 << 22
"""More than the largest blob (508,000 bytes) takes as hex digits or base64."""


class NamedFiles:
    """Reader of the files in *folders*, by names relative to *base*. It keeps the last 64: rows often alternate."""

    def __init__(self, base: Path, folders: Iterable[Path]) -> None:
        self._base = base
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        self.read = lru_cache(maxsize=64)(self._read)

    def _read(self, name: str) -> bytes:
        """Return the content of the file *name*. Raise InputError if it is not allowed, missing or too large."""
        if not name:
            raise InputError("the file name is blank")
        if "\0" in name:
            raise InputError("the file name has a NUL character")
        path = Path(os.path.realpath(self._base / name))
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise InputError(
                f'"{name}" is outside of the folder of this CSV',
                hint="--allow-files DIR allows the files in one more folder",
                cause="file-outside",
            )
        if path.exists() and not path.is_file():
            raise InputError(f'"{name}" is not a regular file')
        try:
            return read_input(path, most=_LARGEST)
        except InputError as error:
            raise InputError(f'{error.what} ("{name}")', hint=f"name files relative to {self._shown_base}") from None

    @property
    def _shown_base(self) -> str:
        return "the working directory" if self._base == Path() else str(self._base)
