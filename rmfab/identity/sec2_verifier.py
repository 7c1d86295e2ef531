"""The SRP6a verifier of protocomm security 2, by fixed-base exponentiation. The only module that uses gmpy2.

v = g^x mod N with x = H(salt | H(username ":" password)), all hashes SHA-512 over raw bytes. Source: RFC 5054 appendix
A (3072-bit group), RFC 2945 section 3; ESP-IDF, protocomm/src/crypto/srp6a/esp_srp.c.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from rmfab.secret import Secret

if TYPE_CHECKING:
    from gmpy2 import mpz

SALT_BYTES = 16
MAX_VERIFIER_BYTES = 384

GENERATOR = 5
PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)

_WINDOW_BITS = 8
_EXPONENT_BITS = 512


def verifier(username: str, pop: Secret[str], salt: bytes) -> Secret[bytes]:
    """Return the verifier of *pop* under *salt*: big-endian, without leading zeros, at most 384 bytes."""
    inner = hashlib.sha512(f"{username}:{pop.reveal()}".encode()).digest()
    power = _power_of_generator(hashlib.sha512(salt + inner).digest())
    return Secret(power.to_bytes((power.bit_length() + 7) // 8, "big"))


def draw_salt(source: Callable[[int], bytes]) -> bytes:
    """Return a salt of 16 bytes from *source* with a first byte other than 0.

    Firmware that handles the salt as a number, and Espressif's Python client, lose a leading zero byte: such a unit
    could not be provisioned.
    """
    while True:
        salt = source(SALT_BYTES)
        if salt[0]:
            return salt


def is_usable(username: str, pop: Secret[str]) -> bool:
    """Whether every known client can verify *pop*: Espressif's Python clients drop a leading zero of the inner hash."""
    return hashlib.sha512(f"{username}:{pop.reveal()}".encode()).digest()[0] != 0


def power(base: int, exponent: int) -> int:
    """Return *base* to the power of *exponent* mod PRIME, by gmpy2: ten times as fast as Python's own `pow`."""
    from gmpy2 import powmod  # slow to import, and most commands only read verifiers

    return int(powmod(base, exponent, PRIME))


def _power_of_generator(exponent: bytes) -> int:
    """Return GENERATOR to the power of *exponent* (64 bytes, big-endian) mod PRIME: one product per nonzero byte."""
    modulus, power, table = _table()
    for row, digit in zip(table, reversed(exponent), strict=True):
        if digit:
            power = power * row[digit] % modulus
    return int(power)


@cache
def _table() -> tuple[mpz, mpz, Sequence[Sequence[mpz]]]:
    """Return the modulus, one, and the powers of the generator by position and value of an exponent's byte.

    The powers take 6 MB, once per process.
    """
    from gmpy2 import mpz

    modulus = mpz(PRIME)
    base = mpz(GENERATOR)
    rows = []
    for _ in range(_EXPONENT_BITS // _WINDOW_BITS):
        row = [mpz(1)]
        for _ in range((1 << _WINDOW_BITS) - 1):
            row.append(row[-1] * base % modulus)
        base = row[-1] * base % modulus
        rows.append(row)
    return modulus, mpz(1), rows
