"""The certificate authority."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rmfab.errors import InputError
from rmfab.identity.ca import CaKeyKind, CertificateAuthority, key_description
from rmfab.secret import Secret
from rmfab.signing.keyfile import encode_private_key
from tests.identity.conftest import NOW

PASSPHRASE = Secret("abcd")


def passphrase(subject: str) -> Secret[str]:
    return PASSPHRASE


def never(subject: str) -> Secret[str]:
    raise AssertionError(f"asked for a passphrase of {subject}")


@pytest.mark.parametrize("kind", CaKeyKind)
def test_a_new_ca_is_one(kind: CaKeyKind) -> None:
    """A CA of each kind is self-signed, has path length 0, may sign certificates and CRLs, and has a key identifier."""
    made = CertificateAuthority.create("Lamp CA", kind, NOW)
    certificate = made.certificate
    certificate.verify_directly_issued_by(certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (NOW, NOW + timedelta(days=36525))
    assert key_description(certificate) == kind.value
    assert made.name == "CN=Lamp CA"


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    """A common name has 1 to 64 characters."""
    with pytest.raises(InputError, match="common name"):
        CertificateAuthority.create(name, CaKeyKind.ECDSA_P256, NOW)


def test_a_validity_past_the_last_year_ends_with_it() -> None:
    """A validity beyond the last X.509 date ends at that date."""
    made = CertificateAuthority.create("CA", CaKeyKind.ECDSA_P256, NOW, timedelta(days=9_000_000))
    assert made.certificate.not_valid_after_utc.year == 9999


@pytest.mark.parametrize("secret", [None, PASSPHRASE])
def test_it_is_saved_once_and_loaded(tmp_path: Path, ca: CertificateAuthority, secret: Secret[str] | None) -> None:
    """Certificate 0644, key 0600 in a 0700 folder, encrypted on request; a second CA is rejected."""
    folder = tmp_path / "ca"
    before = os.umask(0o022)
    try:
        ca.save(folder, secret)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "ca.key")] == [0o700, 0o600]
    assert (folder / "ca.crt").stat().st_mode & 0o077 == 0o044
    assert (b"ENCRYPTED" in (folder / "ca.key").read_bytes()) is (secret is not None)
    loaded = CertificateAuthority.load(folder, passphrase if secret else never, NOW)
    assert loaded.certificate == ca.certificate
    before = (folder / "ca.key").read_bytes()
    with pytest.raises(InputError, match="never replaces"):
        CertificateAuthority.create("Other", CaKeyKind.ECDSA_P256, NOW).save(folder, None)
    assert (folder / "ca.key").read_bytes() == before


def test_half_a_ca_is_not_completed(tmp_path: Path, ca: CertificateAuthority) -> None:
    """A folder that contains only a key is not written to."""
    folder = tmp_path / "ca"
    ca.save(folder, None)
    (folder / "ca.crt").unlink()
    with pytest.raises(InputError, match="never replaces"):
        ca.save(folder, None)


def test_no_ca_yet(tmp_path: Path) -> None:
    """A workspace without a CA gives a hint how to make one."""
    with pytest.raises(InputError, match="no CA here") as caught:
        CertificateAuthority.load(tmp_path / "ca", never, NOW)
    assert "rmfab ca create" in str(caught.value.hint)


def test_der_comes_back(ca: CertificateAuthority) -> None:
    """A CA reads back from its DER forms, which go to worker processes."""
    again = CertificateAuthority.from_portable(ca.certificate_der, ca.portable_key.reveal())
    assert again.certificate == ca.certificate
    assert again.key.public_key() == ca.key.public_key()


def test_repr_shows_no_key(ca: CertificateAuthority) -> None:
    """Neither the CA nor its DER show key bytes."""
    assert ca.portable_key.reveal().hex() not in repr(ca)
    assert repr(ca.portable_key) == "Secret(...)"


def test_a_clock_before_the_ca_is_refused(tmp_path: Path, ca: CertificateAuthority) -> None:
    """A clock before the CA's notBefore is an error with both dates."""
    ca.save(tmp_path / "ca", None)
    with pytest.raises(InputError, match=r"2025-03-01 .* 1970-01-01") as caught:
        CertificateAuthority.load(tmp_path / "ca", never, NOW.replace(year=1970, month=1, day=1))
    assert caught.value.cause == "clock"


