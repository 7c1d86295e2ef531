"""Signing and verifying a 4 MB bundle against hashing its bytes once.

    python -m benchmarks.release [--rounds N]

The floor is one SHA-256 over the file's bytes in memory, which everyone needs who checks what is flashed. Signing is
everything between reading and writing the file: the container, the digest of every part, an Ed25519 signature.
Verifying is the container, the signature judged by a trust file, and the digest of every part. The additional work of a
station is printed as well: the release is put together, and its images are checked as a bootloader would.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rmfab.product.vocabulary import Chip
from rmfab.release.acceptance import judge_bundle, judge_signers
from rmfab.release.bundle import Bundle, make_bundle, open_bundle
from rmfab.release.edition import Edition
from rmfab.release.opening import open_release
from rmfab.release.parts import Part
from rmfab.release.release import Release
from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key
from rmfab.signing.trust import Role, Trust, TrustedKey
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe

TARGET = 1.3
APP_SIZE = 0x1E0000


def main(argv: list[str] | None = None) -> int:
    """Print the floor and both ratios; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="repetitions of each (60)")
    rounds = parser.parse_args(argv).rounds
    key = make_key(SigningKeyKind.ED25519)
    now = datetime.now(UTC)
    trust = Trust(0, now).adding(TrustedKey(key.public, "owner", (Role.RELEASE,)), now)
    unsigned = make_bundle(release()).encode()
    signed = sign(unsigned, key).encode()
    work: tuple[tuple[str, Callable[[], object]], ...] = (
        ("floor: SHA-256 of the file", lambda: hashlib.sha256(signed).digest()),
        ("sign", lambda: sign(unsigned, key)),
        ("verify", lambda: verify(signed, trust, now)),
        ("a station, images checked", lambda: judge_bundle(open_bundle(signed, "bundle"), trust, now)),
    )
    seconds = medians([one for _, one in work], rounds)
    print(f"a bundle of {len(signed) / 1e6:.2f} MB")
    for (name, _), taken in zip(work, seconds, strict=True):
        print(f"{name:<28}{taken * 1e3:8.2f} ms  {taken / seconds[0]:5.2f}x")
    return int(max(seconds[1:3]) / seconds[0] > TARGET)


def release() -> Release:
    """Return a release of 4 MB: the app in both of its slots."""
    with tempfile.TemporaryDirectory() as folder:
        opened = open_release(
            make_build_folder(Path(folder) / "build", FirmwareRecipe(Chip.ESP32C3, app_size=APP_SIZE))
        )
    other = Part("ota_1", opened.table.required("ota_1").offset, opened.part("app").data)
    return replace(opened, parts=(*opened.parts, other), edition=Edition(seq=1))


def sign(data: bytes, key: KeySigner) -> Bundle:
    """Return the bundle with a signature, as `release sign` makes it between reading and writing."""
    bundle = open_bundle(data, "bundle")
    bundle.statement()
    signed = bundle.with_envelope(bundle.to_sign.signed(key))
    deque(signed.pieces(), maxlen=0)
    return signed


def verify(data: bytes, trust: Trust, now: datetime) -> None:
    """Verify that a trusted key has signed these bytes."""
    bundle = open_bundle(data, "bundle")
    judge_signers(bundle.to_sign, trust, now, where=bundle.source)
    bundle.statement()


def medians(work: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median seconds of each, measured in turns so that a busy machine slows all of them."""
    taken: list[list[float]] = [[] for _ in work]
    for _ in range(rounds):
        for one, times in zip(work, taken, strict=True):
            start = time.perf_counter()
            one()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]


if __name__ == "__main__":
    sys.exit(main())
