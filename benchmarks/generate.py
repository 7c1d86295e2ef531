"""Generating identities against the bare primitives: key, certificate, PEM and verifier in a plain loop.

Both run in one process on one core, in turns, and both use the fixed-base exponentiation of
`rmfab.identity.sec2_verifier`. The last figure is for five times as many identities on all cores.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rmfab.identity import sec2_verifier
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.identity.make_identities import ChunkSpec, Recipe, chunk_size, generate, make_chunk
from rmfab.identity.sealing import DATA_KEY_BYTES
from rmfab.product.product import CertificatePolicy, IdentityPolicy, Provisioning
from rmfab.product.serial import SerialPattern
from rmfab.secret import Secret

ROUNDS = 5
TARGET = 1.5


def main(argv: list[str] | None = None) -> int:
    """Print the floor, rmfab's time and the ratio; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="identities for each side (2000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for the last one (all cores)")
    options = parser.parse_args(argv)
    now = datetime.now(UTC)
    ca = CertificateAuthority.create("Benchmark CA", CaKeyKind.ECDSA_P256, now)
    recipe = make_recipe(ca, now)
    sec2_verifier.verifier("wifiprov", Secret("00000000"), b"\x01" * sec2_verifier.SALT_BYTES)  # builds the table
    make_chunk(recipe, ChunkSpec(0, 0, 1, data_key=secrets.token_bytes(DATA_KEY_BYTES)))
    part = max(1, options.count // ROUNDS)
    floors, ours = [], []
    for _ in range(ROUNDS):
        floors.append(timed(lambda: primitives(ca, now, part)) / part)
        ours.append(timed(lambda: chunk(recipe, part)) / part)
    floor, mine = statistics.median(floors), statistics.median(ours)
    print(f"floor: key, certificate, PEM, verifier   {floor * 1e3:7.3f} ms per unit and core")
    print(f"rmfab generate, sealed                   {mine * 1e3:7.3f} ms per unit and core")
    print(f"ratio                                    {mine / floor:7.2f}x (target {TARGET}x)")
    many = 5 * options.count
    every = timed(lambda: make_and_forget(recipe, many, options.jobs)) / many
    print(f"{many} on {options.jobs} processes".ljust(40) + f" {every * 1e3:7.3f} ms per unit, with their start")
    return 0 if mine / floor <= TARGET else 1


def make_recipe(ca: CertificateAuthority, now: datetime) -> Recipe:
    """Return a recipe: ECDSA P-256, strict profile, security 2, one recipient."""
    import pyrage

    return Recipe(
        ledger="benchmark",
        batch="benchmark-0001",
        serials=SerialPattern.parse("BEN-{n:08d}"),
        first_number=1,
        identity=IdentityPolicy(mqtt_host="mqtt.example.com"),
        certificate=CertificatePolicy(),
        provisioning=Provisioning(),
        recipients=(str(pyrage.x25519.Identity.generate().to_public()),),
        now=now,
        ca_certificate=ca.certificate_der,
        ca_key=ca.portable_key.reveal(),
        unique_key=secrets.token_bytes(32),
    )


def primitives(ca: CertificateAuthority, now: datetime, count: int) -> None:
    """Run the operations that every generator of such identities needs."""
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    for number in range(count):
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"node{number:018d}")]))
            .issuer_name(ca.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(ca.key_identifier, critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(ca.key, hashes.SHA256())
        )
        certificate.public_bytes(serialization.Encoding.PEM)
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        random = secrets.token_bytes(64)
        sec2_verifier.verifier("wifiprov", Secret(random[:4].hex()), secrets.token_bytes(sec2_verifier.SALT_BYTES))


def chunk(recipe: Recipe, count: int) -> None:
    """Make one chunk of *count* identities as a worker process does."""
    make_chunk(recipe, ChunkSpec(0, 0, count, data_key=secrets.token_bytes(DATA_KEY_BYTES)))


def make_and_forget(recipe: Recipe, count: int, jobs: int) -> None:
    """Make *count* identities with *jobs* processes and discard them."""
    size = chunk_size(recipe.identity)
    chunks = [ChunkSpec(number, at, min(size, count - at)) for number, at in enumerate(range(0, count, size))]
    for _ in generate(recipe, chunks, jobs):
        pass


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that *work* takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
