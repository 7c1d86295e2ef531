"""The facts that the loader reports about a board, and the checks whether a release may be written to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rmfab.errors import RmfabError
from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.release.parts import APP, BOOTLOADER
from rmfab.release.release import Release
from rmfab.release.signature_blocks import SignatureBlock, blocks_checked_by


class BoardRefused(RmfabError):
    """The board must not get this release; *cause* is the reason in one word."""

    cause = "refused"


@dataclass(frozen=True)
class SecurityState:
    """The eFuses that forbid a plain write. *flash_encryption* and *secure_boot* as the chip enforces them.

    *secure_boot_digests*: of the public keys that secure boot v2 trusts, in hex (for the ESP32-C2 the first half).
    """

    secure_boot_v1: bool = False
    secure_boot_v2: bool = False
    flash_encryption: bool = False
    secure_download: bool = False
    secure_boot_digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardFacts:
    """A board as its loader describes it.

    *chip_name* as esptool spells it (`ESP32-C3`), *revision* as major*100+minor, *mac* in lower case with colons,
    *flash_size* in bytes, None if the flash chip does not report it. In secure download mode only *chip_name* and
    *security* are known.
    """

    chip_name: str
    revision: int | None
    mac: str | None
    flash_size: int | None
    security: SecurityState


CLOSED = "if its firmware has closed the download mode, use `rmfab verify` or `reset` with --serial and --release"
"""The hint for a unit with a closed download mode."""


def refuse_security(facts: BoardFacts) -> None:
    """Raise BoardRefused if the board's eFuses would make any write brick it."""
    security = facts.security
    if security.secure_download:
        raise BoardRefused(
            "the board is in secure download mode: its flash cannot be read or verified",
            hint=f"{CLOSED}; set any other board aside",
            cause="secure-download-mode",
        )
    if security.flash_encryption:
        raise BoardRefused(
            "flash encryption is on: a plain write would brick the board",
            hint="use a board with fresh eFuses",
            cause="flash-encryption",
        )
    if security.secure_boot_v1:
        raise BoardRefused(
            "secure boot version 1 is on: the board would not boot this release",
            hint="use a board with fresh eFuses",
            cause="secure-boot-v1",
        )


def refuse_unsigned_images(facts: BoardFacts, release: Release) -> None:
    """Raise BoardRefused if the board has secure boot v2 and would not boot the images of *release*."""
    if not facts.security.secure_boot_v2:
        return
    for name, blocks in ((BOOTLOADER, release.bootloader_signatures), (APP, release.app_signatures)):
        _refuse_image(facts, f"the release's {name}", blocks, release.chip)


def _refuse_image(facts: BoardFacts, image: str, blocks: tuple[SignatureBlock, ...], chip: Chip) -> None:
    if not blocks:
        raise BoardRefused(
            f"secure boot is on, but {image} is not signed: the board would not boot again",
            hint="use a release signed with the burned key, or a board with fresh eFuses",
            cause="secure-boot-unsigned",
        )
    counting = blocks_checked_by(blocks, chip)
    if not counting:
        schemes = ", ".join(sorted({block.scheme.value for block in blocks}))
        raise BoardRefused(
            f"secure boot is on, but an {facts.chip_name} does not support the signature of {image}: {schemes}",
            hint="sign it with a key that the chip supports: RSA-3072 on all but the ESP32-C2",
            cause="secure-boot-scheme",
        )
    burnt, signed = facts.security.secure_boot_digests, [block.key_digest for block in counting]
    if not any(digest.startswith(known) for known in burnt for digest in signed):
        raise BoardRefused(
            f"secure boot trusts {_shortened(burnt)}, but {image} is signed with {_shortened(signed)}",
            hint="check that board and release belong to the same product, and the key that signed the release",
            cause="secure-boot-key",
        )


def predict_secure_boot(facts: BoardFacts, release: Release) -> str | None:
    """Return what the first boot of a signed release will burn on an open board, None if it burns nothing.

    Source: ESP-IDF `components/bootloader_support/src/secure_boot_v2/secure_boot.c`; the programming guide, "Secure
    Boot v2": UART ROM download mode.
    """
    blocks = blocks_checked_by(release.bootloader_signatures, release.chip)
    if facts.security.secure_boot_v2 or not blocks or release.configured.secure_boot is False:
        return None
    digests = _shortened([block.key_digest for block in blocks])
    will = "will" if release.configured.secure_boot else "may (the build does not record it)"
    if release.configured.closes_download_mode:
        after = "the line can no longer read or write it: only its console can reset it"
    elif release.configured.download_mode is DownloadMode.OPEN:
        after = "its download mode stays open"
    else:
        after = "the line cannot reach it again unless the build keeps the download mode open"
    return (
        f"the bootloader is signed for secure boot: on its first boot it {will} burn the key digest {digests} into the "
        f"eFuses; this is permanent. The board then boots only images signed with this key, and {after}"
    )


def _shortened(digests: Sequence[str]) -> str:
    return ", ".join(f"{digest[:16]}…" for digest in digests) or "no key"


def refuse_chip(facts: BoardFacts, chip: Chip) -> None:
    """Raise BoardRefused if the board's chip is not *chip*."""
    if facts.chip_name.lower().replace("-", "") != chip.value:
        raise BoardRefused(
            f"this board is an {facts.chip_name}, but the product requires {chip.value}",
            hint="use a different board, or correct chip in product.toml ([product])",
            cause="chip-mismatch",
        )


def refuse_release(facts: BoardFacts, release: Release) -> None:
    """Raise BoardRefused if the chip revision is too old or too new, or the flash is too small."""
    if facts.revision is not None and facts.revision < release.min_revision:
        raise BoardRefused(
            f"chip revision {_version(facts.revision)} is too old: the release needs {_version(release.min_revision)}",
            hint="use a board with a newer chip, or build the release for older ones (minimum revision in menuconfig)",
            cause="revision-too-old",
        )
    if facts.revision is not None and facts.revision > release.max_revision:
        raise BoardRefused(
            f"chip revision {_version(facts.revision)} is too new: the release supports at most "
            f"{_version(release.max_revision)}",
            hint="build the release with an ESP-IDF version that supports this chip revision",
            cause="revision-too-new",
        )
    if facts.flash_size is None:
        raise BoardRefused(
            "the flash chip does not report its size",
            hint="check the flash wiring, VDD_SPI and the flash chip",
            cause="flash-unknown",
        )
    needed = max(release.table.end, release.flash_size)
    if facts.flash_size < needed:
        raise BoardRefused(
            f"the flash has {facts.flash_size // 1024} KiB, but the release requires {needed // 1024} KiB",
            hint="use a board with a larger flash, or a release with a smaller partition table",
            cause="flash-too-small",
        )


def _version(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"
