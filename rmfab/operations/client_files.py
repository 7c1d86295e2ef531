"""Certificates and keys of clients, and certificates of CAs, from PEM files that the operator gives."""

from __future__ import annotations

import ssl
from pathlib import Path

from rmfab.cloud.credentials import ClientPair
from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.operations.passphrases import KEY_ENVIRONMENT, Passphrases
from rmfab.operations.terminal import Terminal
from rmfab.secret import Secret
from rmfab.signing.keyfile import encode_private_key, load_private_key

_MOST_BYTES = 1 << 20


def load_pair(certificate: Path, key: str, terminal: Terminal) -> ClientPair:
    """Return the pair in the files *certificate* and *key*, which may be the same file.

    Raise InputError if one of them is not PEM, if the key is accessible to others, or if they do not match.
    """
    pem = read_input(certificate, "certificate")
    path = Path(key)
    passphrases = Passphrases(terminal, KEY_ENVIRONMENT, has_option=False)
    private = passphrases.opened(lambda ask: load_private_key(path, ask))
    pair = ClientPair(_certificates_in(pem), Secret(encode_private_key(private, None)))
    try:
        pair.put_in(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        raise InputError(
            "the key does not match the certificate" if mismatch else "not a certificate in PEM format",
            where=str(path if mismatch else certificate),
            hint=None if mismatch else 'the file has a part that begins with "-----BEGIN CERTIFICATE-----"',
            cause="tls-mismatch" if mismatch else "tls-certificate",
        ) from None
    return pair


def load_authorities(path: Path) -> str:
    """Return the CA certificates in the file *path*, as PEM. Raise InputError if OpenSSL finds none there."""
    pem = read_input(path, "CA certificate", most=_MOST_BYTES).decode("ascii", "ignore")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise InputError(
            "not a CA certificate in PEM format",
            where=str(path),
            hint='the file begins with "-----BEGIN CERTIFICATE-----"',
            cause="tls-certificate",
        ) from None
    return pem


def _certificates_in(pem: bytes) -> bytes:
    """Return the certificates of *pem* without what else is in the file."""
    end = b"-----END CERTIFICATE-----"
    parts = [part.partition(b"-----BEGIN CERTIFICATE-----") for part in pem.split(end)]
    return b"".join(begin + body + end + b"\n" for _, begin, body in parts if begin)
