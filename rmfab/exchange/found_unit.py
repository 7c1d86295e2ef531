"""One unit as a batch from elsewhere describes it, before anything is judged; and where such batches come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Protocol

from rmfab.errors import InputError
from rmfab.identity import node_id as node_ids
from rmfab.nvs.table import Entry, Value


@unique
class SourceKind(StrEnum):
    """The kind of a batch made elsewhere."""

    ADMIN_CLI = "rainmaker-admin-cli"
    MASS_MFG = "mass-mfg"
    CLAIMED = "esp-rainmaker-cli"


@dataclass(frozen=True, repr=False)
class FoundUnit:
    """The *entries* of one factory image, as its CSV says and its image confirms. *where*: file and line.

    *serial*: None if the source has none. *qr*: the payload of its QR code, if the source has it.
    """

    where: str
    serial: str | None
    entries: tuple[Entry, ...]
    qr: str | None = None


class BatchSource(Protocol):
    """A batch that was made elsewhere. *sha256* is the digest of the files that list its units, in hex.

    *authority*: the certificate of its CA, if it contains one. *flashed*: boards surely have its identities.
    *has_serials*: whether each unit has a serial.
    """

    @property
    def kind(self) -> SourceKind: ...
    @property
    def sha256(self) -> str: ...
    @property
    def authority(self) -> Path | None: ...
    @property
    def flashed(self) -> bool: ...
    @property
    def has_serials(self) -> bool: ...

    def prepare(self) -> Iterator[int]:
        """Read what the units are compared with; yield the number of images so far. Raise InputError."""
        ...

    def units(self) -> Iterator[FoundUnit | InputError]:
        """Yield the units in their order; for one that cannot be imported, the error with its place.

        Raise InputError if the source as a whole cannot be read.
        """
        ...

    def unused_images(self) -> int:
        """Return how many images belong to none of the units."""
        ...

    def close(self) -> None:
        """Remove what was kept while reading."""
        ...


def checked_node_id(value: Value | None) -> str:
    """Return the node id in the entry *value*. Raise InputError, which does not quote it: columns may be mixed up."""
    try:
        return node_ids.check(value.decode("ascii") if isinstance(value, bytes) else "")
    except (InputError, UnicodeDecodeError):
        raise InputError(
            "there is no usable node id",
            hint=f"it has 1 to {node_ids.MAX_LENGTH} letters, digits, . _ : and -",
            cause="node-id",
        ) from None


def entries_digest(entries: Iterable[Entry]) -> bytes:
    """Return a digest of *entries*: equal for images in which firmware finds the same, in whatever order."""
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda one: (one.namespace, one.key)):
        head = f"{entry.namespace}\0{entry.key}\0{entry.kind.value}\0".encode()
        for part in (head, entry.content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