ANY_CA = x509.BasicConstraints(ca=True, path_length=None)


class Workshop:
    """Certificates to import."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())

    def certificate(
        self,
        constraints: x509.BasicConstraints | None = ANY_CA,
        cert_sign: bool | None = None,
        days: int = 3650,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    ) -> Path:
        key = key or self.key
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Brought along")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(5)
            .not_valid_before(NOW - timedelta(days=100))
            .not_valid_after(NOW - timedelta(days=100) + timedelta(days=days))
        )
        if constraints is not None:
            builder = builder.add_extension(constraints, critical=True)
        if cert_sign is not None:
            usage = x509.KeyUsage(True, False, False, False, False, cert_sign, False, False, False)
            builder = builder.add_extension(usage, critical=True)
        path = self.folder / "brought.crt"
        path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def key_file(self, key: object = None) -> Path:
        path = self.folder / "brought.key"
        path.write_bytes(encode_private_key(key or self.key, None))  # type: ignore[arg-type]
        path.chmod(0o600)
        return path


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.mark.parametrize("cert_sign", [None, True])
def test_a_good_ca_is_taken_over(workshop: Workshop, cert_sign: bool | None) -> None:
    """A CA without KeyUsage, or with keyCertSign, is accepted, in DER and PEM."""
    path = workshop.certificate(cert_sign=cert_sign)
    read = CertificateAuthority.read(path, f"file:{workshop.key_file()}", never, NOW, {})
    path.write_bytes(read.certificate_der)
    assert (
        CertificateAuthority.read(path, f"file:{workshop.key_file()}", never, NOW, {}).certificate == read.certificate
    )
    assert read.key_identifier.key_identifier


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"constraints": None}, "BasicConstraints missing"),
        ({"constraints": x509.BasicConstraints(ca=False, path_length=None)}, "CA:FALSE"),
        ({"cert_sign": False}, "keyCertSign"),
        ({"days": 99}, "expired on 2026-02-28"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "does not match the CA certificate"),
    ],
)
def test_what_is_no_good_ca_is_refused(workshop: Workshop, wrong: dict[str, object], words: str) -> None:
    """A leaf, a CA that must not sign, an expired CA and a wrong key are rejected, naming the file."""
    path = workshop.certificate(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words) as caught:
        CertificateAuthority.read(path, f"file:{workshop.key_file()}", never, NOW, {})
    assert caught.value.where is not None
    assert "brought" in caught.value.where


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())])
def test_a_key_that_cannot_sign_for_devices_is_refused(workshop: Workshop, key: object) -> None:
    """Keys that RainMaker's cloud does not accept are rejected with the supported kinds."""
    with pytest.raises(InputError, match="cannot sign device certificates"):
        CertificateAuthority.read(workshop.certificate(), f"file:{workshop.key_file(key)}", never, NOW, {})


def test_what_is_no_certificate_is_refused(tmp_path: Path, workshop: Workshop) -> None:
    """Text, and a PEM of a different kind, are rejected."""
    path = tmp_path / "x.crt"
    for content in (b"hello", workshop.key_file().read_bytes(), b"-----BEGIN CERTIFICATE-----\n!\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"not an X\.509 certificate"):
            CertificateAuthority.read(path, f"file:{workshop.key_file()}", never, NOW, {})


def test_a_ca_of_openssl_is_taken_over(tmp_path: Path) -> None:
    """A CA made by `openssl req -x509` is imported with its encrypted key."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=OpenSSL CA", "-days", "3650"]
    files = ["-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c"), "-passout", "pass:abcd"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    (tmp_path / "k").chmod(0o600)
    certificate = x509.load_pem_x509_certificate((tmp_path / "c").read_bytes())
    now = certificate.not_valid_before_utc + timedelta(days=1)
    assert (
        CertificateAuthority.read(tmp_path / "c", f"file:{tmp_path / 'k'}", passphrase, now, {}).name == "CN=OpenSSL CA"
    )
