"""Public keys that verify signatures: Ed25519, and ECDSA on P-256 with SHA-256.

The id of a key is that of The Update Framework: the SHA-256 of the canonical JSON of key type, scheme and public value
(TUF specification 1.0, section 4.2). securesystemslib computes the same, so other tools can use the ids of rmfab.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from rmfab.errors import InputError
from rmfab.files import read_input

_KINDS = "use an Ed25519 key, or an EC key on P-256"
SHORT_ID = 16
"""How many digits of an id are shown when the whole id is not needed."""


@dataclass(frozen=True)
class VerifyingKey:
    """A public key as DER (SubjectPublicKeyInfo, RFC 5280). Raise InputError for an unsupported kind of key."""

    der: bytes

    def __post_init__(self) -> None:
        _ = self._key

    @classmethod
    def of(cls, key: object) -> VerifyingKey:
        """Return the value of a public key of `cryptography`. Raise InputError as the class does."""
        if not isinstance(key, (ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey)):
            raise InputError("keys of this kind cannot sign", hint=_KINDS, cause="key-kind")
        return cls(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))

    @classmethod
    def from_pem(cls, pem: bytes, where: str) -> VerifyingKey:
        """Return the key in a PEM public key or certificate. Raise InputError, also for a private key."""
        if b"PRIVATE KEY" in pem:
            raise InputError(
                "this file contains a private key", where=where, hint="give the public half (.pub)", cause="key-file"
            )
        try:
            certified = b"BEGIN CERTIFICATE" in pem
            return cls.of(_certified(pem) if certified else serialization.load_pem_public_key(pem))
        except InputError as error:
            raise InputError(error.what, where=where, hint=error.hint, cause=error.cause) from None
        except (ValueError, UnsupportedAlgorithm):
            raise InputError(
                "not a public key in PEM format", where=where, hint="use a file with BEGIN PUBLIC KEY", cause="key-file"
            ) from None

    @cached_property
    def _key(self) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey:
        try:
            key = serialization.load_der_public_key(self.der)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if isinstance(key, ed25519.Ed25519PublicKey):
            return key
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        raise InputError("keys of this kind cannot sign", hint=_KINDS, cause="key-kind")

    @property
    def kind(self) -> str:
        """The kind of the key: `ed25519` or `ecdsa-p256`."""
        return "ed25519" if isinstance(self._key, ed25519.Ed25519PublicKey) else "ecdsa-p256"

    @cached_property
    def pem(self) -> str:
        """The key as PEM, with a trailing newline."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    @cached_property
    def id(self) -> str:
        """The id of the key: 64 hex digits."""
        if isinstance(self._key, ed25519.Ed25519PublicKey):
            kind, scheme, public = "ed25519", "ed25519", self._key.public_bytes_raw().hex()
        else:
            kind, scheme, public = "ecdsa", "ecdsa-sha2-nistp256", self.pem
        text = f'{{"keytype":"{kind}","keyval":{{"public":"{public}"}},"scheme":"{scheme}"}}'
        return hashlib.sha256(text.encode()).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether *signature* (64 bytes for Ed25519, DER for ECDSA) over *message* is valid for this key."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def _certified(pem: bytes) -> object:
    """Return the public key in a PEM certificate. Raise ValueError or UnsupportedAlgorithm."""
    from cryptography import x509  # slow to import, and few keys are in certificates

    try:
        return x509.load_pem_x509_certificate(pem).public_key()
    except x509.InvalidVersion as error:
        raise ValueError from error


def load_public_key(path: Path) -> VerifyingKey:
    """Return the key in a PEM file, a public key or a certificate. Raise InputError."""
    return VerifyingKey.from_pem(read_input(path, "public key"), str(path))


def short(key_id: str) -> str:
    """Return the digits of an id that people compare."""
    return key_id[:SHORT_ID]
