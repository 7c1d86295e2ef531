"""Security 1: X25519, the PoP mixed into the key, and AES-256-CTR as one keystream for both directions.

key = X25519(client, unit) XOR SHA-256(PoP), or without the XOR if there is no PoP; the counter starts at the unit's
random. The stream covers, in this order: the client's proof, the unit's proof, then every request and every answer.
Source: ESP-IDF, protocomm/src/security/security1.c.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from rmfab.provisioning.failures import ProtocolError, RequestRefused
from rmfab.provisioning.handshakes import read_x25519_key, read_x25519_proof, x25519_key, x25519_proof
from rmfab.provisioning.security.security_scheme import Session, proof_mismatch, prove, wrong_pop
from rmfab.provisioning.transport import SESSION, ProvisioningTransport
from rmfab.secret import Secret


@dataclass(frozen=True)
class X25519:
    """Security 1. *pop* is empty if the unit requires none; *random* returns the given number of random bytes."""

    pop: Secret[str]
    random: Callable[[int], bytes]

    def handshake(self, transport: ProvisioningTransport) -> Session:
        """Make two round trips. Raise as `SecurityScheme.handshake`."""
        private = X25519PrivateKey.from_private_bytes(self.random(32))
        public = private.public_key().public_bytes_raw()
        theirs, start = read_x25519_key(transport.exchange(SESSION, x25519_key(public)))
        session = Keystream(session_key(private, theirs, self.pop), start)
        answer = prove(transport, x25519_proof(session.encrypt(theirs)))
        try:
            proof = read_x25519_proof(answer)
        except RequestRefused as refusal:
            raise wrong_pop(refusal) from refusal
        if not hmac.compare_digest(session.decrypt(proof), public):
            raise proof_mismatch()
        return session


class Keystream:
    """AES-256-CTR; encryption and decryption use the same stream."""

    def __init__(self, key: bytes, start: bytes) -> None:
        self._stream = Cipher(AES(key), CTR(start)).encryptor()

    def encrypt(self, data: bytes) -> bytes:
        """Return *data* XOR the next bytes of the stream."""
        return self._stream.update(data)

    def decrypt(self, data: bytes) -> bytes:
        """Return *data* XOR the next bytes of the stream; changes in transit are not detected."""
        return self._stream.update(data)


def session_key(private: X25519PrivateKey, public: bytes, pop: Secret[str]) -> bytes:
    """Return the key (32 bytes). Raise ProtocolError if the unit's public key yields no shared secret."""
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise ProtocolError("the unit sent an invalid public key") from error
    if not pop.reveal():
        return shared
    mask = hashlib.sha256(pop.reveal().encode()).digest()
    return bytes(left ^ right for left, right in zip(shared, mask, strict=True))
