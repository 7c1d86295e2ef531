"""The mask ROM after a reset: what it prints, and how it finds the second-stage bootloader.

Sources: boot logs of the chips, ESP-IDF `components/esp_rom`, esptool's boot mode table. The secure boot output of
ESP32, S3, C3 and, with ECDSA, of the C6 is from logs; that of other chips, and the rejection on the ESP32, is plausible
but not verified. What a broken bootloader causes is from an ESP32 mask ROM in an emulator, and from logs of ESP32-S3
and C3 boards. In the emulator an ESP32 stays where it stops; on a board, the RTC watchdog may restart it. Boards print
`invalid header` several times before a watchdog bites, the emulated ROM does so once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import HEADER, IMAGE_MAGIC, MOST_SEGMENTS, AppImage
from rmfab.virtual.chip.flash import SECTOR, Flash
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.chip.rom_loader import BASIC
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware import secure_boot
from rmfab.virtual.firmware.image_walk import FlashImage
from rmfab.virtual.firmware.log import EOL
from rmfab.virtual.firmware.script import Pause, Reset, ResetReason, Script, Step
from rmfab.virtual.spec import BoardSpec

LARGEST_BOOTLOADER = 0x20000
_WATCHDOG_SECONDS = 0.3
_FLASH_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}
_CLOCK_DIVIDERS = {0xF: 1, 0x0: 2, 0x1: 3, 0x2: 4}
_SIGNATURE_MAGIC = 0xE7  # first byte of a signature block (esp_rom `secure_boot.h`)
_CIPHERTEXT = 0xA6C1E49B  # arbitrary: what flash encryption makes of a plain image header


def download_banner(model: ChipModel, reason: ResetReason, *, disabled: bool) -> Script:
    """Print the ROM's banner of download mode; *disabled* leaves out the loader itself."""
    yield from _banner(model, reason, download=True)
    if not disabled:
        yield f"waiting for download{EOL}"


def start(spec: BoardSpec, flash: Flash, reason: ResetReason) -> Generator[Step, None, bool]:
    """Run the ROM from the reset on; return whether it enters the bootloader."""
    model = spec.model
    yield from _banner(model, reason, download=False)
    if spec.has(BoardFault.SLOW_FLASH) and reason is ResetReason.POWER_ON:
        yield from _unready_flash(model)
        return False
    image = FlashImage.walk(_bootloader_region(model, flash))
    magic = _CIPHERTEXT if spec.security.flash_encryption else int.from_bytes(image.data[:4], "little")
    if magic & 0xFF != IMAGE_MAGIC or not 1 <= image.data[1] <= MOST_SEGMENTS:
        yield f"invalid header: 0x{magic:08x}{EOL}"
        yield from _wait_for_watchdog(model)
        return False
    yield from _mode_lines(model, image)
    if spec.security.secure_boot and not (yield from _verify(spec, flash)):
        yield from _halt(model, f"secure boot verification failed{EOL}")
        return False
    return (yield from _load(model, image))


def bootloader_image(model: ChipModel, flash: Flash) -> AppImage:
    """Return the bootloader that the ROM has entered: it does not insist on the digest."""
    data = _bootloader_region(model, flash)
    try:
        return AppImage.parse(data, "bootloader")
    except InputError:
        return AppImage.parse(data[: HEADER.size - 1] + b"\0" + data[HEADER.size :], "bootloader")


def _bootloader_region(model: ChipModel, flash: Flash) -> bytes:
    at = model.chip.bootloader_offset
    return flash.read(at, min(LARGEST_BOOTLOADER, flash.size - at))


def _load(model: ChipModel, image: FlashImage) -> Generator[Step, None, bool]:
    """Load the segments and check them; return whether the bootloader is entered."""
    for number, segment in enumerate(image.segments):
        yield from _load_lines(model, image, number)
        if not model.has_ram(segment.load_address, segment.load_address + segment.length):
            if model.chip is not Chip.ESP32:  # which stops here
                yield f"ets_loader.c 78{EOL}"
                yield from _wait_for_watchdog(model)
            return False
    calculated, stored = image.checksums
    if calculated != stored and model.chip is Chip.ESP32:
        yield f"csum err:0x{calculated:02x}!=0x{stored:02x}{EOL}{BASIC}"
        return False
    if calculated != stored:
        yield from _halt(model, f"Checksum failure. Calculated 0x{calculated:02x} stored 0x{stored:02x}{EOL}")
        return False
    yield from _digest_lines(model, image)
    yield f"entry 0x{int.from_bytes(image.data[4:8], 'little'):08x}{EOL}"
    if int.from_bytes(image.data[12:14], "little") != model.chip.image_id:  # no code that this chip can run
        yield from _wait_for_watchdog(model)
        return False
    return True


