"""A release: the common firmware of a product's boards, its parts, and what its owner and they say of it.

Its manifest is canonical JSON, an in-toto Statement (spec v1, statement.md): the subjects are the parts and documents
with their digests, the predicate is all else. The release's digest is the SHA-256 of the manifest's bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppDescriptor, AppImage
from rmfab.release.build_config import UNKNOWN, BuildConfig
from rmfab.release.partition_table import PartitionTable
from rmfab.release.signature_blocks import SignatureBlock, signature_blocks
from rmfab.signing import canonical

if TYPE_CHECKING:
    from rmfab.release.bundle import Bundle

FORMAT = "rmfab-release"
FORMAT_VERSION = 2
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:rmfab:release"
BOOTLOADER, TABLE, APP = "bootloader", "partition-table", "app"
PARTS = "parts/"
PROVENANCE = "provenance.json"
LARGEST_SEQ = (1 << 53) - 1  # what every reader of JSON takes for a whole number
LARGEST_TIME = 8**11 - 1  # what the header of an archive holds: until the year 2242

_MOST_NOTES = 64 << 10
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")


@dataclass(frozen=True)
class Edition:
    """How its owner counts a release: *version* (the app's own where it is empty), *seq*, which only ever grows, and
    *notes*. *created* in seconds of Unix time: of the sources, not of the build. Raises InputError."""

    version: str = ""
    seq: int | None = None
    notes: str = ""
    created: int | None = None

    def __post_init__(self) -> None:
        if len(self.notes.encode()) > _MOST_NOTES:
            raise InputError(f"the notes have over {_MOST_NOTES >> 10} KiB", hint="a link to them, perhaps")
        if self.version and not _VERSION.fullmatch(self.version):
            raise InputError(f'"{self.version}" is no version', hint="at most 64 of A-Z a-z 0-9 . + _ -")
        for name, number, largest in (("seq", self.seq, LARGEST_SEQ), ("time", self.created, LARGEST_TIME)):
            if number is not None and not 0 <= number <= largest:
                raise InputError(f"{number} is no {name} of a release: 0 to {largest}")


NO_EDITION = Edition()
"""That of a build which nobody has released."""


@dataclass(frozen=True)
class Document:
    """A file that travels with a release: the bill of materials, the provenance. *name* as it is called in bundles."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Part:
    """Bytes and where in the flash they go; *sha256* in hex, worked out where it is left out.

    *encrypted*: the build wants the flash encryption to take the part in. *proven*: the bytes were held against
    *sha256* already. Raises InputError for a name that cannot be a file's or an offset outside of 32 bits,
    IntegrityError where *sha256* is another.
    """

    name: str
    offset: int
    data: bytes = field(repr=False)
    sha256: str = ""
    encrypted: bool = False
    proven: InitVar[bool] = False

    def __post_init__(self, proven: bool) -> None:
        if not is_safe_name(self.name):
            raise InputError(f'"{self.name}" cannot be the name of a part')
        if not self.data or self.offset < 0 or self.end > 1 << 32:
            raise InputError(f"part {self.name}: {len(self.data)} bytes at {self.offset} are no range of flash")
        digest = self.sha256 if proven else hashlib.sha256(self.data).hexdigest()
        if self.sha256 not in ("", digest):
            raise IntegrityError(f"part {self.name}: its SHA-256 is {digest}, not {self.sha256}", cause="part-digest")
        object.__setattr__(self, "sha256", digest)

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.data)

    @property
    def end(self) -> int:
        """The first offset after the part."""
        return self.offset + len(self.data)


