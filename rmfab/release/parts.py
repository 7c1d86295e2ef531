"""The files of a release: parts, which are written to flash, and documents, which accompany it."""

from __future__ import annotations

import hashlib
from dataclasses import InitVar, dataclass, field
from functools import cached_property

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name

BOOTLOADER, TABLE, APP = "bootloader", "partition-table", "app"
PARTS = "parts/"
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Document:
    """A file that accompanies a release: bill of materials or provenance. *name* is its member name in bundles."""

    name: str
    data: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Part:
    """Bytes and their flash offset; *sha256* in hex, computed if omitted.

    *encrypted*: the build requires flash encryption for this part. *proven*: the bytes were checked against *sha256*
    before. Raise InputError for a name that cannot be a file name or an offset beyond 32 bits, IntegrityError if
    *sha256* does not match.
    """

    name: str
    offset: int
    data: bytes = field(repr=False)
    sha256: str = ""
    encrypted: bool = False
    proven: InitVar[bool] = False

    def __post_init__(self, proven: bool) -> None:
        if not is_safe_name(self.name):
            raise InputError(f'"{self.name}" is not a valid part name')
        if not self.data or self.offset < 0 or self.end > 1 << 32:
            raise InputError(f"part {self.name}: {len(self.data)} bytes at {self.offset} are not a range of flash")
        digest = self.sha256 if proven else hashlib.sha256(self.data).hexdigest()
        if self.sha256 not in ("", digest):
            raise IntegrityError(f"part {self.name}: its SHA-256 is {digest}, not {self.sha256}", cause="part-digest")
        object.__setattr__(self, "sha256", digest)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.data)

    @property
    def end(self) -> int:
        """The first offset after the part."""
        return self.offset + len(self.data)


def part_name(part: Part) -> str:
    """Return the name of a part in bundles and manifests."""
    return f"{PARTS}{part.name}.bin"
