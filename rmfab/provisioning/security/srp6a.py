"""Security 2: SRP6a over the 3072-bit group with SHA-512, then AES-256-GCM.

The hashes take the bytes as sent, except that A and B in u are padded to 384 bytes, and S in K has no leading zeros.

    k = H(N | PAD(g))      x = H(salt | H(user ":" PoP))      u = H(PAD(A) | PAD(B))      v = g^x
    S = (B - k v)^(a + u x)      K = H(S)
    M1 = H(H(N) ^ H(PAD(g)) | H(user) | salt | A | B | K)      M2 = H(A | M1 | K)

Source: RFC 5054 section 2.5 and appendix A, RFC 2945 section 3; ESP-IDF, protocomm/src/crypto/srp6a/esp_srp.c and
protocomm/src/security/security2.c (nonces).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rmfab.errors import UnitFault
from rmfab.identity.sec2_verifier import GENERATOR, MAX_VERIFIER_BYTES, PRIME, power
from rmfab.provisioning.failures import ProtocolError, RequestRefused
from rmfab.provisioning.handshakes import read_srp6a_key, read_srp6a_proof, srp6a_key, srp6a_proof
from rmfab.provisioning.security.security_scheme import Session, proof_mismatch, prove, wrong_pop
from rmfab.provisioning.transport import SESSION, ProvisioningTransport
from rmfab.secret import Secret

KEY_BYTES = MAX_VERIFIER_BYTES
_PRIVATE_BYTES = 32
_AES_KEY_BYTES = 32
# By sec_patch_ver. ESP-IDF sends 16 bytes with revision 0 and 12 with revision 1 (AES_GCM_IV_SIZE in security2.c, read
# at every tag); no client of Espressif's limits the length, and other firmware of revision 0 sends 12.
_NONCE_BYTES = {0: (12, 16), 1: (12,)}


@dataclass(frozen=True)
class Srp6a:
    """Security 2. *patch_ver* is the unit's `sec_patch_ver`, 0 or 1; *random* returns that many random bytes."""

    username: str
    pop: Secret[str]
    patch_ver: int
    random: Callable[[int], bytes]

    def handshake(self, transport: ProvisioningTransport) -> Session:
        """Make two round trips. Raise as `SecurityScheme.handshake`."""
        own = draw_own_key(self.random)
        theirs, salt = read_srp6a_key(transport.exchange(SESSION, srp6a_key(self.username, own.public)))
        agreed = agree(self.username, self.pop, own, theirs, salt)
        answer = prove(transport, srp6a_proof(agreed.proof))
        try:
            proof, nonce = read_srp6a_proof(answer)
        except RequestRefused as refusal:
            raise wrong_pop(refusal) from refusal
        if not hmac.compare_digest(proof, agreed.expected):
            raise proof_mismatch()
        if len(nonce) not in _NONCE_BYTES[self.patch_ver]:
            raise ProtocolError(f"the unit sent a nonce of {len(nonce)} bytes with sec_patch_ver {self.patch_ver}")
        return Authenticated(agreed.key, nonce, counting=self.patch_ver > 0)


class Authenticated:
    """AES-256-GCM under the first 32 bytes of K, with the tag after the text.

    The nonce comes from the unit. *counting* units (sec_patch_ver 1) send 8 random bytes and a counter, and increment
    it for every message in either direction; the others (sec_patch_ver 0) use one random nonce for all messages.
    """

    def __init__(self, key: Secret[bytes], nonce: bytes, *, counting: bool) -> None:
        self._cipher = AESGCM(key.reveal()[:_AES_KEY_BYTES])
        self._nonce = nonce
        self._counting = counting

    def encrypt(self, data: bytes) -> bytes:
        """Return text and tag of *data*."""
        return self._cipher.encrypt(self._next_nonce(), data, None)

    def decrypt(self, data: bytes) -> bytes:
        """Return the text in *data*. Raise UnitFault (`decrypt`) unless the unit encrypted it in this session."""
        try:
            return self._cipher.decrypt(self._next_nonce(), data, None)
        except (InvalidTag, ValueError) as error:
            raise UnitFault("cannot decrypt the unit's answer with the session's key", cause="decrypt") from error

    def _next_nonce(self) -> bytes:
        nonce = self._nonce
        if self._counting:
            counter = (int.from_bytes(nonce[8:], "big") + 1) & 0xFFFFFFFF
            self._nonce = nonce[:8] + counter.to_bytes(4, "big")
        return nonce


@dataclass(frozen=True)
class OwnKey:
    """The client's key of one handshake: the exponent a, and A as sent."""

    private: int = field(repr=False)
    public: bytes


@dataclass(frozen=True)
class Agreed:
    """The result of the handshake on both sides: K, M1 to send, M2 to expect."""

    key: Secret[bytes]
    proof: bytes = field(repr=False)
    expected: bytes = field(repr=False)


def draw_own_key(random: Callable[[int], bytes]) -> OwnKey:
    """Return a new key with an A of exactly 384 bytes.

    A unit accepts no other length. Without a leading zero in A, a hash over bytes and one over the number are the same.
    """
    while True:
        private = int.from_bytes(random(_PRIVATE_BYTES), "big")
        public = power(GENERATOR, private)
        if public.bit_length() > (KEY_BYTES - 1) * 8:
            return OwnKey(private, _padded(public))


def agree(username: str, pop: Secret[str], own: OwnKey, theirs: bytes, salt: bytes) -> Agreed:
    """Derive the secrets from the unit's B (*theirs*) and *salt*, both as sent. Raise ProtocolError."""
    number = int.from_bytes(theirs, "big")
    mixed = int.from_bytes(_hash(own.public, _padded(number % PRIME)), "big")
    if number % PRIME == 0 or mixed == 0:
        raise ProtocolError("the unit sent an invalid public key")
    inner = _hash(f"{username}:{pop.reveal()}".encode())
    secret = int.from_bytes(_hash(salt, inner), "big")
    base = (number - _MULTIPLIER * power(GENERATOR, secret)) % PRIME
    shared = power(base, own.private + mixed * secret)
    key = _hash(shared.to_bytes((shared.bit_length() + 7) // 8, "big"))
    proof = _hash(_GROUP, _hash(username.encode()), salt, own.public, theirs, key)
    return Agreed(Secret(key), proof, _hash(own.public, proof, key))


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def _padded(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "big")


_MULTIPLIER = int.from_bytes(_hash(_padded(PRIME), _padded(GENERATOR)), "big")
_GROUP = bytes(left ^ right for left, right in zip(_hash(_padded(PRIME)), _hash(_padded(GENERATOR)), strict=True))
