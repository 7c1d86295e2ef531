"""The TLS context of the server, made of its certificate and key files."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.identity.certificate import names_in
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource, load_private_key

_SOON = timedelta(days=7)


def load_context(cert: Path, key: Path, passphrase: PassphraseSource) -> ssl.SSLContext:
    """Return a server context, TLS 1.2 or newer, with the certificate chain in *cert* and its *key*.

    *cert* starts with the server's own certificate. *passphrase* is called at most once, for an encrypted key. Raise
    InputError if a file is missing or invalid, if the key is accessible to others, or if certificate and key do not
    match.
    """
    asked: list[Secret[str]] = []

    def ask(subject: str) -> Secret[str]:
        asked.append(passphrase(subject))
        return asked[-1]

    public = _own_public_key(cert)
    if load_private_key(key, ask).public_key() != public:
        raise InputError(
            "the key does not match the certificate",
            where=str(key),
            hint=f"put the certificate of this key first in {cert}, then those of its CAs",
            cause="tls-mismatch",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, asked[0].reveal() if asked else None)
    except ssl.SSLError as error:
        raise InputError(
            f"cannot use this certificate: {error.reason or 'no reason given'}",
            where=str(cert),
            hint="use a P-256 or RSA-2048 key and a PEM chain",
            cause="tls-certificate",
        ) from None
    return context


def doubt(cert: Path, now: datetime) -> str | None:
    """Return why clients will reject the certificate in *cert*, now or within a week, or None.

    `load_context` must have accepted the certificate.
    """
    certificate = x509.load_pem_x509_certificates(read_input(cert, "certificate"))[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"is not valid before {begin:%Y-%m-%d %H:%M} UTC: clients will reject it"
    if now >= end:
        return f"expired on {end:%Y-%m-%d %H:%M} UTC: clients will reject it"
    return f"expires on {end:%Y-%m-%d %H:%M} UTC" if end - now < _SOON else None


def refuse_other_name(cert: Path, host: str) -> None:
    """Raise InputError (cause `tls-name`) unless the certificate in *cert* is for *host*, a name or an address.

    `load_context` must have accepted the certificate.
    """
    certificate = x509.load_pem_x509_certificates(read_input(cert, "certificate"))[0]
    known = {name.lower() for name in names_in(certificate)}
    wildcard = f"*.{host.lower().partition('.')[2]}"
    if host.lower() not in known and wildcard not in known:
        told = ", ".join(sorted(known)) or "no name"
        raise InputError(
            f"the certificate is not for {host}: devices that load from there will reject it",
            where=str(cert),
            hint=f"it is for {told}: use --name with one of them, or a different certificate",
            cause="tls-name",
        )


def _own_public_key(path: Path) -> CertificatePublicKeyTypes:
    pem = read_input(path, "certificate")
    try:
        return x509.load_pem_x509_certificates(pem)[0].public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise InputError(
            "not a certificate in PEM format",
            where=str(path),
            hint="use a file with BEGIN CERTIFICATE, the server's own first",
            cause="tls-certificate",
        ) from None
