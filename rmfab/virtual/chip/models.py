"""The chips that a virtual board can be: addresses, eFuse fields and ROM strings, one entry per chip.

Sources: esptool 5.6 `targets/*.py` (register addresses, eFuse fields, RAM ranges of MEMORY_MAP, watchdog registers) and
the chips' Technical Reference Manuals. The banners and boot numbers are what the mask ROMs print.
"""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.product.vocabulary import Chip

MAGIC_REGISTER = 0x40001000  # esptool `loader.py`, CHIP_DETECT_MAGIC_REG_ADDR: identifies chips without a chip id


@dataclass(frozen=True)
class EfuseField:
    """A bit field: *width* bits of the word at *address*, from bit *shift*."""

    address: int
    shift: int
    width: int


@dataclass(frozen=True)
class SpiLayout:
    """The registers of the SPI memory controller: base address and offsets from it.

    The defaults are those of all chips but the ESP32, which also sends an address from bit 31 down.
    """

    base: int
    usr: int = 0x18
    usr2: int = 0x20
    mosi_length: int = 0x24
    miso_length: int = 0x28
    w0: int = 0x58
    address_from_msb: bool = False


@dataclass(frozen=True)
class ChipModel:
    """One chip.

    - *ram*: address ranges that code may be loaded to.
    - *major*, *minor*: the fields of the chip revision, from bit 0 up.
    - *crystal*: in Hz. *uart_divider*: the register from which esptool computes the crystal frequency, if it does.
    - *watchdog*: the RTC watchdog's configuration and write-protect registers.
    - *security_info*: size of the GET_SECURITY_INFO payload in bytes; 0 if the ROM does not have the command.
    - *last_purpose*: what GET_SECURITY_INFO returns in place of a seventh key purpose: one more than the largest
      purpose that the ROM knows (ETS_EFUSE_KEY_PURPOSE_MAX of ESP-IDF's `rom/efuse.h`).
    - *secure_boot_keys*: how many digests of public keys the eFuses have room for.
    - *halt_line*: the source line that the ROM names when it gives up on the flash.
    - *run_boot*, *download_boot*: the strapping value that the ROM prints as `boot:0x…`.
    - *extra*: further words by address.
    """

    chip: Chip
    rom_banner: tuple[str, ...]
    spi: SpiLayout
    mac: int
    ram: tuple[tuple[int, int], ...]
    major: tuple[EfuseField, ...]
    minor: tuple[EfuseField, ...]
    secure_boot: EfuseField
    crypt_count: EfuseField
    key_purpose: EfuseField | None
    revision: int
    crystal: int
    uart_divider: int | None
    watchdog: tuple[int, int] | None = None
    magic: int = 0
    security_info: int = 20
    last_purpose: int = 12
    secure_boot_keys: int = 3
    halt_line: int = 333
    run_boot: int = 0xC
    download_boot: int = 0x4
    app_cores: int = 1
    flash_line: str = "SPIWP:0xee"
    extra: tuple[tuple[int, int], ...] = ()

    def has_ram(self, start: int, end: int) -> bool:
        """Whether the addresses from *start* to *end* lie in one range of the RAM."""
        return any(low <= start and end <= high for low, high in self.ram)

    @property
    def is_riscv(self) -> bool:
        """Whether its cores are RISC-V; those of the ESP32, S2 and S3 are Xtensa."""
        return self.chip not in (Chip.ESP32, Chip.ESP32S2, Chip.ESP32S3)

    @property
    def has_security_info(self) -> bool:
        """Whether the ROM has GET_SECURITY_INFO; the ESP32's does not."""
        return self.security_info > 0


def _block1(base: int, word: int, shift: int, width: int) -> EfuseField:
    return EfuseField(base + 4 * word, shift, width)


_ESP32_EFUSE = 0x3FF5A000
_S2_BLOCK1 = 0x3F41A044
_S3_BLOCK1 = 0x60007044
_C3_BLOCK1 = 0x60008844
_C2_BLOCK2 = 0x60008840
_C6_BLOCK1 = 0x600B0844
_C5_BLOCK1 = 0x600B4844
_P4_BLOCK1 = 0x5012D044

