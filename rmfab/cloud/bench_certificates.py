"""Certificates of servers and clients on a bench: signed by a CA of their own, whose key is never written."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rmfab.files import is_there, read_input, write_file
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.identity.certificate import names_in
from rmfab.signing.keyfile import encode_private_key

YEARS = timedelta(days=3650)
"""How long they are valid."""
A_DAY = timedelta(days=1)
"""How far they reach into the past, for boards whose clock is behind."""


@dataclass(frozen=True)
class BenchPair:
    """The files of a *certificate* and its *key*: of a server with these host *names*, or of the client *subject*."""

    certificate: Path
    key: Path
    names: tuple[str, ...] = ()
    subject: str = ""


def still_good(ca: Path, pairs: Sequence[BenchPair], now: datetime) -> bool:
    """Return whether all files are there, and are valid for their names for at least another day."""
    if not all(is_there(path) for path in (ca, *(path for pair in pairs for path in (pair.certificate, pair.key)))):
        return False
    return all(_is_good(pair, now) for pair in pairs)


def _is_good(pair: BenchPair, now: datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(read_input(pair.certificate, "certificate"))
    return names_in(certificate) >= set(pair.names) and now + A_DAY < certificate.not_valid_after_utc


def write_pairs(ca: Path, title: str, pairs: Sequence[BenchPair], now: datetime) -> CertificateAuthority:
    """Make a CA named *title*, write its certificate to *ca*, and those of *pairs* with their keys; return it."""
    authority = CertificateAuthority.create(title, CaKeyKind.ECDSA_P256, now - A_DAY, YEARS + A_DAY)
    _write_pem(ca, authority.certificate)
    for pair in pairs:
        _write_pair(authority, pair, now)
    return authority


def _write_pair(authority: CertificateAuthority, pair: BenchPair, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if pair.names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(pair.names[0] if pair.names else pair.subject, authority, key.public_key(), now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if pair.names:
        names = x509.SubjectAlternativeName([_alternative(name) for name in pair.names])
        builder = builder.add_extension(names, critical=False)
    write_file(pair.key, encode_private_key(key, None), secret=True, force=True)
    _write_pem(pair.certificate, builder.sign(authority.key, hashes.SHA256()))


def _builder(
    subject: str, ca: CertificateAuthority, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]))
        .issuer_name(ca.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - A_DAY)
        .not_valid_after(now + YEARS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(ca.key_identifier, critical=False)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_pem(path: Path, certificate: x509.Certificate) -> None:
    write_file(path, certificate.public_bytes(serialization.Encoding.PEM), force=True)
