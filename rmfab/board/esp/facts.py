"""What the loader says of a board, and the judgement whether this release may be written to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rmfab.errors import RmfabError
from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.release.parts import APP, BOOTLOADER
from rmfab.release.release import Release
from rmfab.release.signature_blocks import SignatureBlock, blocks_checked_by


class BoardRefused(RmfabError):
    """The board must not get this release; *cause* says why in one word."""

    cause = "refused"


@dataclass(frozen=True)
class SecurityState:
    """The eFuses that forbid a plain write. *flash_encryption* and *secure_boot* as the chip enforces them.

    *secure_boot_digests*: of the public keys that secure boot v2 trusts, in hex (of the ESP32-C2 the first half).
    """

    secure_boot_v1: bool = False
    secure_boot_v2: bool = False
    flash_encryption: bool = False
    secure_download: bool = False
    secure_boot_digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardFacts:
    """A board as its loader describes it.

    *chip_name* as esptool spells it (`ESP32-C3`), *revision* major*100+minor, *mac* lower-case with colons,
    *flash_size* in bytes, None where the flash chip does not say. In secure download mode only *chip_name* and
    *security* are known.
    """

    chip_name: str
    revision: int | None
    mac: str | None
    flash_size: int | None
    security: SecurityState


CLOSED = "a unit whose firmware has closed its download mode: `rmfab verify` or `reset`, with --serial and --release"
"""What is left to do with such a unit."""


def refuse_security(facts: BoardFacts) -> None:
    """Refuses a board whose eFuses make any write brick it. Raises Refused."""
    security = facts.security
    if security.secure_download:
        raise BoardRefused(
            "the board is in secure download mode: its flash can neither be read nor proven",
            hint=f"{CLOSED}; another board is set aside",
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
    """Refuses a release whose images a board with secure boot v2 would not start. Raises Refused."""
    if not facts.security.secure_boot_v2:
        return
    for name, blocks in ((BOOTLOADER, release.bootloader_signatures), (APP, release.app_signatures)):
        _refuse_image(facts, f"the release's {name}", blocks, release.chip)


def _refuse_image(facts: BoardFacts, image: str, blocks: tuple[SignatureBlock, ...], chip: Chip) -> None:
    if not blocks:
        raise BoardRefused(
            f"secure boot is on, and {image} is not signed: the board would never boot again",
            hint="a release whose images are signed with the key that is burnt, or a board with fresh eFuses",
            cause="secure-boot-unsigned",
        )
    counting = blocks_checked_by(blocks, chip)
    if not counting:
        schemes = ", ".join(sorted({block.scheme.value for block in blocks}))
        raise BoardRefused(
            f"secure boot is on, and {image} is signed in a way that an {facts.chip_name} does not know: {schemes}",
            hint="sign it with a key that the chip can verify: RSA-3072 on all but the ESP32-C2",
            cause="secure-boot-scheme",
        )
    burnt, signed = facts.security.secure_boot_digests, [block.key_digest for block in counting]
    if not any(digest.startswith(known) for known in burnt for digest in signed):
        raise BoardRefused(
            f"secure boot trusts {_shortened(burnt)}, and {image} is signed with {_shortened(signed)}",
            hint="the board belongs to another product, or the release was signed with another key",
            cause="secure-boot-key",
        )


def predict_secure_boot(facts: BoardFacts, release: Release) -> str | None:
    """What the first boot of a signed release would do to an open board; None where it burns nothing.

    Source: ESP-IDF `components/bootloader_support/src/secure_boot_v2/secure_boot.c`; the programming guide, "Secure
    Boot v2": UART ROM download mode.
    """
    blocks = blocks_checked_by(release.bootloader_signatures, release.chip)
    if facts.security.secure_boot_v2 or not blocks or release.configured.secure_boot is False:
        return None
    digests = _shortened([block.key_digest for block in blocks])
    will = "will" if release.configured.secure_boot else "may (the build does not say)"
    if release.configured.closes_download_mode:
        after = "no line can read or write it again: only its console resets it"
    elif release.configured.download_mode is DownloadMode.OPEN:
        after = "its download mode stays open"
    else:
        after = "where the build does not keep the download mode open, no line reaches it again"
    return (
        f"the bootloader is signed for secure boot: at its first boot it {will} burn the key digest {digests} into the "
        f"eFuses, for ever; the board then boots nothing that is signed with another key, and {after}"
    )


def _shortened(digests: Sequence[str]) -> str:
    return ", ".join(f"{digest[:16]}…" for digest in digests) or "no key"


def refuse_chip(facts: BoardFacts, chip: Chip) -> None:
    """Refuses a board of another chip than the product's. Raises Refused."""
    if facts.chip_name.lower().replace("-", "") != chip.value:
        raise BoardRefused(
            f"this board is an {facts.chip_name}, the product needs {chip.value}",
            hint="wrong board, or wrong chip in product.toml ([product] chip)",
            cause="chip-mismatch",
        )


def refuse_release(facts: BoardFacts, release: Release) -> None:
    """Refuses a board that is too old, too new, or whose flash ends before the partition table. Raises Refused."""
    if facts.revision is not None and facts.revision < release.min_revision:
        raise BoardRefused(
            f"chip revision {_version(facts.revision)} is too old: the release needs {_version(release.min_revision)}",
            hint="a board with a newer chip, or a release built for older ones (minimum chip revision in menuconfig)",
            cause="revision-too-old",
        )
    if facts.revision is not None and facts.revision > release.max_revision:
        raise BoardRefused(
            f"chip revision {_version(facts.revision)} is too new: the release is for at most "
            f"{_version(release.max_revision)}",
            hint="a release built with an ESP-IDF that knows this chip revision",
            cause="revision-too-new",
        )
    if facts.flash_size is None:
        raise BoardRefused(
            "the flash chip does not say how large it is",
            hint="flash wiring, VDD_SPI or the flash chip itself",
            cause="flash-unknown",
        )
    needed = max(release.table.end, release.flash_size)
    if facts.flash_size < needed:
        raise BoardRefused(
            f"the flash has {facts.flash_size // 1024} KiB, the release needs {needed // 1024} KiB",
            hint="a board with a larger flash, or a release with a smaller table",
            cause="flash-too-small",
        )


def _version(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"
