"""The bundle: a release and its signatures in one file, with exactly one encoding per content.

Members, in this order: `manifest.json`; `manifest.sha256` (a line of sha256sum); `parts/<name>.bin` ordered by name;
`provenance.json` and `sbom.…`, if any; `signatures/manifest.dsse.json`, a DSSE envelope around the manifest's bytes, if
the release is signed. `open_bundle` checks the container and parses nothing in it, so that the signatures are judged
before the manifest is parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name, near_file, read_input
from rmfab.release import container
from rmfab.release.container import Octets
from rmfab.release.manifest import decode_manifest, subject_digests
from rmfab.release.parts import PARTS, PROVENANCE, part_name
from rmfab.release.release import Release
from rmfab.release.sbom import SBOM_NAMES
from rmfab.signing import canonical
from rmfab.signing.dsse import Envelope

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MANIFEST, CHECKSUM, SIGNATURES = "manifest.json", "manifest.sha256", "signatures/manifest.dsse.json"
_DOCUMENTS = (PROVENANCE, *SBOM_NAMES)
_ALTERED = "bundle-altered"
_MOST_BYTES = 256 << 20
_HEAD = 512
_MOST_MANIFEST = 1 << 20
# First bytes of compressed formats, so that the error can name the format.
_PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"\xfd7": "xz", b"BZ": "bzip2", b"\x28\xb5": "zstd"}


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle file: the *manifest*, the *envelope* around it if signed, and the other *files* by name.

    Nothing in it is parsed yet. *time* is the time in the archive's headers, in Unix seconds.
    """

    manifest: bytes
    files: Mapping[str, Octets] = field(repr=False)
    time: int
    source: str = field(compare=False)
    envelope: Envelope | None = None

    @property
    def to_sign(self) -> Envelope:
        """The envelope, without signatures if the bundle is not signed."""
        return self.envelope or Envelope(PAYLOAD_TYPE, self.manifest)

    def with_envelope(self, envelope: Envelope) -> Bundle:
        """Return the same bundle with other signatures over the same manifest."""
        return replace(self, envelope=envelope)

    def without_signatures(self) -> Bundle:
        """Return the bundle as it was built."""
        return replace(self, envelope=None)

    def pieces(self) -> Iterator[Octets]:
        """Return the bytes of the bundle file, piece by piece."""
        members: list[tuple[str, Octets]] = [(MANIFEST, self.manifest), (CHECKSUM, _checksum_line(self.manifest))]
        members += sorted(self.files.items())
        if self.envelope is not None:
            members.append((SIGNATURES, self.envelope.encode()))
        return container.pieces(members, self.time)

    def encode(self) -> bytes:
        """Return the bytes of the bundle file."""
        return b"".join(self.pieces())

    def statement(self) -> dict[str, Any]:
        """Return the parsed manifest after checking every file against its digest in the manifest.

        Raise IntegrityError if manifest and files do not match.
        """
        try:
            statement = canonical.parse(self.manifest)
            digests = subject_digests(statement)
        except (KeyError, TypeError, ValueError) as error:
            _altered(f"its manifest is malformed ({error})", self.source)
        if digests.keys() != self.files.keys():
            _altered(f"manifest and members differ: {min(digests.keys() ^ self.files.keys())}", self.source)
        for name, data in self.files.items():
            digest = hashlib.sha256(data).hexdigest()
            if digest != digests[name]:
                _altered(f"the SHA-256 of {name} is {digest[:16]}…, not {digests[name][:16]}…", self.source)
        return statement

    def release(self) -> Release:
        """Return the release that manifest and files describe.

        Raise InputError for a bundle of a different format version, IntegrityError if they are not exactly what rmfab
        writes for one release.
        """
        statement = self.statement()
        try:
            content = decode_manifest(statement, self.files)
            release = Release.assemble(
                content.chip,
                content.parts,
                self.source,
                edition=content.edition,
                configured=content.configured,
                documents=content.documents,
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            _altered(f"its manifest is malformed ({error})", self.source)
        except (InputError, IntegrityError) as error:
            if error.cause == "bundle-version":
                raise InputError(error.what, where=self.source, hint=error.hint, cause=error.cause) from None
            if error.cause == _ALTERED:
                raise
            _altered(error.what, self.source)
        if release.manifest != self.manifest or (release.edition.created or 0) != self.time:
            _altered("its manifest is not what rmfab writes for this release", self.source)
        return release


def make_bundle(release: Release) -> Bundle:
    """Return the unsigned bundle of *release*: equal releases give equal bytes.

    Raise InputError for encrypted parts.
    """
    if any(part.encrypted for part in release.parts):
        raise InputError("bundles do not support encrypted parts yet", where=release.source, cause="encrypted")
    files: dict[str, Octets] = {part_name(part): part.data for part in release.parts}
    files |= {document.name: document.data for document in release.documents}
    return Bundle(release.manifest, files, release.edition.created or 0, release.source)


def build_bundle(release: Release) -> bytes:
    """Return the bytes of the unsigned bundle of *release*."""
    return make_bundle(release).encode()


def open_bundle_file(path: Path) -> Bundle:
    """Open a bundle file as `open_bundle` does. Raise InputError if it is missing or too large."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        near = near_file(path) if isinstance(error, FileNotFoundError) else None
        raise InputError(
            f"cannot read the release: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            hint=near or "give a bundle file, or the folder `build` of `idf.py build`",
        ) from error
    if size > _MOST_BYTES:
        raise InputError(f"{size} bytes, too large for a bundle", where=str(path))
    return open_bundle(read_input(path, "release", most=_MOST_BYTES), str(path))


def looks_like_bundle(path: Path) -> bool:
    """Whether the file *path* starts like a bundle."""
    with path.open("rb") as stream:
        return _begins(stream.read(_HEAD))


def _begins(head: bytes) -> bool:
    return head[:_HEAD].split(b"\0", 1)[0] == MANIFEST.encode() or container.looks_like(head)


def open_bundle(data: bytes, where: str) -> Bundle:
    """Open the bundle in *data*; *where* names the file in errors.

    Raise InputError if it is not a bundle, IntegrityError if the container is not byte for byte as rmfab writes it.
    """
    if not _begins(data):
        packed = next((name for magic, name in _PACKED.items() if data.startswith(magic)), None)
        what = f"not a release bundle: compressed with {packed}" if packed else "not a release bundle"
        raise InputError(what, where=where, hint="make one with `rmfab release build`", cause="no-bundle")
    try:
        members, time = container.decode(data)
    except ValueError as error:
        _altered(str(error), where)
    names = [name for name, _ in members]
    if names[:2] != [MANIFEST, CHECKSUM]:
        _altered(f"it does not start with {MANIFEST} and {CHECKSUM}", where)
    manifest, files = bytes(members[0][1]), dict(members[2:])
    if members[1][1] != _checksum_line(manifest):
        _altered(f"{MANIFEST} does not match {CHECKSUM}", where)
    if len(manifest) > _MOST_MANIFEST:
        _altered("its manifest is too long", where)
    signatures = files.pop(SIGNATURES, None)
    if names[2:] != [*sorted(files), *([SIGNATURES] if signatures is not None else [])]:
        _altered("its members are in the wrong order", where)
    odd = next((name for name in files if not _expected(name)), None)
    if odd is not None:
        _altered(f"unexpected member {odd!r}", where)
    return Bundle(manifest, files, time, where, _envelope(signatures, manifest, where))


def _altered(what: str, where: str) -> NoReturn:
    raise IntegrityError(
        f"this bundle was altered or damaged: {what}",
        where=where,
        hint="get it again from where it was built",
        cause=_ALTERED,
    )


def _expected(name: str) -> bool:
    part = name.removeprefix(PARTS).removesuffix(".bin")
    return name in _DOCUMENTS or (name == f"{PARTS}{part}.bin" and is_safe_name(part))


def _envelope(data: memoryview | None, manifest: bytes, where: str) -> Envelope | None:
    if data is None:
        return None
    try:
        envelope = Envelope.parse(bytes(data))
    except ValueError as error:
        _altered(f"{SIGNATURES}: {error}", where)
    if envelope.payload != manifest or not envelope.signatures:
        _altered(f"{SIGNATURES} does not sign {MANIFEST}", where)
    return envelope


def _checksum_line(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()
