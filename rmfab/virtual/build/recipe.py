"""The recipe of a firmware for virtual boards, from which a build folder is made."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.virtual.firmware.log import INFO
from rmfab.virtual.firmware.markers import BootloaderFacts, FirmwareFacts


@dataclass(frozen=True)
class FirmwareRecipe:
    """A firmware for *chip*. The defaults are those of stock RainMaker firmware.

    *facts* describe how it is compiled; their rollback applies to bootloader and app. *app_size* and *flash_size* are
    in bytes. *seed* selects the filling of the images. With *secure_boot*, the bootloader enables secure boot and sets
    *download_mode* (None: ESP-IDF's default); the images are not signed. *bootloader_log_level* is that of the
    bootloader, whose console is the app's. Raise InputError if *secure_version* is set
    without rollback, or the chip does not have this *download_mode*.
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
    bootloader_log_level: int = INFO
    seed: int = 0

    def __post_init__(self) -> None:
        if self.download_mode is DownloadMode.SECURE and self.chip is Chip.ESP32:
            raise InputError("the ESP32 has no secure download mode (use open or off)")
        if self.secure_version and not self.facts.rollback:
            raise InputError("secure_version needs rollback (ESP-IDF has no anti-rollback without it)")

    @property
    def bootloader_facts(self) -> BootloaderFacts:
        """The configuration of the bootloader."""
        default = DownloadMode.OPEN if self.chip is Chip.ESP32 else DownloadMode.SECURE
        return BootloaderFacts(
            self.facts.rollback,
            self.secure_boot,
            self.download_mode or default,
            self.bootloader_log_level,
            self.facts.console_port,
            self.facts.console_baud,
        )
