"""Security 1 on the device: X25519, the PoP folded into the key, one AES-CTR keystream for both directions.

Source: ESP-IDF `components/protocomm/src/security/security1.c`, `sec1.proto` (facts only).
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rmfab.virtual.firmware.protocomm.scheme import SchemeEvent, SchemeFailure
from rmfab.virtual.firmware.protocomm.wire import Fields, integer, message, octets, put, scalar

_TAG = "security1"
_KEY_SIZE = 32
_COMMAND_0, _RESPONSE_0, _COMMAND_1, _RESPONSE_1 = range(4)


class Security1:
    """Security 1 with the proof of possession *pop*; an empty one leaves the X25519 key unchanged."""

    version = 1
    patch = 0

    def __init__(self, pop: str) -> None:
        self._pop = pop.encode()
        self.open()

    def open(self) -> None:
        """Discard the previous session."""
        self.established = False
        self._device = b""
        self._client = b""
        self._stream: CipherContext | None = None

    def shake(self, payload: Fields) -> bytes:
        """Answer SessionCmd0 and SessionCmd1. Raise SchemeFailure or WireError if they are not valid."""
        match integer(payload, 1):
            case kind if kind == _COMMAND_0:
                return self._exchange_keys(octets(message(payload, 20) or {}, 1))
            case kind if kind == _COMMAND_1:
                return self._verify(octets(message(payload, 22) or {}, 2))
        raise SchemeFailure(_TAG, "Invalid security message type")

    def decrypt(self, data: bytes) -> bytes:
        """Apply the next bytes of the keystream to *data*. Raise SchemeFailure if there is no session."""
        if self._stream is None or not self.established:
            raise SchemeFailure(_TAG, "Secure session not established")
        return self._stream.update(data)

    def encrypt(self, data: bytes) -> bytes:
        """Do the same: there is one keystream for both directions."""
        return self.decrypt(data)

    def _exchange_keys(self, client: bytes) -> bytes:
        self.open()
        if len(client) != _KEY_SIZE:
            raise SchemeFailure(_TAG, "Invalid public key length", SchemeEvent.INVALID_PARAMETERS)
        private = X25519PrivateKey.generate()
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(client))
        except ValueError as error:  # a point of small order
            raise SchemeFailure(_TAG, "Failed at mbedtls_ecdh_compute_shared") from error
        if self._pop:
            digest = hashlib.sha256(self._pop).digest()
            shared = bytes(a ^ b for a, b in zip(shared, digest, strict=True))
        start = secrets.token_bytes(16)
        self._client = client
        self._device = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._stream = Cipher(algorithms.AES(shared), modes.CTR(start)).encryptor()
        return scalar(1, _RESPONSE_0) + put(21, put(2, self._device) + put(3, start))

    def _verify(self, proof: bytes) -> bytes:
        if self._stream is None or self.established:
            raise SchemeFailure(_TAG, f"Invalid state of session 1 (expected {2 if self.established else 0})")
        if len(proof) != _KEY_SIZE:
            raise SchemeFailure(_TAG, "Invalid client verify data length")
        if not secrets.compare_digest(self._stream.update(proof), self._device):
            raise SchemeFailure(_TAG, "Key mismatch. Close connection", SchemeEvent.MISMATCH)
        self.established = True
        return scalar(1, _RESPONSE_1) + put(23, put(3, self._stream.update(self._client)))
