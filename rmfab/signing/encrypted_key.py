"""A private key under a passphrase: PKCS #8 with PBES2, AES-256-CBC and scrypt, which every OpenSSL since 1.1 reads.

cryptography writes PBKDF2 with 2,048 rounds: somebody who has the file tries hundreds of thousands of passphrases in a
second. Sources: RFC 5958, section 3 (EncryptedPrivateKeyInfo); RFC 8018, sections 6.2 and A.4 (PBES2); RFC 7914,
section 7 (scrypt in ASN.1).
"""

from __future__ import annotations

import hashlib
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from rmfab.secret import Secret

COST, BLOCK, LANES = 1 << 14, 8, 5
"""N, r and p of scrypt (OWASP Password Storage Cheat Sheet). With more memory than these 16 MiB, OpenSSL's own commands
refuse to open the file (crypto/evp/pbe_scrypt.c, SCRYPT_MAX_MEM)."""

_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42
_SALT = _IV = 16


def encrypt(pkcs8: Secret[bytes], passphrase: Secret[str]) -> bytes:
    """Return EncryptedPrivateKeyInfo (DER) of *pkcs8*, a PrivateKeyInfo (DER)."""
    salt, iv = os.urandom(_SALT), os.urandom(_IV)
    secret = passphrase.reveal().encode()
    key = hashlib.scrypt(secret, salt=salt, n=COST, r=BLOCK, p=LANES, dklen=32)
    padder, encryptor = PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    padded = padder.update(pkcs8.reveal()) + padder.finalize()
    parameters = _sequence(_der(_OCTETS, salt), _integer(COST), _integer(BLOCK), _integer(LANES))
    derivation = _sequence(_der(_OID, _SCRYPT), parameters)
    scheme = _sequence(_der(_OID, _AES_256_CBC), _der(_OCTETS, iv))
    algorithm = _sequence(_der(_OID, _PBES2), _sequence(derivation, scheme))
    return _sequence(algorithm, _der(_OCTETS, encryptor.update(padded) + encryptor.finalize()))


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    """Return a positive INTEGER; its first bit is the sign."""
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    """Return tag, length and content (X.690, sections 8.1 and 10.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
