"""Secure boot v2 on a virtual board: whether an image in its flash is signed with a key whose digest is burnt.

Sources: ESP-IDF `components/bootloader_support/src` (secure_boot_v2, esp_image_format.c), programming guide, "Secure
Boot v2". Of three blocks one that does not hold makes the image unsigned, which is stricter than the chip. P-384 is
never trusted: it needs SECURE_BOOT_SHA384_EN, which is not burnt.
"""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import InputError
from rmfab.release.secure_boot import SECTOR, Scheme, heeded, signature_blocks
from rmfab.virtual.efuse import Security
from rmfab.virtual.log import Log

_VERSION_RSA = 2


def trusted(security: Security, data: bytes, image_length: int) -> bool:
    """Whether the image that *data* begins with may start. *data* reaches to the end of the signature sector, or on."""
    end = _sector(image_length) + SECTOR
    try:
        blocks = signature_blocks(data[:end], image_length, "image")
    except InputError:
        return False
    return any(
        block.key_digest in security.digests and block.scheme is not Scheme.ECDSA_P384
        for block in heeded(blocks, security.chip)
    )


def first_byte(data: bytes, image_length: int) -> int:
    """What stands where the first signature block has its magic byte."""
    return data[_sector(image_length)]


def is_rsa(data: bytes, image_length: int) -> bool:
    """Whether the first signature block says that it is of RSA."""
    return data[_sector(image_length) + 1] == _VERSION_RSA


def success_lines(log: Log, data: bytes, image_length: int) -> Iterator[str]:
    """What a bootloader says of an app that is trusted."""
    yield log("esp_image", "Verifying image signature...")
    yield log("secure_boot_v2", f"Verifying with {'RSA-PSS' if is_rsa(data, image_length) else 'ECDSA'}...")
    yield log("secure_boot_v2", "Signature verified successfully!")


def _sector(image_length: int) -> int:
    return -(-image_length // SECTOR) * SECTOR
