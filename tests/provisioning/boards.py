"""Virtual boards as a line would have written them, with the identity that these tests give to all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from rmfab.identity import sec2_verifier
from rmfab.product.vocabulary import Chip
from rmfab.secret import Secret
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.spec import BoardSpec, Strap
from tests.virtual.rig import factory_image, parts

RANDOM = bytes(range(64))
POP = Secret(RANDOM[:4].hex())
NODE = "NodeOfThisVeryTest"
KEYS = {"ecdsa": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}
SALT = bytes(range(1, 17))
VERIFIER = sec2_verifier.verifier("wifiprov", POP, SALT).reveal()


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> tuple[bytes, bytes]:
    """Certificate and key in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(encoding), private


CERTIFICATES = {kind: pem(key) for kind, key in KEYS.items()}


def written(
    file: Path,
    number: int,
    key: str,
    changes: Mapping[str, object],
    firmware: Mapping[str, object],
    faults: tuple[str, ...] = (),
) -> BoardSpec:
    """Board *number* with its flash in *file*: the *firmware*, and a factory image with *changes*."""
    certificate, private = CERTIFICATES[key]
    told = {
        "client_cert": certificate,
        "client_key": private,
        "random": RANDOM,
        "sec2_salt": SALT,
        "sec2_verifier": VERIFIER,
    } | dict(changes)
    flash = bytearray(b"\xff" * (4 << 20))
    for offset, data in parts(factory=factory_image(**told), **firmware):
        flash[offset : offset + len(data)] = data
    file.write_bytes(flash)
    calls = tuple(map(FaultCall.parse, faults))
    return BoardSpec(Chip.ESP32C3, number, flash_file=file, strap=Strap.RUN, faults=calls)
