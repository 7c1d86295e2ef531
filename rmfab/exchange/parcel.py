"""A parcel: a signed archive. A handover is one, and so is a return.

The archive is that of release bundles (`rmfab.release.container`). Its first member is a DSSE envelope; the signed
document contains size and SHA-256 of every other member. So no byte can be changed, added or removed, and nothing is
parsed that the signature does not cover, except the frame of the archive and the envelope itself. A member is read when
it is asked for, and compared with its digest before anyone sees it: a parcel may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from rmfab.errors import InputError, IntegrityError
from rmfab.files import file_error
from rmfab.release import container
from rmfab.release.container import MemberPlace
from rmfab.signing import canonical
from rmfab.signing.dsse import Envelope, Signature
from rmfab.signing.publickey import VerifyingKey, short
from rmfab.signing.signer import Signer

FORMAT_VERSION = 1
MOST_BYTES = 1 << 32
"""The size of a whole parcel: more than a handover of a million identities."""
MOST_OF_A_MEMBER = 1 << 26
_MOST_OF_THE_ENVELOPE = 1 << 23


@dataclass(frozen=True)
class ParcelKind:
    """A kind of parcel: its *name* in messages, and the *payload_type* of its document."""

    name: str
    payload_type: str

    @property
    def envelope(self) -> str:
        """The name of the first member."""
        return f"{self.name}.json"

    @property
    def format(self) -> str:
        """The format of the document."""
        return f"rmfab-{self.name}"

    def other(self, where: str) -> InputError:
        """Return the error of a file that is something else."""
        return InputError(f"not a {self.name}", where=where, hint=f"give a file of `rmfab {self.name}`")


HANDOVER = ParcelKind("handover", "application/vnd.rmfab.handover+json")
RETURN = ParcelKind("return", "application/vnd.rmfab.return+json")


class ParcelWriter:
    """Writer of a parcel for the signature of *key*, in the folder *aside*.

    `complete` needs all the space on the disk, but the file that it leaves is of no use before `sign`.
    """

    def __init__(self, aside: Path, kind: ParcelKind, key: VerifyingKey) -> None:
        self.path = aside / "parcel"
        self._kind = kind
        self._key = key
        self._body = aside / "members"
        self._stream = self._body.open("wb")
        self._digests: dict[str, tuple[int, str]] = {}

    def add(self, name: str, data: bytes) -> None:
        """Add a member; names ascend. Raise ValueError if it is too large, OSError."""
        if len(data) > MOST_OF_A_MEMBER or (self._digests and name <= max(self._digests)):
            raise ValueError(f"{name} is too large for a member of a parcel, or out of order")
        self._digests[name] = len(data), hashlib.sha256(data).hexdigest()
        self._stream.write(data)

    def complete(self, document: Mapping[str, Any]) -> None:
        """Write the file with *document* and room for the signature, durably. Raise OSError."""
        self._stream.close()
        members = {name: {"size": size, "sha256": digest} for name, (size, digest) in self._digests.items()}
        head = {"format": self._kind.format, "format_version": FORMAT_VERSION, "members": members}
        payload = canonical.encode({**document, **head})
        unsigned = Envelope(self._kind.payload_type, payload, (Signature(self._key.id, _ROOM),))
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            for piece in container.pieces(self._members(unsigned.encode()), 0):
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())

    def sign(self, signer: Signer) -> None:
        """Sign the complete file, durably. Raise OSError."""
        with self.path.open("rb+") as stream:
            places, _ = container.locate(lambda at, size: _read(stream, at, size), os.fstat(stream.fileno()).st_size)
            unsigned = Envelope.parse(_read(stream, places[0].start, places[0].size))
            signed = replace(unsigned, signatures=()).signed(signer).encode()
            if len(signed) != places[0].size:
                raise ValueError("the signature does not have the size of one of Ed25519")
            stream.seek(places[0].start)
            stream.write(signed)
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Close the file of the members."""
        self._stream.close()

    def _members(self, envelope: bytes) -> Iterator[tuple[str, bytes]]:
        yield self._kind.envelope, envelope
        with self._body.open("rb") as stream:
            for name, (size, _) in self._digests.items():
                yield name, stream.read(size)


_ROOM = bytes(64)
"""As long as a signature of Ed25519 (RFC 8032)."""


