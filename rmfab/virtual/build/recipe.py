"""What a firmware for virtual boards is to be: the request of which a build folder is made."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.virtual.firmware.markers import BootloaderFacts, FirmwareFacts


@dataclass(frozen=True)
class FirmwareRecipe:
    """A firmware for *chip*; the defaults are stock RainMaker firmware.

    *facts* are how it is compiled; their rollback holds for bootloader and app. *app_size* and *flash_size* in bytes;
    *seed* chooses the app's filling. With *secure_boot* the bootloader turns secure boot on and leaves *download_mode*
    (None: what ESP-IDF's defaults leave); the images are not signed. Raises InputError where a *secure_version* comes
    without rollback, or the chip has no such *download_mode*.
    """

    chip: Chip
    project: str = "rmfab-demo"
    version: str = "1.0.0"
    facts: FirmwareFacts = FirmwareFacts()
    app_size: int = 256 * 1024
    flash_size: int = 4 << 20
    secure_version: int = 0
    secure_boot: bool = False
    download_mode: DownloadMode | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.download_mode is DownloadMode.SECURE and self.chip is Chip.ESP32:
            raise InputError("the ESP32 has no secure download mode: its own can be open or off")
        if self.secure_version and not self.facts.rollback:
            raise InputError("a secure version needs rollback: ESP-IDF has no anti-rollback without it")

    @property
    def bootloader_facts(self) -> BootloaderFacts:
        """How its bootloader is compiled."""
        default = DownloadMode.OPEN if self.chip is Chip.ESP32 else DownloadMode.SECURE
        return BootloaderFacts(self.facts.rollback, self.secure_boot, self.download_mode or default)
