"""The manifest of a release: canonical JSON, an in-toto Statement (spec v1, statement.md).

The subjects are the parts and documents with their digests, the predicate is everything else. Only chip, parts,
edition, configuration and documents are read back. The rest follows from the parts: a reader writes the manifest again
and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppDescriptor, AppImage
from rmfab.release.build_config import BuildConfig
from rmfab.release.container import Octets
from rmfab.release.edition import Edition, moment, parse_moment
from rmfab.release.partition_table import PartitionTable
from rmfab.release.parts import PARTS, Document, Part, part_name
from rmfab.signing import canonical

FORMAT = "rmfab-release"
FORMAT_VERSION = 2
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:rmfab:release"


class Described(Protocol):
    """What a manifest describes. `Release` implements it; it is not imported here because it imports this file."""

    @property
    def chip(self) -> Chip:
        """The chip that the firmware is for."""

    @property
    def version(self) -> str:
        """The version of the edition, or of the app if that is empty."""

    @property
    def edition(self) -> Edition:
        """The edition of the release."""

    @property
    def configured(self) -> BuildConfig:
        """The configuration of the build."""

    @property
    def table_offset(self) -> int:
        """The flash offset of the partition table."""

    @property
    def table(self) -> PartitionTable:
        """The partition table."""

    @property
    def bootloader_image(self) -> AppImage:
        """The bootloader, whose header contains the other flash settings."""

    @property
    def flash_size(self) -> int:
        """The flash size, in bytes."""

    @property
    def app(self) -> AppDescriptor:
        """The descriptor of the app."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files that are written to flash."""

    @property
    def documents(self) -> tuple[Document, ...]:
        """The documents that accompany the release."""


@dataclass(frozen=True)
class ManifestContent:
    """What is read from a manifest and the files beside it."""

    chip: Chip
    parts: tuple[Part, ...]
    edition: Edition
    configured: BuildConfig
    documents: tuple[Document, ...]


def encode_manifest(release: Described) -> bytes:
    """Return the bytes of the manifest."""
    subjects = [(part_name(part), part.sha256) for part in release.parts]
    subjects += [(one.name, one.sha256) for one in release.documents]
    return canonical.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects)],
            "predicateType": PREDICATE_TYPE,
            "predicate": _predicate(release) | _edition(release.edition),
        }
    )


def subject_digests(statement: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each subject, by name. Raise KeyError, TypeError or ValueError."""
    digests = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    if not all(isinstance(text, str) for pair in digests.items() for text in pair):
        raise ValueError("subject")
    return digests


def decode_manifest(statement: Mapping[str, Any], files: Mapping[str, Octets]) -> ManifestContent:
    """Return what a parsed manifest contains about *files*, whose digests are proven.

    Raise InputError for a manifest of a different format version (`bundle-version`) and for values that no release has,
    IntegrityError if a part does not match, and KeyError, TypeError, ValueError or AttributeError if the manifest is
    malformed.
    """
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        raise ValueError("not the statement of a release")
    value = statement["predicate"]
    canonical.judge_format(value, FORMAT, FORMAT_VERSION, "bundle", "bundle-version")
    digests = subject_digests(statement)
    return ManifestContent(
        {chip.value: chip for chip in Chip}[value["chip"]],
        tuple(_read_part(one, files, digests) for one in value["parts"]),
        _read_edition(value),
        BuildConfig.from_json(value["configured"]),
        tuple(Document(name, bytes(files[name])) for name in files if not name.startswith(PARTS)),
    )


def _edition(edition: Edition) -> dict[str, object]:
    said: dict[str, object] = {}
    if edition.seq is not None:
        said["seq"] = edition.seq
    if edition.notes:
        said["notes"] = edition.notes
    if edition.created is not None:
        said["created"] = moment(edition.created)
    return said


def _predicate(release: Described) -> dict[str, object]:
    app, bootloader = release.app, release.bootloader_image
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": release.version,
        "chip": release.chip.value,
        "table_offset": release.table_offset,
        "flash": {"size": release.flash_size, "mode": bootloader.flash_mode, "freq": bootloader.flash_freq},
        "idf_version": app.idf_version,
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


def _read_part(entry: Mapping[str, Any], files: Mapping[str, Octets], digests: Mapping[str, str]) -> Part:
    name, offset, member = entry["name"], entry["offset"], f"{PARTS}{entry['name']}.bin"
    if type(offset) is not int or not isinstance(name, str) or entry["sha256"] != digests[member]:
        raise ValueError("parts")
    return Part(name, offset, bytes(files[member]), digests[member], proven=True)


def _read_edition(value: Mapping[str, Any]) -> Edition:
    seq, created = value.get("seq"), value.get("created")
    if type(seq) not in (int, type(None)):
        raise ValueError("seq")
    return Edition(value["version"], seq, value.get("notes", ""), None if created is None else parse_moment(created))
