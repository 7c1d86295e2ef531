"""Any bytes of a bundle or trust file end in a value or in rmfab's own error.

    python -m fuzz.bundle fuzz/corpus/bundle -max_total_time=60

The first byte of an input selects the reader of the rest. An accepted input must be, byte for byte, what rmfab writes:
a reader that accepts two encodings of one thing is a finding, too. The container is repaired before it is read
(checksums of headers, the digest of the manifest), so that mutations reach the parsers inside it.
"""

from __future__ import annotations

import hashlib

from fuzz.harness import Reader, fuzz, read_one
from rmfab.release import container
from rmfab.release.bundle import CHECKSUM, MANIFEST, build_bundle, open_bundle
from rmfab.signing.dsse import Envelope
from rmfab.signing.trust import read_envelope


def whole(data: bytes) -> None:
    """Read a bundle file as it is."""
    bundle = open_bundle(data, "bundle")
    if bundle.encode() != data:
        raise AssertionError("a bundle is not what rmfab writes")
    release = bundle.release()
    if build_bundle(release) != bundle.without_signatures().encode():
        raise AssertionError("a release is not what its bundle contains")


def repaired(data: bytes) -> None:
    """Read a bundle of the members that the input lists, with fixed checksums.

    Each member is a name, NUL, four bytes of length, bytes.
    """
    members: list[tuple[str, bytes]] = []
    while data and len(members) < 32:
        name, _, data = data.partition(b"\0")
        size = int.from_bytes(data[:4], "big")
        members.append((name[:99].decode("ascii", "replace").replace("\ufffd", "?"), data[4 : 4 + size]))
        data = data[4 + size :]
    manifest = dict(members).get(MANIFEST, b"")
    line = f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()
    whole(container.encode([(name, line if name == CHECKSUM else value) for name, value in members], 0))


def envelope(data: bytes) -> None:
    """Read a DSSE envelope."""
    try:
        read = Envelope.parse(data)
    except ValueError:
        return
    if read.encode() != data:
        raise AssertionError("an envelope is not what rmfab writes")


def trust(data: bytes) -> None:
    """Read a trust file."""
    read, made = read_envelope(data, "trust")
    if read.encode() != data or made.payload != read.payload:
        raise AssertionError("a trust file is not what rmfab writes")


TARGETS: tuple[Reader, ...] = (whole, repaired, envelope, trust)


def one_input(data: bytes) -> None:
    """Read one input."""
    read_one(TARGETS, data)


if __name__ == "__main__":
    fuzz(one_input)
