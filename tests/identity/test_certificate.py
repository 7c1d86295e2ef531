"""Device certificates."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from rmfab.errors import InputError
from rmfab.identity import keypair
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.identity.certificate import certify
from rmfab.product.product import CertificatePolicy
from rmfab.product.vocabulary import CertificateProfile, KeyKind
from tests.identity.conftest import NOW

STRICT = CertificatePolicy()
RAINMAKER = CertificatePolicy(CertificateProfile.RAINMAKER)


@pytest.fixture(scope="module")
def keys() -> dict[KeyKind, keypair.PrivateKey]:
    return {kind: keypair.draw(kind) for kind in KeyKind}


@pytest.fixture(scope="module")
def authorities() -> dict[CaKeyKind, CertificateAuthority]:
    return {kind: CertificateAuthority.create("Test CA", kind, NOW.replace(year=2025)) for kind in CaKeyKind}


@pytest.mark.parametrize("policy", [STRICT, RAINMAKER, CertificatePolicy(validity_days=3650)])
@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("ca_kind", CaKeyKind)
def test_openssl_verifies_it(
    tmp_path: Path,
    keys: dict[KeyKind, keypair.PrivateKey],
    authorities: dict[CaKeyKind, CertificateAuthority],
    policy: CertificatePolicy,
    kind: KeyKind,
    ca_kind: CaKeyKind,
) -> None:
    """`openssl verify -x509_strict` accepts every profile for every kind of key under every kind of CA."""
    ca = authorities[ca_kind]
    (tmp_path / "ca.crt").write_bytes(ca.certificate.public_bytes(serialization.Encoding.PEM))
    certificate = certify(ca, "node-1", keys[kind].public_key(), policy, NOW)
    (tmp_path / "leaf.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    strict = ["-x509_strict", "-purpose", "sslclient"] if policy.profile is CertificateProfile.STRICT else []
    moment = ["-attime", str(int(NOW.timestamp()))]
    command = ["openssl", "verify", *strict, *moment, "-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "leaf.crt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.endswith("leaf.crt: OK\n"), done.stderr


def test_the_strict_profile(ca: CertificateAuthority, keys: dict[KeyKind, keypair.PrivateKey]) -> None:
    """`strict` has SKI, AKI, critical BasicConstraints and KeyUsage digitalSignature, EKU clientAuth, and no more."""
    key = keys[KeyKind.ECDSA_P256].public_key()
    certificate = certify(ca, "node-1", key, STRICT, NOW)
    extensions = certificate.extensions
    critical = {extension.oid: extension.critical for extension in extensions}
    assert critical == {
        ExtensionOID.BASIC_CONSTRAINTS: True,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.EXTENDED_KEY_USAGE: False,
    }
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not any((usage.key_cert_sign, usage.key_encipherment, usage.key_agreement, usage.content_commitment))
    eku = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(eku) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    of_ca = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == of_ca.digest
    own = x509.SubjectKeyIdentifier.from_public_key(key)
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == own


def test_the_rainmaker_profile(ca: CertificateAuthority, keys: dict[KeyKind, keypair.PrivateKey]) -> None:
    """`rainmaker` has the node id as its only name and a critical BasicConstraints as its only extension."""
    certificate = certify(ca, "node-1", keys[KeyKind.RSA_2048].public_key(), RAINMAKER, NOW)
    assert [(extension.oid, extension.critical) for extension in certificate.extensions] == [
        (ExtensionOID.BASIC_CONSTRAINTS, True)
    ]
    assert certificate.subject.rfc4514_string() == "CN=node-1"
    assert certificate.issuer == ca.certificate.subject
    assert certificate.public_key() == keys[KeyKind.RSA_2048].public_key()


def test_validity(ca: CertificateAuthority, keys: dict[KeyKind, keypair.PrivateKey]) -> None:
    """A certificate is valid from a day before it is made, without expiry or for the given number of days."""
    key = keys[KeyKind.ECDSA_P256].public_key()
    forever = certify(ca, "n", key, STRICT, NOW + timedelta(microseconds=7))
    assert forever.not_valid_before_utc == NOW - timedelta(days=1)
    assert forever.not_valid_after_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    limited = certify(ca, "n", key, CertificatePolicy(validity_days=10), NOW)
    assert limited.not_valid_after_utc == NOW + timedelta(days=10)


def test_it_never_begins_before_its_ca(keys: dict[KeyKind, keypair.PrivateKey]) -> None:
    """A certificate made on the day of its CA is not valid before the CA."""
    ca = CertificateAuthority.create("Young", CaKeyKind.ECDSA_P256, NOW)
    certificate = certify(ca, "n", keys[KeyKind.ECDSA_P256].public_key(), STRICT, NOW + timedelta(hours=1))
    assert certificate.not_valid_before_utc == NOW


@pytest.mark.parametrize(
    ("days", "words"), [(-400, "valid from 2025-03-01"), (36525, "expired on 2125")], ids=["before", "after"]
)
def test_a_clock_outside_of_the_ca(
    ca: CertificateAuthority, keys: dict[KeyKind, keypair.PrivateKey], days: int, words: str
) -> None:
    """No certificate is signed before the CA is valid or after it expired."""
    with pytest.raises(InputError, match=words):
        certify(ca, "n", keys[KeyKind.ECDSA_P256].public_key(), STRICT, NOW + timedelta(days=days))


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_does_not_fit(ca: CertificateAuthority, keys: dict[KeyKind, keypair.PrivateKey], name: str) -> None:
    """A node id too long for a common name is rejected, not truncated."""
    with pytest.raises(InputError, match=r"has (0|65) characters"):
        certify(ca, name, keys[KeyKind.ECDSA_P256].public_key(), STRICT, NOW)


def test_serial_numbers_differ(ca: CertificateAuthority, keys: dict[KeyKind, keypair.PrivateKey]) -> None:
    """Serial numbers are random, not counted."""
    key = keys[KeyKind.ECDSA_P256].public_key()
    serials = {certify(ca, "n", key, STRICT, NOW).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert max(serials).bit_length() > 100


@pytest.mark.parametrize("kind", KeyKind)
def test_device_keys_in_pem(keys: dict[KeyKind, keypair.PrivateKey], kind: KeyKind) -> None:
    """The PEM for a device is what the library writes as SEC1 or PKCS #1, and openssl reads it."""
    pem = keypair.private_pem(keypair.private_der(keys[kind])).reveal()
    assert pem == keys[kind].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    command = ["openssl", "pkey", "-noout", "-check"]
    done = subprocess.run(command, input=pem, capture_output=True)
    assert b"valid" in done.stdout + done.stderr
