"""Signatures of a unit's key, verified with its certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from rmfab.identity.unit_signature import signed_by

EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
SHA = hashes.SHA256()


def certificate(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """The PEM certificate of *key*."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(EC, SHA).public_bytes(Encoding.PEM)


def pss(salt: int) -> bytes:
    """An RSA-PSS signature with MGF1-SHA-256 and a salt of that many bytes."""
    return RSA.sign(b"text", padding.PSS(padding.MGF1(SHA), salt), SHA)


@pytest.mark.parametrize(
    ("key", "signature", "good"),
    [
        (EC, EC.sign(b"text", ec.ECDSA(SHA)), True),
        (EC, EC.sign(b"another", ec.ECDSA(SHA)), False),
        (EC, ec.generate_private_key(ec.SECP256R1()).sign(b"text", ec.ECDSA(SHA)), False),
        (EC, EC.sign(b"text", ec.ECDSA(hashes.SHA384())), False),
        (EC, b"", False),
        (EC, b"\x30\x06\x02\x01\x00\x02\x01\x00", False),
        (RSA, pss(32), True),
        (RSA, pss(222), True),
        (RSA, RSA.sign(b"text", padding.PKCS1v15(), SHA), False),
        (RSA, bytes(256), False),
        (RSA, b"", False),
        (ed25519.Ed25519PrivateKey.generate(), bytes(64), False),
    ],
    ids=[
        "ecdsa",
        "a different text",
        "a different key",
        "a different hash",
        "nothing",
        "zeros in DER",
        "pss",
        "pss with a long salt",
        "pkcs1",
        "zeros",
        "nothing for rsa",
        "ed25519",
    ],
)
def test_signed_by(key: ec.EllipticCurvePrivateKey, signature: bytes, good: bool) -> None:
    """ECDSA in DER and RSA-PSS with any salt, over SHA-256 of the text and by this key, are accepted; nothing else."""
    assert signed_by(certificate(key), b"text", signature) is good