@dataclass(frozen=True)
class Release:
    """The firmware for *chip*: *parts* in the order of their offsets, and what three of them hold.

    *table_offset* is where the build says that the partition table lies; *source* the file or folder it was read from.
    *configured* is what the build was configured to be, *documents* are in the order of their names.
    """

    chip: Chip
    parts: tuple[Part, ...]
    table_offset: int
    table: PartitionTable
    bootloader_image: AppImage
    app_image: AppImage
    app: AppDescriptor
    flash_size: int
    source: str = field(compare=False)
    edition: Edition = NO_EDITION
    configured: BuildConfig = UNKNOWN
    documents: tuple[Document, ...] = ()

    @classmethod
    def assemble(
        cls,
        chip: Chip,
        parts: Iterable[Part],
        source: str,
        *,
        table_offset: int | None = None,
        edition: Edition = NO_EDITION,
        configured: BuildConfig = UNKNOWN,
        documents: Iterable[Document] = (),
    ) -> Release:
        """Reads table and images out of *parts*. *table_offset* defaults to that of the part `partition-table`.

        Raises InputError where a part is missing, twice there or cannot be read. What does not fit together is for
        `rmfab.release.preflight`.
        """
        by_name: dict[str, Part] = {}
        for part in parts:
            if part.name in by_name:
                raise InputError(f"two parts are called {part.name}", where=source)
            by_name[part.name] = part
        for name in (BOOTLOADER, TABLE, APP):
            if name not in by_name:
                raise InputError(f"the release has no part {name}", where=source, cause="part-missing")
        bootloader = AppImage.parse(by_name[BOOTLOADER].data, f"{source}: {BOOTLOADER}")
        image = AppImage.parse(by_name[APP].data, f"{source}: {APP}")
        if image.descriptor is None:
            raise InputError("the app has no descriptor: no project and version", where=f"{source}: {APP}")
        if edition.version == image.descriptor.version:
            edition = replace(edition, version="")
        if bootloader.flash_size is None:
            raise InputError("the bootloader's header states no flash size", where=f"{source}: {BOOTLOADER}")
        return cls(
            chip=chip,
            parts=tuple(sorted(by_name.values(), key=lambda part: (part.offset, part.name))),
            table_offset=by_name[TABLE].offset if table_offset is None else table_offset,
            table=PartitionTable.parse(by_name[TABLE].data, f"{source}: {TABLE}"),
            bootloader_image=bootloader,
            app_image=image,
            app=image.descriptor,
            flash_size=bootloader.flash_size,
            source=source,
            edition=edition,
            configured=configured,
            documents=tuple(sorted(documents, key=lambda document: document.name)),
        )

    @property
    def version(self) -> str:
        """What its owner calls it, or else what the app calls itself."""
        return self.edition.version or self.app.version

    @property
    def seq(self) -> int | None:
        """Its place in the order of releases, None for a build that was not released."""
        return self.edition.seq

    @property
    def name(self) -> str:
        """Project and version, for people."""
        return f"{self.app.project} {self.version}"

    @cached_property
    def bootloader_signatures(self) -> tuple[SignatureBlock, ...]:
        """The bootloader's signature blocks for secure boot v2. Raises InputError where one does not hold."""
        return self._signatures(BOOTLOADER, self.bootloader_image)

    @cached_property
    def app_signatures(self) -> tuple[SignatureBlock, ...]:
        """The app's signature blocks for secure boot v2. Raises InputError where one does not hold."""
        return self._signatures(APP, self.app_image)

    def _signatures(self, name: str, image: AppImage) -> tuple[SignatureBlock, ...]:
        return signature_blocks(self.part(name).data, image.length, f"{self.source}: {name}")

    @property
    def flash_mode(self) -> str:
        """How the flash is read, as the bootloader's header says: dio, qio, …"""
        return self.bootloader_image.flash_mode

    @property
    def flash_freq(self) -> str:
        """The flash frequency, as the bootloader's header says, such as 80m."""
        return self.bootloader_image.flash_freq

    @property
    def idf_version(self) -> str:
        """The ESP-IDF that built the app, as its descriptor says."""
        return self.app.idf_version

    @property
    def min_revision(self) -> int:
        """The oldest chip revision (major * 100 + minor) that both images run on."""
        return max(self.bootloader_image.min_revision, self.app_image.min_revision)

    @property
    def max_revision(self) -> int:
        """The newest chip revision that both images run on; 0xFFFF where none is set."""
        return min(self.bootloader_image.max_revision, self.app_image.max_revision)

    def find(self, name: str) -> Part | None:
        """The part of this name, None where there is none."""
        return next((part for part in self.parts if part.name == name), None)

    def part(self, name: str) -> Part:
        """The part of this name. Raises InputError where there is none."""
        part = self.find(name)
        if part is None:
            raise InputError(f"the release has no part {name}", where=self.source, cause="part-missing")
        return part

    @cached_property
    def manifest(self) -> bytes:
        """The manifest's bytes."""
        return canonical.encode(_statement(self))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the manifest's bytes, in hex: the name of the release for all who must not be fooled."""
        return hashlib.sha256(self.manifest).hexdigest()


def open_unparsed(path: Path) -> Bundle | Release:
    """The bundle in a file, of which nothing is parsed yet, or the release of an ESP-IDF build folder.

    Raises InputError where it is neither or the folder cannot be used, IntegrityError where a bundle was altered.
    """
    # These two build on Release; importing them up there would be a circle.
    from rmfab.release.build_folder import read_build_folder
    from rmfab.release.bundle import open_bundle_file

    return read_build_folder(path) if path.is_dir() else open_bundle_file(path)


def open_release(path: Path) -> Release:
    """The release in a bundle file or a build folder, whoever has signed it. Raises as `open_unparsed` does."""
    there = open_unparsed(path)
    return there if isinstance(there, Release) else there.release()


def part_name(part: Part) -> str:
    """What a part is called in bundles and manifests."""
    return f"{PARTS}{part.name}.bin"


def moment(seconds: int) -> str:
    """A time as manifests write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _statement(release: Release) -> dict[str, object]:
    subjects = [(part_name(part), part.sha256) for part in release.parts]
    subjects += [(one.name, hashlib.sha256(one.data).hexdigest()) for one in release.documents]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects)],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(release) | _edition(release.edition),
    }


def _edition(edition: Edition) -> dict[str, object]:
    said: dict[str, object] = {}
    if edition.seq is not None:
        said["seq"] = edition.seq
    if edition.notes:
        said["notes"] = edition.notes
    if edition.created is not None:
        said["created"] = moment(edition.created)
    return said


def _predicate(release: Release) -> dict[str, object]:
    app = release.app
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": release.version,
        "chip": release.chip.value,
        "table_offset": release.table_offset,
        "flash": {"size": release.flash_size, "mode": release.flash_mode, "freq": release.flash_freq},
        "idf_version": release.idf_version,
        "configured": release.configured.to_json(),
        "app": {
            "project": app.project,
            "version": app.version,
            "elf_sha256": app.elf_sha256,
            "secure_version": app.secure_version,
        },
        "parts": [
            {"name": part.name, "offset": part.offset, "size": part.size, "sha256": part.sha256}
            for part in release.parts
        ],
        "partitions": [
            {
                "label": row.label,
                "type": int(row.type),
                "subtype": int(row.subtype),
                "offset": row.offset,
                "size": row.size,
                "encrypted": row.encrypted,
                "readonly": row.readonly,
            }
            for row in release.table.partitions
        ],
    }
