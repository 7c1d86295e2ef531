"""The bundle: a release in one file, which reads back only as the very bytes that were written.

An uncompressed USTAR archive (POSIX.1-1988), fully determined: `manifest.json`, `manifest.sha256` (a line of
sha256sum), then `parts/<name>.bin` in the order of names; plain files of mode 0644, owner, group and time 0, no names
of either, two zero blocks at the end. `signatures/` is reserved and refused as yet.
The reader encodes again what it has read and refuses a file that differs by a byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from rmfab.errors import InputError, IntegrityError
from rmfab.files import read_input
from rmfab.product.vocabulary import Chip
from rmfab.release.release import FORMAT, FORMAT_VERSION, Part, Release

MANIFEST, CHECKSUM, PARTS, SIGNATURES = "manifest.json", "manifest.sha256", "parts/", "signatures/"
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_MOST_BYTES = 256 << 20
_MOST_MANIFEST = 1 << 20


def build_bundle(release: Release) -> bytes:
    """The bytes of the bundle: the same release gives the same bytes. Raises InputError for encrypted parts."""
    if any(part.encrypted for part in release.parts):
        raise InputError("a bundle cannot hold parts for flash encryption yet", where=release.source, cause="encrypted")
    members = [(MANIFEST, release.manifest), (CHECKSUM, _checksum_line(release.manifest))]
    members += sorted((f"{PARTS}{part.name}.bin", part.data) for part in release.parts)
    return b"".join(_encode_member(name, data) for name, data in members) + _END


def read_bundle_file(path: Path) -> Release:
    """`read_bundle` of a file. Raises InputError where it is missing or too large."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(
            f"cannot read this release: {error.strerror or error}",
            where=str(path),
            hint="a bundle file, or the folder `build` that `idf.py build` makes",
        ) from error
    if size > _MOST_BYTES:
        raise InputError(f"{size} bytes are too many for a bundle", where=str(path))
    return read_bundle(read_input(path, "release"), str(path))


def read_bundle(data: bytes, where: str) -> Release:
    """The release in a bundle. *where* names the file in errors.

    Raises InputError where this is no bundle or one of a later format, IntegrityError where it is not, to the byte,
    what `build_bundle` writes.
    """
    if data[:257].split(b"\0", 1)[0] != MANIFEST.encode() and data[257:262] != b"ustar":
        raise InputError("this is no release bundle", where=where, hint="`rmfab release build` makes one")
    members = list(_decode_members(data, where))
    names = [name for name, _ in members]
    if any(name.startswith(SIGNATURES) for name in names):
        _altered("it is signed, and this rmfab cannot check signatures yet", where, cause="signed")
    if names[:2] != [MANIFEST, CHECKSUM]:
        _altered(f"it does not begin with {MANIFEST} and {CHECKSUM}", where)
    manifest = members[0][1]
    if members[1][1] != _checksum_line(manifest):
        _altered(f"{MANIFEST} does not match {CHECKSUM}", where)
    release = _read_release(manifest, dict(members[2:]), where)
    if build_bundle(release) != data:
        _altered("it is not the bytes that rmfab writes for this release", where)
    return release


def _altered(what: str, where: str, *, cause: str = "bundle-altered") -> NoReturn:
    raise IntegrityError(
        f"this bundle was altered or damaged: {what}",
        where=where,
        hint="get it again from where it was built",
        cause=cause,
    )


def _read_release(manifest: bytes, files: dict[str, bytes], where: str) -> Release:
    try:
        chip, entries = _read_manifest(manifest, where)
        names = [f"{PARTS}{name}.bin" for name, _, _ in entries]
        if len(set(names)) < len(names) or set(names) != set(files):
            odd = sorted(set(names) ^ set(files)) or ["one stands twice"]
            _altered(f"manifest and members differ: {odd[0]}", where)
        parts = [
            Part(name, offset, files[member], sha256)
            for (name, offset, sha256), member in zip(entries, names, strict=True)
        ]
        return Release.assemble(chip, parts, where)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        _altered(f"its manifest does not make sense ({error})", where)
    except InputError as error:
        if error.cause == "bundle-version":
            raise
        _altered(error.what, where)


def _read_manifest(manifest: bytes, where: str) -> tuple[Chip, list[tuple[str, int, str]]]:
    """Chip and parts (name, offset, SHA-256). All else in a manifest follows from these and is compared at the end."""
    if len(manifest) > _MOST_MANIFEST:
        raise ValueError("too long")
    value = json.loads(manifest)
    if value["format"] != FORMAT:
        raise ValueError(f"no {FORMAT}")
    if value["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"this bundle is of format {value['format_version']}, this rmfab reads {FORMAT_VERSION}",
            where=where,
            hint="a newer rmfab made it: update this one",
            cause="bundle-version",
        )
    entries = [(part["name"], part["offset"], part["sha256"]) for part in value["parts"]]
    if any(type(offset) is not int or not isinstance(name, str) or not sha256 for name, offset, sha256 in entries):
        raise ValueError("parts")
    return {chip.value: chip for chip in Chip}[value["chip"]], entries


def _checksum_line(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _encode_member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(-len(data) % _BLOCK)


def _header(name: str, size: int) -> bytes:
    """A USTAR header block; its checksum is the sum of its bytes with spaces in the checksum's place."""
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0",  # owner
        b"0000000\0",  # group
        b"%011o\0" % size,
        b"00000000000\0",  # time
        b"        ",  # checksum
        b"0",  # a plain file
        bytes(100),
        b"ustar\x0000",
        bytes(32),
        bytes(32),
        b"0000000\0",
        b"0000000\0",
        bytes(155 + 12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _decode_members(data: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member, where the headers are exactly ours. Raises IntegrityError."""
    at = 0
    while (block := data[at : at + _BLOCK]).strip(b"\0"):
        try:
            name = block[:100].rstrip(b"\0").decode("ascii")
            size = int(block[124:135], 8)
        except ValueError:
            _altered(f"the header at 0x{at:x} cannot be read", where)
        if size < 0 or at + _BLOCK + size > len(data):
            _altered("it is cut short", where)
        if block != _header(name, size):
            _altered(f"the header of {name} is not rmfab's", where)
        yield name, data[at + _BLOCK : at + _BLOCK + size]
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    if data[at:] != _END:
        _altered("it does not end as it should", where)