ESP32 = ChipModel(
    chip=Chip.ESP32,
    rom_banner=("ets Jul 29 2019 12:21:46", ""),
    spi=SpiLayout(0x3FF42000, 0x1C, 0x24, 0x28, 0x2C, 0x80, address_from_msb=True),
    mac=_ESP32_EFUSE + 4,
    ram=((0x3FFAE000, 0x40000000), (0x40070000, 0x400BFFFC), (0x400C0000, 0x400C2000), (0x50000000, 0x50002000)),
    major=(EfuseField(_ESP32_EFUSE + 12, 15, 1), EfuseField(_ESP32_EFUSE + 20, 20, 1), EfuseField(0x3FF6607C, 31, 1)),
    minor=(EfuseField(_ESP32_EFUSE + 20, 24, 2),),
    secure_boot=EfuseField(_ESP32_EFUSE + 24, 5, 1),
    crypt_count=EfuseField(_ESP32_EFUSE, 20, 7),
    key_purpose=None,
    revision=301,
    crystal=40_000_000,
    uart_divider=0x3FF40014,
    magic=0x00F01D83,
    security_info=0,
    secure_boot_keys=1,
    halt_line=371,
    run_boot=0x13,
    download_boot=0x3,
    app_cores=2,
    # CK8M_FREQ and RTCCALICFG1 as the ROM's calibration against a 40 MHz crystal leaves them: esptool's change_baud()
    # computes the crystal frequency from them, and would request 0 baud if they were 0. Then the package, ESP32-D0WD.
    extra=((_ESP32_EFUSE + 16, 64), (0x3FF5F06C, 1600 << 7), (_ESP32_EFUSE + 12, 1 << 9)),
)

ESP32S2 = ChipModel(
    chip=Chip.ESP32S2,
    rom_banner=("ESP-ROM:esp32s2-rc4-20191025", "Build:Oct 25 2019"),
    spi=SpiLayout(0x3F402000),
    mac=_S2_BLOCK1,
    ram=((0x3FFB0000, 0x40000000), (0x40020000, 0x40072000), (0x3FF9E000, 0x3FFA0000), (0x50000000, 0x50002000)),
    major=(_block1(_S2_BLOCK1, 3, 18, 2),),
    minor=(_block1(_S2_BLOCK1, 4, 4, 3), _block1(_S2_BLOCK1, 3, 20, 1)),
    secure_boot=EfuseField(0x3F41A038, 20, 1),
    crypt_count=EfuseField(0x3F41A034, 18, 3),
    key_purpose=EfuseField(0x3F41A034, 24, 4),
    revision=100,
    crystal=40_000_000,
    uart_divider=0x3F400014,
    watchdog=(0x3F408094, 0x3F4080AC),
    magic=0x000007C6,
    security_info=12,
    run_boot=0x8,
    download_boot=0x0,
)

ESP32S3 = ChipModel(
    chip=Chip.ESP32S3,
    rom_banner=("ESP-ROM:esp32s3-20210327", "Build:Mar 27 2021"),
    spi=SpiLayout(0x60002000),
    mac=_S3_BLOCK1,
    ram=((0x3FC88000, 0x3FD00000), (0x40370000, 0x403E0000), (0x600FE000, 0x60100000), (0x50000000, 0x50002000)),
    major=(_block1(_S3_BLOCK1, 5, 24, 2),),
    minor=(_block1(_S3_BLOCK1, 3, 18, 3), _block1(_S3_BLOCK1, 5, 23, 1)),
    secure_boot=EfuseField(0x60007038, 20, 1),
    crypt_count=EfuseField(0x60007034, 18, 3),
    key_purpose=EfuseField(0x60007034, 24, 4),
    revision=2,
    crystal=40_000_000,
    uart_divider=0x60000014,
    watchdog=(0x60008098, 0x600080B0),
    halt_line=329,
    run_boot=0x8,
    download_boot=0x0,
    app_cores=2,
)

ESP32C3 = ChipModel(
    chip=Chip.ESP32C3,
    rom_banner=("ESP-ROM:esp32c3-api1-20210207", "Build:Feb  7 2021"),
    spi=SpiLayout(0x60002000),
    mac=_C3_BLOCK1,
    ram=((0x3FC80000, 0x3FCE0000), (0x4037C000, 0x403E0000), (0x50000000, 0x50002000)),
    major=(_block1(_C3_BLOCK1, 5, 24, 2),),
    minor=(_block1(_C3_BLOCK1, 3, 18, 3), _block1(_C3_BLOCK1, 5, 23, 1)),
    secure_boot=EfuseField(0x60008838, 20, 1),
    crypt_count=EfuseField(0x60008834, 18, 3),
    key_purpose=EfuseField(0x60008834, 24, 4),
    revision=4,
    crystal=40_000_000,
    uart_divider=0x60000014,
    watchdog=(0x60008090, 0x600080A8),
)

ESP32C2 = ChipModel(
    chip=Chip.ESP32C2,
    rom_banner=("ESP-ROM:esp8684-api2-20220127", "Build:Jan 27 2022"),
    spi=SpiLayout(0x60002000),
    mac=_C2_BLOCK2,
    ram=((0x3FCA0000, 0x3FCE0000), (0x4037C000, 0x403C0000)),
    major=(_block1(_C2_BLOCK2, 1, 20, 2),),
    minor=(_block1(_C2_BLOCK2, 1, 16, 4),),
    secure_boot=EfuseField(0x60008830, 21, 1),
    crypt_count=EfuseField(0x60008830, 7, 3),
    key_purpose=None,
    revision=102,
    crystal=40_000_000,
    uart_divider=0x60000014,
    watchdog=(0x60008084, 0x6000809C),
    last_purpose=0,  # its eFuses have no purposes
    secure_boot_keys=1,
)

