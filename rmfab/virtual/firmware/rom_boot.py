"""The mask ROM after a reset: what it prints, and how it finds the second-stage bootloader.

Sources: boot logs of the chips, ESP-IDF `components/esp_rom`, esptool's boot mode table. The secure boot output of
ESP32, S3, C3 and, with ECDSA, of the C6 is from logs; that of other chips, and the rejection on the ESP32, is plausible
but not verified.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.virtual.chip.flash import SECTOR, Flash
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.firmware import secure_boot
from rmfab.virtual.firmware.log import EOL
from rmfab.virtual.firmware.script import Pause, Reset, ResetReason, Script, Step
from rmfab.virtual.spec import BoardSpec

LARGEST_BOOTLOADER = 0x20000
_HALT_SECONDS = 0.3
_REPEATS = 8
_FLASH_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}
_CLOCK_DIVIDERS = {"80m": 1, "60m": 1, "48m": 1, "40m": 2, "30m": 2, "24m": 2}
_SIGNATURE_MAGIC = 0xE7  # first byte of a signature block (esp_rom `secure_boot.h`)
_CIPHERTEXT = 0xA6C1E49B  # arbitrary: what flash encryption makes of a plain image header


def download_banner(model: ChipModel, reason: ResetReason, *, disabled: bool) -> Script:
    """Print the ROM's banner of download mode; *disabled* leaves out the loader itself."""
    yield from _banner(model, reason, download=True)
    if not disabled:
        yield f"waiting for download{EOL}"


def start(spec: BoardSpec, flash: Flash, reason: ResetReason) -> Iterator[Step]:
    """Run the ROM from the reset to the bootloader's entry. Stop after a Reset step if there is nothing to enter."""
    model = spec.model
    yield from _banner(model, reason, download=False)
    head = flash.read(model.chip.bootloader_offset, 24)
    magic = _CIPHERTEXT if spec.security.flash_encryption else int.from_bytes(head[:4], "little")
    if magic & 0xFF != 0xE9:
        for _ in range(_REPEATS):
            yield f"invalid header: 0x{magic:08x}{EOL}"
        yield from _halt(model, "")
        return
    yield from _load(spec, flash, head)


def bootloader_image(model: ChipModel, flash: Flash) -> AppImage:
    """Return the bootloader in the flash. Raise InputError if it is not a valid image."""
    at = model.chip.bootloader_offset
    return AppImage.parse(flash.read(at, min(LARGEST_BOOTLOADER, flash.size - at)), "bootloader")


def _load(spec: BoardSpec, flash: Flash, head: bytes) -> Iterator[Step]:
    model = spec.model
    try:
        image = bootloader_image(model, flash)
    except InputError as error:
        if error.cause == "image-checksum":
            yield from _halt(model, f"csum err:0x{head[3]:02x}!=0x{head[5]:02x}{EOL}")
            return
        if error.cause != "image-digest":  # the ROM checks no digest
            yield from _halt(model, f"invalid segment length 0xffffffff{EOL}")
            return
        image = None
    yield from _mode_lines(model, head, image)
    if spec.security.secure_boot and not (yield from _verify(spec, flash, image)):
        yield from _halt(model, f"secure boot verification failed{EOL}")
        return
    yield from _load_lines(model, head, image)
    if int.from_bytes(head[12:14], "little") != model.chip.image_id:
        yield from _halt(model, "")


def _verify(spec: BoardSpec, flash: Flash, image: AppImage | None) -> Generator[Step, None, bool]:
    """Check secure boot v2: whether the bootloader is signed with a key whose digest is burned.

    The signature covers the SHA-256 inside the image, so an image without a valid one is rejected.
    """
    data = flash.seen(spec.model.chip.bootloader_offset, LARGEST_BOOTLOADER + SECTOR)
    if spec.model.chip is Chip.ESP32:
        yield f"secure boot v2 enabled{EOL}"
    else:
        yield f"Valid secure boot key blocks: {' '.join(map(str, range(len(spec.security.digests))))}{EOL}"
    if image is None:
        return False
    found = secure_boot.first_byte(data, image.length)
    if found != _SIGNATURE_MAGIC:
        yield f"No signature block magic byte found at signature sector (found 0x{found:02x} not 0xe7). "
        yield f"Image not V2 signed?{EOL}"
    if not secure_boot.trusted(spec.security, data, image.length):
        return False
    yield f"{'' if secure_boot.is_rsa(data, image.length) else 'ECDSA '}secure boot verification succeeded{EOL}"
    return True


def _mode_lines(model: ChipModel, head: bytes, image: AppImage | None) -> Iterator[Step]:
    mode = _FLASH_MODES.get(head[2], "DIO")
    divider = _CLOCK_DIVIDERS.get(image.flash_freq if image else "", 2)
    if model.chip is Chip.ESP32:
        yield f"configsip: 0, SPIWP:0xee{EOL}"
        yield f"clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00{EOL}"
    else:
        yield model.flash_line + EOL
    yield f"mode:{mode}, clock div:{divider}{EOL}"


def _load_lines(model: ChipModel, head: bytes, image: AppImage | None) -> Iterator[Step]:
    for number, segment in enumerate(image.segments if image else ()):
        size = str(segment.length) if model.chip is Chip.ESP32 else f"0x{segment.length:x}"
        yield f"load:0x{segment.load_address:08x},len:{size}{EOL}"
        if number == 0 and model.chip is Chip.ESP32:
            yield f"ho 0 tail 12 room 4{EOL}"
    yield f"entry 0x{int.from_bytes(head[4:8], 'little'):08x}{EOL}"


def _banner(model: ChipModel, reason: ResetReason, *, download: bool) -> Iterator[Step]:
    yield "".join(line + EOL for line in model.rom_banner)
    old = model.chip is Chip.ESP32
    words = reason.old_words if old else reason.words
    boot = model.download_boot if download else model.run_boot
    way = "SPI_FAST_FLASH_BOOT"
    if download:
        way = "DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2)" if old else "DOWNLOAD(USB/UART0)"
    yield f"rst:0x{reason.code:x} ({words}),boot:0x{boot:x} ({way}){EOL}"
    if not old and reason in (ResetReason.CPU_SOFTWARE, ResetReason.SOFTWARE, ResetReason.TIMER_WATCHDOG):
        yield f"Saved PC:0x{model.ram[1 if len(model.ram) > 2 else 0][0] + 0x6F2:08x}{EOL}"


def _halt(model: ChipModel, last_words: str) -> Iterator[Step]:
    """Give up; a watchdog resets the chip."""
    yield last_words + f"ets_main.c {371 if model.chip is Chip.ESP32 else 333} {EOL}"
    yield Pause(_HALT_SECONDS)
    yield Reset(ResetReason.TIMER_WATCHDOG)
