"""What the loader says of a board, and the judgement whether this release may be written to it."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.errors import RmfabError
from rmfab.product.vocabulary import Chip
from rmfab.release.release import Release


class Refused(RmfabError):
    """The board must not get this release; *cause* says why in one word."""

    cause = "refused"


@dataclass(frozen=True)
class SecurityState:
    """The eFuses that forbid a plain write. *flash_encryption* and *secure_boot* as the chip enforces them."""

    secure_boot_v1: bool = False
    secure_boot_v2: bool = False
    flash_encryption: bool = False
    secure_download: bool = False


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


def refuse_security(facts: BoardFacts) -> None:
    """Refuses a board whose eFuses make a plain write brick it. Raises Refused."""
    security = facts.security
    if security.secure_download:
        raise Refused(
            "the board is in secure download mode: its flash can neither be read nor proven",
            hint="such a board was made for another release; set it aside",
            cause="secure-download-mode",
        )
    if security.flash_encryption:
        raise Refused(
            "flash encryption is on: a plain write would brick the board",
            hint="use a board with fresh eFuses",
            cause="flash-encryption",
        )
    for enabled, version in ((security.secure_boot_v1, 1), (security.secure_boot_v2, 2)):
        if enabled:
            raise Refused(
                f"secure boot version {version} is on: the board would not boot this release",
                hint="use a board with fresh eFuses",
                cause=f"secure-boot-v{version}",
            )


def refuse_chip(facts: BoardFacts, chip: Chip) -> None:
    """Refuses a board of another chip than the product's. Raises Refused."""
    if facts.chip_name.lower().replace("-", "") != chip.value:
        raise Refused(
            f"this board is an {facts.chip_name}, the product needs {chip.value}",
            hint="wrong board, or wrong chip in product.toml ([product] chip)",
            cause="chip-mismatch",
        )


def refuse_release(facts: BoardFacts, release: Release) -> None:
    """Refuses a board that is too old, too new, or whose flash ends before the partition table. Raises Refused."""
    if facts.revision is not None and facts.revision < release.min_revision:
        raise Refused(
            f"chip revision {_version(facts.revision)} is too old: the release needs {_version(release.min_revision)}",
            hint="a board with a newer chip, or a release built for older ones (minimum chip revision in menuconfig)",
            cause="revision-too-old",
        )
    if facts.revision is not None and facts.revision > release.max_revision:
        raise Refused(
            f"chip revision {_version(facts.revision)} is too new: the release is for at most "
            f"{_version(release.max_revision)}",
            hint="a release built with an ESP-IDF that knows this chip revision",
            cause="revision-too-new",
        )
    if facts.flash_size is None:
        raise Refused(
            "the flash chip does not say how large it is",
            hint="flash wiring, VDD_SPI or the flash chip itself",
            cause="flash-unknown",
        )
    needed = max(release.table.end, release.flash_size)
    if facts.flash_size < needed:
        raise Refused(
            f"the flash has {facts.flash_size // 1024} KiB, the release needs {needed // 1024} KiB",
            hint="a board with a larger flash, or a release with a smaller table",
            cause="flash-too-small",
        )


def _version(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"
