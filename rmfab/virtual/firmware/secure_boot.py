"""Secure boot v2 on a virtual board: whether an image in its flash is signed with a key whose digest is burned.

Sources: ESP-IDF `components/bootloader_support/src` (secure_boot_v2, esp_image_format.c), programming guide, "Secure
Boot v2". One invalid block of three makes the image unsigned, which is stricter than the chip. P-384 is never trusted:
it needs SECURE_BOOT_SHA384_EN, which is not burned.
"""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.release.signature_blocks import SECTOR, BlockScheme, blocks_checked_by, signature_blocks
from rmfab.virtual.chip.efuse import EfuseSecurity
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.firmware.log import Log
from rmfab.virtual.firmware.markers import BootloaderFacts

_VERSION_RSA = 2


def trusted(security: EfuseSecurity, data: bytes, image_length: int) -> bool:
    """Whether the image at the start of *data* may start. *data* must include the signature sector."""
    return any(digest in security.digests for digest in key_digests(security.chip, data, image_length))


def key_digests(chip: Chip, data: bytes, image_length: int) -> tuple[str, ...]:
    """Return the digests of the signing keys that *chip* checks; none if a signature block is invalid."""
    try:
        blocks = signature_blocks(data[: _sector(image_length) + SECTOR], image_length, "image")
    except InputError:
        return ()
    return tuple(
        block.key_digest for block in blocks_checked_by(blocks, chip) if block.scheme is not BlockScheme.ECDSA_P384
    )


def first_byte(data: bytes, image_length: int) -> int:
    """Return the byte in the place of the first signature block's magic byte."""
    return data[_sector(image_length)]


def is_rsa(data: bytes, image_length: int) -> bool:
    """Whether the first signature block is marked as RSA."""
    return data[_sector(image_length) + 1] == _VERSION_RSA


def success_lines(log: Log, data: bytes, image_length: int) -> Iterator[str]:
    """Return what a bootloader prints about a trusted app."""
    yield log("esp_image", "Verifying image signature...")
    yield log("secure_boot_v2", f"Verifying with {'RSA-PSS' if is_rsa(data, image_length) else 'ECDSA'}...")
    yield log("secure_boot_v2", "Signature verified successfully!")


def turn_on_lines(log: Log, model: ChipModel, facts: BootloaderFacts, keys: int, app: int) -> Iterator[str]:
    """Return what a bootloader prints while it burns the digests of its *keys*; *app* is the app's offset.

    Source: the log of ESP-IDF's example security_features_app, and `secure_boot_v2.c`.
    """
    found = f"{keys} signature block(s) found appended to the"
    yield log("secure_boot_v2", "Secure boot digests absent, generating..")
    for image, offset in (("bootloader", 0), ("app", app)):
        yield log(
            "secure_boot_v2", f"Digests successfully calculated, {keys} valid signatures (image offset 0x{offset:x})"
        )
        yield log("secure_boot_v2", f"{found} {image}.")
        if image == "bootloader":
            yield log("secure_boot_v2", "Burning public key hash to eFuse")
    yield log("secure_boot_v2", "Application key(0) matches with bootloader key(0).")
    for slot in range(keys, model.secure_boot_keys):
        yield log("secure_boot_v2", f"Revoking empty key digest slot ({slot})...")
    yield log("secure_boot_v2", "blowing secure boot efuse...")
    match facts.download_mode:
        case DownloadMode.SECURE:
            yield log("secure_boot", "Enabling Security download mode...")
        case DownloadMode.OFF:
            yield log("secure_boot", "Disable ROM Download mode...")
        case DownloadMode.OPEN:
            yield log("secure_boot", "UART ROM Download mode kept enabled - SECURITY COMPROMISED", "W")
    yield log("secure_boot", "Disable hardware & software JTAG...")
    yield log("secure_boot_v2", "Secure boot permanently enabled")


def _sector(image_length: int) -> int:
    return -(-image_length // SECTOR) * SECTOR
