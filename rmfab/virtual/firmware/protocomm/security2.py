"""Security 2 on the device: SRP6a over the 3072-bit group with SHA-512, then AES-256-GCM.

Sources: RFC 5054; ESP-IDF `components/protocomm` (security2.c, esp_srp.c), `sec2.proto` (facts only). This side has
only salt and verifier, never the PoP.
"""

from __future__ import annotations

import hashlib
import secrets

import gmpy2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rmfab.virtual.firmware.protocomm.scheme import SchemeEvent, SchemeFailure
from rmfab.virtual.firmware.protocomm.wire import Fields, integer, message, octets, put, scalar
from rmfab.virtual.firmware.sec2 import GENERATOR, PRIME

_TAG = "security2"
_SIZE = 384
_PROOF_SIZE = 64
_GCM_TAG_SIZE = 16
_SESSION_ID_SIZE, _OLD_NONCE_SIZE = 8, 16
# What the console prints, by patch: mbedTLS's errors BAD_INPUT and AUTH_FAILED, or PSA's.
_BAD_LENGTH = "Failed at mbedtls_gcm_auth_decrypt : -20", "psa_aead_decrypt failed with status=-135"
_BAD_TAG = "Failed at mbedtls_gcm_auth_decrypt : -18", "psa_aead_decrypt failed with status=-149"
_COMMAND_0, _RESPONSE_0, _COMMAND_1, _RESPONSE_1 = range(4)


class Security2:
    """Security 2 with *salt* and *verifier* as stored.

    *patch* 1: the nonce is 8 random bytes and a counter (4 bytes, big-endian, from 1), incremented by every message;
    0: 16 random bytes, the same for all messages.
    """

    version = 2

    def __init__(self, salt: bytes, verifier: bytes, patch: int) -> None:
        self.patch = patch
        self._salt = salt
        self._verifier = int.from_bytes(verifier, "big")
        self.open()

    def open(self) -> None:
        """Discard the previous session."""
        self.established = False
        self._expected = b""
        self._answer = b""
        self._key = b""
        self._nonce = b""

    def shake(self, payload: Fields) -> bytes:
        """Answer S2SessionCmd0 and S2SessionCmd1. Raise SchemeFailure or WireError if they are not valid."""
        match integer(payload, 1):
            case kind if kind == _COMMAND_0:
                return self._exchange_keys(message(payload, 20))
            case kind if kind == _COMMAND_1:
                return self._verify(message(payload, 22))
        raise SchemeFailure(_TAG, "Invalid security message type")

    def decrypt(self, data: bytes) -> bytes:
        """Return the plain text. Raise SchemeFailure if the tag is not valid or there is no session."""
        cipher = self._cipher()
        if len(data) < _GCM_TAG_SIZE:
            raise SchemeFailure(_TAG, _BAD_LENGTH[self.patch])
        try:
            plain = cipher.decrypt(self._nonce, data, None)
        except InvalidTag as error:
            raise SchemeFailure(_TAG, _BAD_TAG[self.patch]) from error
        self._count()
        return plain

    def encrypt(self, data: bytes) -> bytes:
        """Return *data* encrypted, with the tag appended. Raise SchemeFailure if there is no session."""
        sealed = self._cipher().encrypt(self._nonce, data, None)
        self._count()
        return sealed

    def _count(self) -> None:
        if self.patch:
            counter = int.from_bytes(self._nonce[_SESSION_ID_SIZE:], "big") + 1
            self._nonce = self._nonce[:_SESSION_ID_SIZE] + (counter & 0xFFFFFFFF).to_bytes(4, "big")

    def _cipher(self) -> AESGCM:
        if not self.established:
            raise SchemeFailure(_TAG, "Secure session not established")
        if self.patch and not any(self._nonce[_SESSION_ID_SIZE:]):
            raise SchemeFailure(_TAG, "Invalid counter value, restart session")
        return AESGCM(self._key[:32])

    def _exchange_keys(self, command: Fields | None) -> bytes:
        if command is None:
            raise SchemeFailure(_TAG, "Missing or mismatched sc0 payload in session command0")
        self.open()
        user, client = octets(command, 1), octets(command, 2)
        if len(client) != _SIZE:
            raise SchemeFailure(_TAG, "Invalid public key length", SchemeEvent.INVALID_PARAMETERS)
        if not user:
            raise SchemeFailure(_TAG, "Invalid username length (0)", SchemeEvent.INVALID_PARAMETERS)
        if int.from_bytes(client, "big") % PRIME == 0:
            raise SchemeFailure(_TAG, "Rejected client public key: A mod N == 0 (RFC 5054 Section 2.5.4)")
        device, secret = _session(client, self._verifier)
        self._key = _sha512(_minimal(secret))
        group = bytes(a ^ b for a, b in zip(_sha512(_padded(PRIME)), _sha512(_padded(GENERATOR)), strict=True))
        self._expected = _sha512(group, _sha512(user), self._salt, client, device, self._key)
        self._answer = _sha512(client, self._expected, self._key)
        return scalar(1, _RESPONSE_0) + put(21, put(2, device) + put(3, self._salt))

    def _verify(self, command: Fields | None) -> bytes:
        if command is None:
            raise SchemeFailure(_TAG, "Missing or mismatched sc1 payload in session command1")
        if not self._expected or self.established:
            raise SchemeFailure(_TAG, f"Invalid state of session 1 (expected {2 if self.established else 0})")
        proof = octets(command, 1)
        if len(proof) != _PROOF_SIZE:
            raise SchemeFailure(_TAG, "The client proof length does not match")
        if not secrets.compare_digest(proof, self._expected):
            raise SchemeFailure(_TAG, "Failed to authenticate client proof!", SchemeEvent.MISMATCH)
        counted = secrets.token_bytes(_SESSION_ID_SIZE) + (1).to_bytes(4, "big")
        self._nonce = counted if self.patch else secrets.token_bytes(_OLD_NONCE_SIZE)
        self.established = True
        return scalar(1, _RESPONSE_1) + put(23, put(2, self._answer) + put(3, self._nonce))


def _session(client: bytes, verifier: int) -> tuple[bytes, int]:
    """Return B as it is sent, without leading zeros, and the shared secret S."""
    multiplier = int.from_bytes(_sha512(_padded(PRIME), _padded(GENERATOR)), "big")
    private = secrets.randbits(256)
    public = (multiplier * verifier + int(gmpy2.powmod(GENERATOR, private, PRIME))) % PRIME
    scrambler = int.from_bytes(_sha512(client, _padded(public)), "big")
    base = int.from_bytes(client, "big") * int(gmpy2.powmod(verifier, scrambler, PRIME)) % PRIME
    return _minimal(public), int(gmpy2.powmod(base, private, PRIME))


def _sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def _padded(number: int) -> bytes:
    return number.to_bytes(_SIZE, "big")


def _minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
