"""Keys that sign, named by URI: `file:PATH`, `env:NAME`, `pkcs11:…`.

No URI holds a secret: a passphrase or PIN comes from the callback, a key in the environment from the mapping that is
handed in. What a signer signs it hands out only after the public half has verified it.
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

FORMS = (
    "the path of a key file, file:release.key, env:NAME of a variable that holds the PEM, or pkcs11:token=…;object=…"
)


_MARKS = ("PRIVATE KEY", base64.b64encode(b"-----BEGIN").decode()[:13])
"""What a key looks like, in PEM or in the base64 of that."""
_SCHEMES = ("file:", "env:", "pkcs11:")


class Signer(Protocol):
    """A private key, wherever it lies."""

    @property
    def public(self) -> VerifyingKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """The signature over *message*: 64 bytes for Ed25519, DER for ECDSA."""

    def close(self) -> None:
        """Lets go of the key's token, where it lies in one: who has a session open stays logged in."""


@unique
class SigningKeyKind(Enum):
    """The key pairs that rmfab makes for signing."""

    ED25519 = "ed25519"
    ECDSA_P256 = "ecdsa-p256"


@dataclass(frozen=True)
class KeySigner:
    """A private key of `cryptography`, in memory or in a token. Raises InputError for a kind that cannot sign here."""

    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        _ = self.public

    @property
    def public(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey.of(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """The signature over *message*."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def close(self) -> None:
        """Lets go of the token, where the key lies in one."""
        if isinstance(self.key, TokenKey):
            self.key.close()


def make_key(kind: SigningKeyKind) -> KeySigner:
    """A new key pair."""
    if kind is SigningKeyKind.ED25519:
        return KeySigner(ed25519.Ed25519PrivateKey.generate())
    return KeySigner(ec.generate_private_key(ec.SECP256R1()))


def key_uri(named: str) -> str:
    """The URI of the key that a user *named*: by a URI, or by the path of a file that exists."""
    if named.startswith(_SCHEMES) or any(mark in named for mark in _MARKS):
        return named
    try:
        return f"file:{named}" if Path(named).is_file() else named
    except (OSError, ValueError):  # too long, or with a NUL byte: no path of this system
        return named


def open_signer(uri: str, passphrase: PassphraseSource, environment: Mapping[str, str]) -> Signer:
    """The key that *uri* names. Raises InputError where there is none, it does not open, or cannot sign."""
    key = open_private_key(uri, passphrase, environment)
    try:
        if isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey)):
            return KeySigner(key)
        VerifyingKey.of(key.public_key())
    except InputError as error:
        raise InputError(error.what, where=uri, hint=error.hint, cause=error.cause) from None
    raise AssertionError("a public key of another kind is refused")


def open_private_key(uri: str, passphrase: PassphraseSource, environment: Mapping[str, str]) -> PrivateKeyTypes:
    """The private key that *uri* names, of whatever kind.

    Raises InputError where there is none or it does not open, StationError where its token does not work.
    """
    if any(mark in uri for mark in _MARKS):
        raise InputError("this is a key, not where one lies: the command line shows it to everybody", hint=FORMS)
    scheme, _, rest = uri.partition(":")
    match scheme:
        case "file" if rest:
            return load_private_key(Path(rest.removeprefix("//")), passphrase)
        case "env" if rest:
            return _from_environment(rest, passphrase, environment)
        case "pkcs11" if rest:
            return open_token_key(uri, passphrase, environment)
    raise InputError("this names no key", hint=FORMS, cause="key-uri")  # whatever it is, it is not said again


def _from_environment(name: str, passphrase: PassphraseSource, environment: Mapping[str, str]) -> PrivateKeyTypes:
    """The key in a variable: PEM, or PEM once more in base64 for systems that fold lines."""
    where = f"env:{name}"
    text = environment.get(name, "").strip()
    if not text:
        raise InputError("this variable is not set", where=where, cause="key-uri")
    pem = text.encode()
    if not text.startswith("-----BEGIN"):
        try:
            pem = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InputError(
                "this variable holds no key", where=where, hint="the PEM file's text, or its base64", cause="key-file"
            ) from None
    return parse_private_key(pem + b"\n", where, passphrase)
