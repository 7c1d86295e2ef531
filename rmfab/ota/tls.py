"""The server's certificate and key, as files, made into a TLS context."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource, load_private_key

_SOON = timedelta(days=7)


def load_context(cert: Path, key: Path, passphrase: PassphraseSource) -> ssl.SSLContext:
    """A server's context, TLS 1.2 or newer, with the chain in *cert* (its own certificate first) and its *key*.

    *passphrase* is called at most once, for a key that is encrypted. Raises InputError where a file is missing, cannot
    be read as what it should be, is a key open to others, or the two do not belong together.
    """
    asked: list[Secret[str]] = []

    def ask(subject: str) -> Secret[str]:
        asked.append(passphrase(subject))
        return asked[-1]

    public = _own_public_key(cert)
    if load_private_key(key, ask).public_key() != public:
        raise InputError(
            "this key is not that of the certificate",
            where=str(key),
            hint=f"{cert} begins with the certificate of this key, those of its CAs follow",
            cause="tls-mismatch",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, asked[0].reveal() if asked else None)
    except ssl.SSLError as error:
        raise InputError(
            f"TLS cannot use this certificate: {error.reason or 'no reason given'}",
            where=str(cert),
            hint="a P-256 or RSA-2048 key and a PEM chain",
            cause="tls-certificate",
        ) from None
    return context


def doubt(cert: Path, now: datetime) -> str | None:
    """Why clients will not, or not for long, take the certificate in *cert* that `load_context` took; None where all is
    well."""
    certificate = x509.load_pem_x509_certificates(read_input(cert, "certificate"))[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"is not valid before {begin:%Y-%m-%d %H:%M} UTC: clients will refuse it"
    if now >= end:
        return f"expired on {end:%Y-%m-%d %H:%M} UTC: clients will refuse it"
    return f"expires on {end:%Y-%m-%d %H:%M} UTC" if end - now < _SOON else None


def _own_public_key(path: Path) -> CertificatePublicKeyTypes:
    pem = read_input(path, "certificate")
    try:
        return x509.load_pem_x509_certificates(pem)[0].public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise InputError(
            "this is no certificate in PEM form",
            where=str(path),
            hint="a file with BEGIN CERTIFICATE, the server's own first",
            cause="tls-certificate",
        ) from None
