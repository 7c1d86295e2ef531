"""Signing keys, named by URI: `file:PATH`, `env:NAME`, `pkcs11:…`.

A URI never contains a secret. Passphrases and PINs come from a callback, keys in environment variables from a mapping
that the caller passes in. A signer verifies each signature with its public key before it returns it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from rmfab.errors import InputError
from rmfab.signing.keyfile import PassphraseSource, load_private_key, parse_private_key
from rmfab.signing.publickey import VerifyingKey
from rmfab.signing.token import TokenKey, open_token_key

FORMS = "use the path of a key file, file:release.key, env:NAME for a variable with the PEM, or pkcs11:token=…;object=…"


_MARKS = ("PRIVATE KEY", base64.b64encode(b"-----BEGIN").decode()[:13])
"""What a key looks like, in PEM or in the base64 of a PEM."""
_SUFFIXES = (".key", ".pem", ".p8", ".der", ".pub")
_SCHEMES = ("file:", "env:", "pkcs11:")


class Signer(Protocol):
    """A private key in a file, a variable or a token."""

    @property
    def public(self) -> VerifyingKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over *message*: 64 bytes for Ed25519, DER for ECDSA."""

    def close(self) -> None:
        """End the session of a key in a token: an open session stays logged in."""


@unique
class SigningKeyKind(Enum):
    """The kinds of signing key pairs that rmfab makes."""

    ED25519 = "ed25519"
    ECDSA_P256 = "ecdsa-p256"


@dataclass(frozen=True)
class KeySigner:
    """A private key of `cryptography`, in memory or in a token. Raise InputError for a kind that cannot sign."""

    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        _ = self.public

    @property
    def public(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey.of(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature over *message*."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def close(self) -> None:
        """End the session if the key is in a token."""
        if isinstance(self.key, TokenKey):
            self.key.close()


def make_key(kind: SigningKeyKind) -> KeySigner:
    """Make a new key pair."""
    if kind is SigningKeyKind.ED25519:
        return KeySigner(ed25519.Ed25519PrivateKey.generate())
    return KeySigner(ec.generate_private_key(ec.SECP256R1()))


def key_uri(named: str) -> str:
    """Return the URI of the key that a user *named*: by a URI, or by a path that exists or looks like one of a key.

    Anything else stays as it is, and is not repeated in errors: it may be a secret.
    """
    if named.startswith(_SCHEMES) or any(mark in named for mark in _MARKS):
        return named
    path = Path(named)
    try:
        in_folder = path.parent != Path() and path.parent.is_dir()
        return f"file:{named}" if path.exists() or path.suffix in _SUFFIXES or in_folder else named
    except (OSError, ValueError):  # too long, or contains a NUL byte: not a valid path
        return named


def open_signer(uri: str, passphrase: PassphraseSource, environment: Mapping[str, str]) -> Signer:
    """Open the key that *uri* names. Raise InputError if there is none, it does not open, or it cannot sign."""
    key = open_private_key(uri, passphrase, environment)
    try:
        if isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey)):
            return KeySigner(key)
        VerifyingKey.of(key.public_key())
    except InputError as error:
        raise InputError(error.what, where=uri, hint=error.hint, cause=error.cause) from None
    raise AssertionError("keys of other kinds are rejected above")


def open_private_key(uri: str, passphrase: PassphraseSource, environment: Mapping[str, str]) -> PrivateKeyTypes:
    """Open the private key of any kind that *uri* names.

    Raise InputError if there is none or it does not open, StationError if its token does not work.
    """
    if any(mark in uri for mark in _MARKS):
        raise InputError("this is a private key, not its location: the command line is visible to others", hint=FORMS)
    scheme, _, rest = uri.partition(":")
    match scheme:
        case "file" if rest:
            return load_private_key(Path(rest.removeprefix("//")), passphrase)
        case "env" if rest:
            return _from_environment(rest, passphrase, environment)
        case "pkcs11" if rest:
            return open_token_key(uri, passphrase, environment)
    raise InputError("not the location of a key", hint=FORMS, cause="key-uri")  # not repeated: it may be a secret


def _from_environment(name: str, passphrase: PassphraseSource, environment: Mapping[str, str]) -> PrivateKeyTypes:
    """Return the key in a variable: PEM, or the base64 of a PEM for systems that fold lines."""
    where = f"env:{name}"
    text = environment.get(name, "").strip()
    if not text:
        raise InputError(
            "this environment variable is not set, or is empty",
            where=where,
            hint=f"set {name} to the text of the PEM file, or its base64",
            cause="key-uri",
        )
    pem = text.encode()
    if not text.startswith("-----BEGIN"):
        try:
            pem = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InputError(
                "not a key", where=where, hint="set it to the text of the PEM file, or its base64", cause="key-file"
            ) from None
    return parse_private_key(pem + b"\n", where, passphrase)