class Parcel:
    """An open parcel. Its members can be read once `verify` has accepted the signature."""

    def __init__(self, stream: BinaryIO, where: str, kind: ParcelKind) -> None:
        self.where = where
        self.kind = kind
        self._stream = stream
        places, _ = container.locate(self._read, os.fstat(stream.fileno()).st_size)
        if not places or places[0].name != kind.envelope:
            raise kind.other(where)
        if places[0].size > _MOST_OF_THE_ENVELOPE:
            raise ValueError("its envelope is too large")
        self.envelope = Envelope.parse(self._read(places[0].start, places[0].size))
        self._places = {place.name: place for place in places[1:]}
        self._digests: dict[str, str] = {}

    def verify(self, key: VerifyingKey) -> dict[str, Any]:
        """Return the document, signed by *key* alone. Raise IntegrityError if it is not, or the members differ."""
        signatures = self.envelope.signatures
        if [one.key_id for one in signatures] != [key.id]:
            by = ", ".join(short(one.key_id) for one in signatures) or "no one"
            raise IntegrityError(
                f"this {self.kind.name} is signed by {by}, not by {short(key.id)}",
                where=self.where,
                hint="ask its sender whether they have a new key",
                cause="unknown-signer",
            )
        if self.envelope.payload_type != self.kind.payload_type or not key.verifies(
            signatures[0].value, self.envelope.signed_bytes
        ):
            raise IntegrityError(
                f"the signature of this {self.kind.name} is invalid", where=self.where, cause="bad-signature"
            )
        with self.judged():
            document = canonical.decode(self.envelope.payload)
            canonical.judge_format(document, self.kind.format, FORMAT_VERSION, self.kind.name, "handover-altered")
            self._digests = {name: _digest(self._places[name], told) for name, told in document["members"].items()}
            if list(self._digests) != list(self._places):
                raise ValueError("its members are not those that were signed")
        return document

    def places(self, prefix: str) -> list[str]:
        """Return the names of the members that start with *prefix*, before the signature is verified."""
        return [name for name in self._places if name.startswith(prefix)]

    def peek(self, name: str) -> bytes:
        """Return a member that proves itself, before the signature is verified. Raise IntegrityError."""
        place = self._places.get(name)
        if place is None or place.size > _MOST_OF_THE_ENVELOPE:
            raise self.altered(f"{name} is missing")
        return self._read(place.start, place.size)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the members that start with *prefix*, in order."""
        return sorted(name for name in self._digests if name.startswith(prefix))

    def verify_members(self, prefix: str = "") -> None:
        """Read the members that start with *prefix*. Raise IntegrityError if one was changed."""
        for name in self.names(prefix):
            self.read(name)

    def read(self, name: str) -> bytes:
        """Return a member. Raise IntegrityError if it is missing or was changed."""
        place = self._places.get(name)
        if place is None or name not in self._digests:
            raise self.altered(f"{name} is missing")
        data = self._read(place.start, place.size)
        if hashlib.sha256(data).hexdigest() != self._digests[name]:
            raise self.altered(f"{name} differs from its digest")
        return data

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Turn the errors of a parser into an IntegrityError: the writer above makes none."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self.altered(f"it is malformed ({error})") from None

    def altered(self, what: str) -> IntegrityError:
        """Return the error of a parcel that is not as its sender wrote it."""
        return altered(self.kind, self.where, what)

    def _read(self, at: int, size: int) -> bytes:
        try:
            return _read(self._stream, at, size)
        except OSError as error:
            raise file_error(f"cannot read this {self.kind.name}", error, self.where) from error


def altered(kind: ParcelKind, where: str, what: str) -> IntegrityError:
    """Return the error of a parcel that is not as its sender wrote it."""
    return IntegrityError(
        f"this {kind.name} was altered or damaged: {what}",
        where=where,
        hint="get it again from its sender",
        cause="handover-altered",
    )


@contextmanager
def open_parcel(path: Path, kind: ParcelKind) -> Iterator[Parcel]:
    """Open the parcel *path*: only its frame and its envelope are read.

    Raise InputError if it is not a parcel of this *kind*, IntegrityError if it is damaged.
    """
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        why = error if isinstance(error, OSError) else OSError(str(error))
        raise file_error(f"cannot read this {kind.name}", why, str(path)) from error
    with stream:
        if not container.looks_like(_head(stream, path, kind)):
            raise kind.other(str(path))
        try:
            parcel = Parcel(stream, str(path), kind)
        except ValueError as error:
            raise altered(kind, str(path), str(error)) from None
        yield parcel


def _head(stream: BinaryIO, path: Path, kind: ParcelKind) -> bytes:
    try:
        if os.fstat(stream.fileno()).st_size > MOST_BYTES:
            raise InputError(f"too large for a {kind.name}", where=str(path), hint=f"the limit is {MOST_BYTES} bytes")
        return stream.read(512)
    except OSError as error:
        raise file_error(f"cannot read this {kind.name}", error, str(path)) from error


def _read(stream: BinaryIO, at: int, size: int) -> bytes:
    stream.seek(at)
    return stream.read(size)


def _digest(place: MemberPlace, told: Mapping[str, Any]) -> str:
    if place.size != told["size"] or place.size > MOST_OF_A_MEMBER:
        raise ValueError(f"the size of {place.name} is not the one that was signed")
    return str(told["sha256"])
