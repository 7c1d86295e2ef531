"""A release: the common firmware of a product's boards, its parts and what they say of themselves.

Its manifest is canonical JSON (sorted keys, two spaces, UTF-8, one newline at the end); the release's digest is the
SHA-256 of those bytes, the same for a build folder and for the bundle made of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppDescriptor, AppImage
from rmfab.release.partition_table import PartitionTable

FORMAT = "rmfab-release"
FORMAT_VERSION = 1
BOOTLOADER, TABLE, APP = "bootloader", "partition-table", "app"


@dataclass(frozen=True)
class Part:
    """Bytes and where in the flash they go; *sha256* in hex, worked out where it is left out.

    *encrypted*: the build wants the flash encryption to take the part in. Raises InputError for a name that cannot be
    a file's or an offset outside of 32 bits, IntegrityError where *sha256* is another.
    """

    name: str
    offset: int
    data: bytes = field(repr=False)
    sha256: str = ""
    encrypted: bool = False

    def __post_init__(self) -> None:
        if not is_safe_name(self.name):
            raise InputError(f'"{self.name}" cannot be the name of a part')
        if not self.data or self.offset < 0 or self.end > 1 << 32:
            raise InputError(f"part {self.name}: {len(self.data)} bytes at {self.offset} are no range of flash")
        digest = hashlib.sha256(self.data).hexdigest()
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

    @classmethod
    def assemble(cls, chip: Chip, parts: Iterable[Part], source: str, *, table_offset: int | None = None) -> Release:
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
        )

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
        text = json.dumps(_manifest(self), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the manifest's bytes, in hex: the name of the release for all who must not be fooled."""
        return hashlib.sha256(self.manifest).hexdigest()


def open_release(path: Path) -> Release:
    """The release in a bundle file or an ESP-IDF build folder.

    Raises InputError where it is neither or the folder cannot be used, IntegrityError where a bundle was altered.
    """
    # These two build on Release; importing them up there would be a circle.
    from rmfab.release.build_folder import read_build_folder
    from rmfab.release.bundle import read_bundle_file

    if path.is_dir():
        return read_build_folder(path)
    return read_bundle_file(path)


def _manifest(release: Release) -> dict[str, object]:
    app = release.app
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "chip": release.chip.value,
        "table_offset": release.table_offset,
        "flash": {"size": release.flash_size, "mode": release.flash_mode, "freq": release.flash_freq},
        "idf_version": release.idf_version,
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
