"""The files of a shelf that anyone may fetch, found by the target of a request."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from rmfab.ota.index import BY_CONTENT, LATEST

_TARGET = re.compile(r"(?:https?://[^/?]*)?/([^?]*)(?:\?.*)?", re.IGNORECASE)  # origin-form, absolute-form
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Served:
    """An open file. Replacing it affects later requests only. *etag* is a strong entity tag."""

    stream: FileIO = field(repr=False)
    size: int
    etag: str
    content_type: str
    cache_control: str


@contextmanager
def open_served(root: Path, target: str) -> Iterator[Served | None]:
    """Yield the file below *root*, a resolved path, that *target* names; None if there is none.

    Names are used as written: names on a shelf need no escapes. Links are followed inside *root* only.
    """
    name = _name(target)
    path = None if name is None else _inside(root, name)
    if name is None or path is None:
        yield None
        return
    try:
        stream = path.open("rb", buffering=0)
    except OSError:  # just removed, or not readable
        yield None
        return
    with stream:
        yield Served(
            stream,
            os.fstat(stream.fileno()).st_size,
            f'"{_digest(name, stream)}"',
            "application/octet-stream" if name.endswith(".bin") else "application/json",
            "no-cache" if name == LATEST else _FOR_EVER,
        )


def _name(target: str) -> str | None:
    """Return the name below the shelf, None if no file of a shelf has it; a query is ignored."""
    match = _TARGET.fullmatch(target)
    name = match[1] if match else ""
    return name if name == LATEST or BY_CONTENT.fullmatch(name) else None


def _inside(root: Path, name: str) -> Path | None:
    try:
        path = (root / name).resolve(strict=True)
        regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError):  # RuntimeError: a cycle of links
        return None
    return path if regular and path.is_relative_to(root) else None


def _digest(name: str, stream: FileIO) -> str:
    """Return the SHA-256 of the content: from the name if it contains one, else computed."""
    match = BY_CONTENT.fullmatch(name)
    if match is not None:
        return match[match.lastindex or 0]
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0)
    return digest
