"""Secure boot v2 on a virtual board: whether an image in its flash is signed with a key whose digest is burnt.

Sources: ESP-IDF `components/bootloader_support/src/secure_boot_v2`, programming guide, "Secure Boot v2". What the ROM
says of it is plausible rather than taken from a board.
"""

from __future__ import annotations

from rmfab.errors import InputError
from rmfab.release.secure_boot import SECTOR, signature_blocks
from rmfab.virtual.efuse import Security


def trusted(security: Security, data: bytes, image_length: int) -> bool:
    """Whether the image that *data* begins with may start. *data* reaches to the end of the signature sector, or on."""
    end = -(-image_length // SECTOR) * SECTOR + SECTOR
    try:
        blocks = signature_blocks(data[:end], image_length, "image")
    except InputError:
        return False
    return any(block.key_digest == security.digest for block in blocks)


def is_signed(data: bytes, image_length: int) -> bool:
    """Whether something that looks like a signature block follows the image."""
    sector = -(-image_length // SECTOR) * SECTOR
    return data[sector : sector + 1] == b"\xe7"
