"""A release: the common firmware of a product's boards, its parts, and what is recorded about it.

`rmfab.release.manifest` writes that down. The SHA-256 of the manifest is the release's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppDescriptor, AppImage
from rmfab.release.build_config import UNKNOWN, BuildConfig
from rmfab.release.edition import NO_EDITION, Edition
from rmfab.release.manifest import encode_manifest
from rmfab.release.origin import BuildOrigin
from rmfab.release.partition_table import PartitionTable
from rmfab.release.parts import APP, BOOTLOADER, TABLE, Document, Part
from rmfab.release.signature_blocks import SignatureBlock, signature_blocks


@dataclass(frozen=True)
class Release:
    """The firmware for *chip*: *parts* ordered by offset, and the parsed content of three of them.

    *table_offset* is where the build expects the partition table; *source* the file or folder that the release was read
    from, *found* what kind of build that is and how it was recognised, empty for a bundle. *configured* is the
    configuration of the build, *documents* are ordered by name. *origin* is where a build comes from, None for a
    bundle, whose provenance contains it.
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
    found: str = field(default="", compare=False)
    origin: BuildOrigin | None = field(default=None, compare=False)

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
        """Parse table and images in *parts*. *table_offset* defaults to that of the part `partition-table`.

        Raise InputError if a part is missing, duplicate or invalid. `rmfab.release.preflight` judges whether the parts
        fit together.
        """
        by_name = _by_name(parts, source)
        bootloader = AppImage.parse(by_name[BOOTLOADER].data, f"{source}: {BOOTLOADER}")
        image = AppImage.parse(by_name[APP].data, f"{source}: {APP}")
        app, flash_size = _descriptor(image, source), _flash_size(bootloader, source)
        return cls(
            chip=chip,
            parts=tuple(sorted(by_name.values(), key=lambda part: (part.offset, part.name))),
            table_offset=by_name[TABLE].offset if table_offset is None else table_offset,
            table=PartitionTable.parse(by_name[TABLE].data, f"{source}: {TABLE}"),
            bootloader_image=bootloader,
            app_image=image,
            app=app,
            flash_size=flash_size,
            source=source,
            edition=replace(edition, version="") if edition.version == app.version else edition,
            configured=configured,
            documents=tuple(sorted(documents, key=lambda document: document.name)),
        )

    @property
    def version(self) -> str:
        """The version of the edition, or of the app if that is empty."""
        return self.edition.version or self.app.version

    @property
    def seq(self) -> int | None:
        """The number in the order of releases, None for a build that was not released."""
        return self.edition.seq

    @property
    def name(self) -> str:
        """Project and version, for people."""
        return f"{self.app.project} {self.version}"

    @cached_property
    def bootloader_signatures(self) -> tuple[SignatureBlock, ...]:
        """The bootloader's signature blocks for secure boot v2. Raise InputError if one is invalid."""
        return self._signatures(BOOTLOADER, self.bootloader_image)

    @cached_property
    def app_signatures(self) -> tuple[SignatureBlock, ...]:
        """The app's signature blocks for secure boot v2. Raise InputError if one is invalid."""
        return self._signatures(APP, self.app_image)

    def _signatures(self, name: str, image: AppImage) -> tuple[SignatureBlock, ...]:
        return signature_blocks(self.part(name).data, image.length, f"{self.source}: {name}")

    @property
    def flash_mode(self) -> str:
        """The SPI mode of the flash in the bootloader's header: dio, qio, …"""
        return self.bootloader_image.flash_mode

    @property
    def flash_freq(self) -> str:
        """The flash frequency in the bootloader's header, such as 80m."""
        return self.bootloader_image.flash_freq

    @property
    def idf_version(self) -> str:
        """The ESP-IDF version in the app's descriptor."""
        return self.app.idf_version

    @property
    def min_revision(self) -> int:
        """The oldest chip revision (major * 100 + minor) that both images run on."""
        return max(self.bootloader_image.min_revision, self.app_image.min_revision)

    @property
    def max_revision(self) -> int:
        """The newest chip revision that both images run on; 0xFFFF if none is set."""
        return min(self.bootloader_image.max_revision, self.app_image.max_revision)

    def find(self, name: str) -> Part | None:
        """Return the part with this name, or None."""
        return next((part for part in self.parts if part.name == name), None)

    def part(self, name: str) -> Part:
        """Return the part with this name. Raise InputError if there is none."""
        part = self.find(name)
        if part is None:
            raise InputError(f"the release has no part {name}", where=self.source, cause="part-missing")
        return part

    @cached_property
    def manifest(self) -> bytes:
        """The bytes of the manifest."""
        return encode_manifest(self)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the manifest, in hex: the name of the release that cannot be forged."""
        return hashlib.sha256(self.manifest).hexdigest()


def _by_name(parts: Iterable[Part], source: str) -> dict[str, Part]:
    """Return the parts by name. Raise InputError unless bootloader, partition table and app are among them."""
    by_name: dict[str, Part] = {}
    for part in parts:
        if part.name in by_name:
            raise InputError(f"two parts are called {part.name}", where=source)
        by_name[part.name] = part
    for name in (BOOTLOADER, TABLE, APP):
        if name not in by_name:
            raise InputError(f"the release has no part {name}", where=source, cause="part-missing")
    return by_name


def _descriptor(image: AppImage, source: str) -> AppDescriptor:
    if image.descriptor is None:
        raise InputError("the app has no descriptor with project and version", where=f"{source}: {APP}")
    return image.descriptor


def _flash_size(bootloader: AppImage, source: str) -> int:
    if bootloader.flash_size is None:
        raise InputError("the bootloader's header has no valid flash size", where=f"{source}: {BOOTLOADER}")
    return bootloader.flash_size
