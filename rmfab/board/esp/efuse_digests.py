"""The digests of secure boot v2's public keys that are burned into a board's eFuses, read through esptool 5.6.

Sources: espefuse 5.6, memory definitions (BLOCK_KEY0 to 5 are 0x20 bytes apart; the ESP32 uses BLOCK2 only, the
ESP32-C2 the upper half of BLOCK_KEY0); ESP-IDF programming guide, "Secure Boot v2": key revocation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmfab.product.vocabulary import Chip

DIGEST_PURPOSES = (9, 10, 11)
"""Key purposes SECURE_BOOT_DIGEST0 to 2, the same on every chip that has key purposes."""
_ESP32_BLOCK2 = 0x58
_C2_KEY0_UPPER = 0x60 + 16
_KEY0 = 0x9C
_KEY_BLOCKS = 6
_KEY_STRIDE = 0x20
_DIGEST_WORDS = 8


def burned_digests(esp: Any, chip_name: str) -> tuple[str, ...]:
    """Return the trusted digests that are not revoked, in hex: 64 digits, or 32 for the half on an ESP32-C2.

    Raise what esptool raises if the board does not answer.
    """
    name = chip_name.lower().replace("-", "")
    if name == Chip.ESP32.value:
        return (_words(esp, esp.EFUSE_RD_REG_BASE + _ESP32_BLOCK2, _DIGEST_WORDS),)
    if name == Chip.ESP32C2.value:
        return (_words(esp, esp.EFUSE_BASE + _C2_KEY0_UPPER, _DIGEST_WORDS // 2),)
    return tuple(_by_purpose(esp))


def _by_purpose(esp: Any) -> Iterator[str]:
    revoked = esp.get_security_info()["parsed_flags"]
    for block in range(_KEY_BLOCKS):
        purpose = esp.get_key_block_purpose(block)
        if purpose in DIGEST_PURPOSES and not revoked[f"SECURE_BOOT_KEY_REVOKE{DIGEST_PURPOSES.index(purpose)}"]:
            yield _words(esp, esp.EFUSE_BASE + _KEY0 + _KEY_STRIDE * block, _DIGEST_WORDS)


def _words(esp: Any, address: int, count: int) -> str:
    return b"".join(esp.read_reg(address + 4 * word).to_bytes(4, "little") for word in range(count)).hex()