ESP32C6 = ChipModel(
    chip=Chip.ESP32C6,
    rom_banner=("ESP-ROM:esp32c6-20220919", "Build:Sep 19 2022"),
    spi=SpiLayout(0x60003000),
    mac=_C6_BLOCK1,
    ram=((0x40800000, 0x40880000), (0x50000000, 0x50004000)),
    major=(_block1(_C6_BLOCK1, 3, 22, 2),),
    minor=(_block1(_C6_BLOCK1, 3, 18, 4),),
    secure_boot=EfuseField(0x600B0838, 20, 1),
    crypt_count=EfuseField(0x600B0834, 18, 3),
    key_purpose=EfuseField(0x600B0834, 24, 4),
    revision=1,
    crystal=40_000_000,
    uart_divider=None,
    flash_line="SPIWP:0xee",
)

ESP32H2 = ChipModel(
    chip=Chip.ESP32H2,
    rom_banner=("ESP-ROM:esp32h2-20221101", "Build:Nov  1 2022"),
    spi=SpiLayout(0x60003000),
    mac=_C6_BLOCK1,
    ram=((0x40800000, 0x40850000), (0x50000000, 0x50001000)),
    major=(_block1(_C6_BLOCK1, 3, 21, 2),),
    minor=(_block1(_C6_BLOCK1, 3, 18, 3),),
    secure_boot=EfuseField(0x600B0838, 20, 1),
    crypt_count=EfuseField(0x600B0834, 18, 3),
    key_purpose=EfuseField(0x600B0834, 24, 4),
    revision=1,
    crystal=32_000_000,
    uart_divider=None,
)

ESP32C5 = ChipModel(
    chip=Chip.ESP32C5,
    rom_banner=("ESP-ROM:esp32c5-eco2-20250121", "Build:Jan 21 2025"),
    spi=SpiLayout(0x60003000),
    mac=_C5_BLOCK1,
    ram=((0x40800000, 0x40860000), (0x50000000, 0x50004000)),
    major=(_block1(_C5_BLOCK1, 2, 4, 2),),
    minor=(_block1(_C5_BLOCK1, 2, 0, 4),),
    secure_boot=EfuseField(0x600B4838, 25, 1),
    crypt_count=EfuseField(0x600B4834, 16, 3),
    key_purpose=EfuseField(0x600B4834, 22, 5),
    revision=100,
    crystal=48_000_000,
    uart_divider=0x60000014,
    watchdog=(0x600B1C00, 0x600B1C18),
    extra=((0x60096110, 48 << 24),),  # PCR_SYSCLK_CONF_REG, from which esptool reads the crystal frequency
)

ESP32C61 = ChipModel(
    chip=Chip.ESP32C61,
    rom_banner=("ESP-ROM:esp32c61-eco2-20250221", "Build:Feb 21 2025"),
    spi=SpiLayout(0x60003000),
    mac=_C5_BLOCK1,
    ram=((0x40800000, 0x40860000), (0x50000000, 0x50004000)),
    major=(_block1(_C5_BLOCK1, 2, 4, 2),),
    minor=(_block1(_C5_BLOCK1, 2, 0, 4),),
    secure_boot=EfuseField(0x600B4834, 26, 1),
    crypt_count=EfuseField(0x600B4830, 23, 3),
    key_purpose=EfuseField(0x600B4834, 0, 4),
    revision=100,
    crystal=40_000_000,
    uart_divider=None,
    watchdog=(0x600B1C00, 0x600B1C18),
)

ESP32P4 = ChipModel(
    chip=Chip.ESP32P4,
    rom_banner=("ESP-ROM:esp32p4-eco2-20240710", "Build:Jul 10 2024"),
    spi=SpiLayout(0x5008D000),
    mac=_P4_BLOCK1,
    ram=((0x4FF00000, 0x4FFC0000), (0x50108000, 0x50110000)),
    major=(_block1(_P4_BLOCK1, 2, 4, 2), _block1(_P4_BLOCK1, 2, 23, 1)),
    minor=(_block1(_P4_BLOCK1, 2, 0, 4),),
    secure_boot=EfuseField(0x5012D038, 20, 1),
    crypt_count=EfuseField(0x5012D034, 18, 3),
    key_purpose=EfuseField(0x5012D034, 24, 4),
    revision=103,
    crystal=40_000_000,
    uart_divider=None,
    watchdog=(0x50116000, 0x50116018),
    last_purpose=13,
    run_boot=0x30F,
    download_boot=0x307,
    app_cores=2,
)

MODELS = {
    model.chip: model
    for model in (ESP32, ESP32S2, ESP32S3, ESP32C2, ESP32C3, ESP32C5, ESP32C6, ESP32C61, ESP32H2, ESP32P4)
}
