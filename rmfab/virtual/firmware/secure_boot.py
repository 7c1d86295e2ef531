"""Secure boot v2 on a virtual board: whether an image in its flash is signed with a key whose digest is burnt.

Sources: ESP-IDF `components/bootloader_support/src` (secure_boot_v2, esp_image_format.c), programming guide, "Secure
Boot v2". Of three blocks one that does not hold makes the image unsigned, which is stricter than the chip. P-384 is
never trusted: it needs SECURE_BOOT_SHA384_EN, which is not burnt.
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
    """Whether the image that *data* begins with may start. *data* reaches to the end of the signature sector, or on."""
    return any(digest in security.digests for digest in key_digests(security.chip, data, image_length))


def key_digests(chip: Chip, data: bytes, image_length: int) -> tuple[str, ...]:
    """The digests of the keys that the image has signatures of which *chip* looks at; none where one does not hold."""
    try:
        blocks = signature_blocks(data[: _sector(image_length) + SECTOR], image_length, "image")
    except InputError:
        return ()
    return tuple(
        block.key_digest for block in blocks_checked_by(blocks, chip) if block.scheme is not BlockScheme.ECDSA_P384
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


def turn_on_lines(log: Log, model: ChipModel, facts: BootloaderFacts, keys: int, app: int) -> Iterator[str]:
    """What a bootloader says while it burns the digests of its *keys*; the app lies at the offset *app*.

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
