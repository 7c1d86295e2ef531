"""What the ESP32's flash controller writes if a host requests encryption on a chip whose key is blank.

Source: ESP-IDF programming guide for the ESP32, "Flash Encryption", section "Flash Encryption Algorithm" (AES-256, run
as decryption, over blocks in reversed byte order; FLASH_CRYPT_CONFIG selects the key bits that the address changes).
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.efuse import EfuseSecurity

CIPHER_BLOCK = 16
_BLANK_KEY = bytes(32)


def blank_key_cipher(security: EfuseSecurity) -> Callable[[bytes], bytes] | None:
    """Return the encryption with a blank key; None on a chip that rejects it, or if a key is burned, which is unknown.

    Blank eFuses have a FLASH_CRYPT_CONFIG of 0, so that the address has no influence.
    """
    return _encrypted if security.chip is Chip.ESP32 and not security.flash_encryption else None


def _encrypted(data: bytes) -> bytes:
    """Return *data*, filled up to whole blocks, encrypted."""
    plain = data.ljust(-(-len(data) // CIPHER_BLOCK) * CIPHER_BLOCK, b"\xff")
    # The blocks are independent, so reversing all bytes reverses each block.
    done = Cipher(algorithms.AES(_BLANK_KEY), modes.ECB()).decryptor()  # noqa: S305 (what the hardware does)
    return done.update(plain[::-1])[::-1][: len(data)]
