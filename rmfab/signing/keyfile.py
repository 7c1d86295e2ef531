"""Private keys in PEM files, encrypted or not.

A key file that other users of the host can read is rejected. Passphrases come from a callback, which receives the name
of what is to be opened and is called for encrypted keys only.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from rmfab.errors import InputError
from rmfab.files import read_input, write_file
from rmfab.privacy import refuse_loose
from rmfab.secret import Secret
from rmfab.signing.encrypted_key import encrypt

PassphraseSource = Callable[[str], Secret[str]]
_MOST_BYTES = 1 << 20
_LONGEST_PASSPHRASE = 1023  # OpenSSL's limit
_LINE = 64  # RFC 7468, section 2


class WrongPassphrase(InputError):
    """The passphrase does not open the key file. It may be tried again, unlike the PIN of a token."""

    cause = "wrong-passphrase"


def load_private_key(path: Path, passphrase: PassphraseSource) -> PrivateKeyTypes:
    """Return the private key in a PEM file.

    Raise InputError if the file is missing, accessible to others or not a private key, WrongPassphrase if the
    passphrase is wrong.
    """
    pem = read_input(path, "key", most=_MOST_BYTES)
    if b"PRIVATE KEY" in pem:
        refuse_loose(path)
    return parse_private_key(pem, str(path), passphrase)


def is_encrypted(pem: bytes) -> bool:
    """Whether a PEM key needs a passphrase: PKCS #8 has it in the label, older forms in a header."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def parse_private_key(pem: bytes, where: str, passphrase: PassphraseSource) -> PrivateKeyTypes:
    """Return the private key in *pem*; *where* names its file in errors and to the callback. Raise InputError."""
    secret = passphrase(where) if is_encrypted(pem) else None
    try:
        return serialization.load_pem_private_key(pem, secret.reveal().encode() if secret else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if secret is not None:
            raise WrongPassphrase("cannot decrypt the key: wrong passphrase or damaged file", where=where) from None
        raise InputError(
            "not a private key in PEM format", where=where, hint="use a file with BEGIN PRIVATE KEY", cause="key-file"
        ) from None


def write_private_key(path: Path, key: PrivateKeyTypes, passphrase: Secret[str] | None) -> None:
    """Write *key* as PKCS #8 PEM (0600), encrypted unless *passphrase* is None.

    Raise InputError if *path* exists.
    """
    write_file(path, encode_private_key(key, passphrase), secret=True)


def encode_private_key(key: PrivateKeyTypes, passphrase: Secret[str] | None) -> bytes:
    """Return *key* as PKCS #8 PEM, encrypted unless *passphrase* is None.

    Raise InputError if the passphrase is empty or too long.
    """
    if passphrase is None:
        return _pkcs8(key, serialization.Encoding.PEM)
    if not passphrase.reveal():
        raise InputError("the passphrase is empty", cause="wrong-passphrase")
    if len(passphrase.reveal().encode()) > _LONGEST_PASSPHRASE:
        raise InputError(f"the passphrase is longer than {_LONGEST_PASSPHRASE} bytes", cause="wrong-passphrase")
    encrypted = encrypt(Secret(_pkcs8(key, serialization.Encoding.DER)), passphrase)
    lines = wrap(base64.b64encode(encrypted).decode(), _LINE)
    return "\n".join(
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, "-----END ENCRYPTED PRIVATE KEY-----", ""]
    ).encode()


def _pkcs8(key: PrivateKeyTypes, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
