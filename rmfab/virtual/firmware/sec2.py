"""The sec2 pair as firmware computes it on its first boot: SRP6a salt and verifier for user name and PoP.

Sources: RFC 5054 (3072-bit group, g = 5) with SHA-512; ESP-IDF `protocomm/src/crypto/srp6a/esp_srp.c`. It is
independent of the host's implementation, so that tests can check one against the other.
"""

from __future__ import annotations

import hashlib
import re
import secrets

USERNAME = "wifiprov"
SALT_KEY = "sec2_salt"
VERIFIER_KEY = "sec2_verifier"
GENERATOR = 5
_SALT_SIZE = 16
PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
    "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7"
    "abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c"
    "bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff",
    16,
)

_IDF = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?")
# The first releases with a counting nonce, by branch (PROTOCOMM's patch_ver in security2.c, read at every tag).
_COUNTING = {(5, 0): 9, (5, 1): 7, (5, 2): 6, (5, 3): 3, (5, 4): 1}


def patch_version(idf_version: str) -> int:
    """Return `sec_patch_ver` of an ESP-IDF: 0 before the nonce of security 2 counted, else 1."""
    match = _IDF.match(idf_version)
    if match is None:
        return 1
    branch, bugfix = (int(match[1]), int(match[2])), int(match[3] or 0)
    return int(branch > max(_COUNTING) or bugfix >= _COUNTING.get(branch, bugfix + 1))


def make_pair(pop: str) -> tuple[bytes, bytes]:
    """Return a new salt and its verifier.

    A salt that starts with a zero byte loses it before it is hashed, and a stray byte is stored at its end. The
    firmware does the same, once in 256 boards; such a board can never be provisioned.
    """
    salt = secrets.token_bytes(_SALT_SIZE)
    number = int.from_bytes(salt, "big")
    hashed = number.to_bytes((number.bit_length() + 7) // 8, "big")
    stored = hashed + secrets.token_bytes(_SALT_SIZE - len(hashed))
    return stored, verifier(hashed, pop)


def verifier(salt: bytes, pop: str) -> bytes:
    """Return g to the power of H(salt, H(user name : PoP)), big-endian without leading zeros."""
    inner = hashlib.sha512(f"{USERNAME}:{pop}".encode()).digest()
    exponent = int.from_bytes(hashlib.sha512(salt + inner).digest(), "big")
    value = pow(GENERATOR, exponent, PRIME)
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