def _digest_lines(model: ChipModel, image: FlashImage) -> Iterator[Step]:
    """Warn about a wrong digest; the ESP32's ROM does not look at it."""
    if model.chip is Chip.ESP32 or image.digests is None or image.digests[0] == image.digests[1]:
        return
    calculated, expected = image.digests
    yield f"SHA-256 comparison failed:{EOL}Calculated: {calculated.hex()}{EOL}Expected: {expected.hex()}{EOL}"
    yield f"Attempting to boot anyway...{EOL}"


def _verify(spec: BoardSpec, flash: Flash) -> Generator[Step, None, bool]:
    """Check secure boot v2: whether the bootloader is signed with a key whose digest is burned.

    The signature covers the SHA-256 inside the image, so an image without a valid one is rejected.
    """
    data = flash.seen(spec.model.chip.bootloader_offset, LARGEST_BOOTLOADER + SECTOR)
    if spec.model.chip is Chip.ESP32:
        yield f"secure boot v2 enabled{EOL}"
    else:
        yield f"Valid secure boot key blocks: {' '.join(map(str, range(len(spec.security.digests))))}{EOL}"
    try:
        image = AppImage.parse(_bootloader_region(spec.model, flash), "bootloader")
    except InputError:
        return False
    found = secure_boot.first_byte(data, image.length)
    if found != _SIGNATURE_MAGIC:
        yield f"No signature block magic byte found at signature sector (found 0x{found:02x} not 0xe7). "
        yield f"Image not V2 signed?{EOL}"
    if not secure_boot.trusted(spec.security, data, image.length):
        return False
    yield f"{'' if secure_boot.is_rsa(data, image.length) else 'ECDSA '}secure boot verification succeeded{EOL}"
    return True


def _mode_lines(model: ChipModel, image: FlashImage) -> Iterator[Step]:
    mode = _FLASH_MODES.get(image.data[2], "DIO")
    divider = _CLOCK_DIVIDERS.get(image.data[3] & 0xF, 2)
    if model.chip is Chip.ESP32:
        yield f"configsip: 0, SPIWP:0xee{EOL}"
        yield f"clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00{EOL}"
    else:
        yield model.flash_line + EOL
    yield f"mode:{mode}, clock div:{divider}{EOL}"


def _load_lines(model: ChipModel, image: FlashImage, number: int) -> Iterator[Step]:
    segment = image.segments[number]
    end = segment.file_offset + segment.length
    signed = segment.length - (segment.length >> 31 << 32)
    yield f"load:0x{segment.load_address:08x},len:{signed if model.chip is Chip.ESP32 else hex(segment.length)}{EOL}"
    if model.chip is Chip.ESP32 and end % 16 == 12 and number + 1 < len(image.segments):
        yield f"ho 0 tail 12 room 4{EOL}"  # the next segment header crosses a block of 16 bytes


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


def _unready_flash(model: ChipModel) -> Iterator[Step]:
    """Read a flash chip that is not ready: ESP32 errata 3.8 (esp-idf#4441); a newer ROM reads blank flash."""
    if model.chip is Chip.ESP32:
        yield from _halt(model, f"flash read err, 1000{EOL}")
    else:
        yield f"invalid header: 0xffffffff{EOL}"
        yield from _wait_for_watchdog(model)


def _halt(model: ChipModel, last_words: str) -> Iterator[Step]:
    """Give up; a watchdog resets the chip."""
    yield last_words + f"ets_main.c {model.halt_line} {EOL}"
    yield from _wait_for_watchdog(model)


def _wait_for_watchdog(model: ChipModel) -> Iterator[Step]:
    yield Pause(_WATCHDOG_SECONDS)
    yield Reset(ResetReason.RTC_WATCHDOG if model.chip is Chip.ESP32 else ResetReason.TIMER_WATCHDOG)
