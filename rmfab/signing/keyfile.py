"""Private keys in PEM files, encrypted or not.

A key file that others on the host can read is refused. Passphrases come from a callback, which is told what they
are for and is only called for a key that needs one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from rmfab.errors import InputError
from rmfab.files import read_input, write_file
from rmfab.secret import Secret

PassphraseSource = Callable[[str], Secret[str]]
_MOST_BYTES = 1 << 20
_LONGEST_PASSPHRASE = 1023  # OpenSSL's


def check_private(path: Path) -> None:
    """Raises InputError where *path* is a file that anybody on this host can read or write."""
    if os.name == "posix" and path.stat().st_mode & 0o006:
        raise InputError(
            "this key file is open to every user of this host",
            where=str(path),
            hint=f"chmod 600 {path}",
            cause="key-file-open",
        )


def load_private_key(path: Path, passphrase: PassphraseSource) -> PrivateKeyTypes:
    """The private key in a PEM file.

    Raises InputError where it is missing, open to others, no private key, or the passphrase is wrong.
    """
    pem = read_input(path, "key", most=_MOST_BYTES)
    if b"PRIVATE KEY" in pem:
        check_private(path)
    return parse_private_key(pem, str(path), passphrase)


def is_encrypted(pem: bytes) -> bool:
    """Whether a PEM key asks for a passphrase: PKCS #8 says so in its label, older forms in a header."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def parse_private_key(pem: bytes, where: str, passphrase: PassphraseSource) -> PrivateKeyTypes:
    """The private key in *pem*; *where* names its file in errors and to the callback. Raises InputError."""
    secret = passphrase(where) if is_encrypted(pem) else None
    try:
        return serialization.load_pem_private_key(pem, secret.reveal().encode() if secret else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if secret is not None:
            raise InputError(
                "the key does not open: the passphrase is wrong, or the file is damaged",
                where=where,
                cause="wrong-passphrase",
            ) from None
        raise InputError(
            "this is no private key in PEM form", where=where, hint="a file with BEGIN PRIVATE KEY", cause="key-file"
        ) from None


def write_private_key(path: Path, key: PrivateKeyTypes, passphrase: Secret[str] | None) -> None:
    """Writes *key* as PKCS #8 PEM (0600), encrypted unless *passphrase* is None. InputError where *path* exists."""
    write_file(path, encode_private_key(key, passphrase), secret=True)


def encode_private_key(key: PrivateKeyTypes, passphrase: Secret[str] | None) -> bytes:
    """*key* as PKCS #8 PEM, encrypted unless *passphrase* is None. Raises InputError for an empty or too long one."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        if not passphrase.reveal():
            raise InputError("an empty passphrase protects nothing", cause="wrong-passphrase")
        if len(passphrase.reveal().encode()) > _LONGEST_PASSPHRASE:
            raise InputError(f"a passphrase has at most {_LONGEST_PASSPHRASE} bytes", cause="wrong-passphrase")
        encryption = serialization.BestAvailableEncryption(passphrase.reveal().encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
