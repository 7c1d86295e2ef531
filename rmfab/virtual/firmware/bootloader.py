"""The second-stage bootloader: partition table, otadata, choosing and checking an app, as ESP-IDF prints it.

Sources: ESP-IDF `components/bootloader_support/src` (bootloader_utility.c, flash_partitions.c, esp_image_format.c,
bootloader_common.c).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from rmfab.product.vocabulary import ConsolePort
from rmfab.release.app_image import AppImage
from rmfab.release.partition_table import AppSubtype, Partition, PartitionTable
from rmfab.virtual.chip.flash import SECTOR, Flash
from rmfab.virtual.firmware import app_start, otadata, rom_boot, secure_boot
from rmfab.virtual.firmware.image_check import NotBootable, segment_lines, verified
from rmfab.virtual.firmware.image_walk import named_compile_time, named_version
from rmfab.virtual.firmware.log import EOL, Log, idf_uses_colours
from rmfab.virtual.firmware.markers import read_bootloader_facts
from rmfab.virtual.firmware.otadata import OtaDataEntry, OtaState
from rmfab.virtual.firmware.partition_rows import TABLE_SIZE, read_table, table_complaint, usage
from rmfab.virtual.firmware.script import Burn, Console, Pause, Reset, ResetReason, Script, Step
from rmfab.virtual.spec import BoardSpec

_TABLE_OFFSETS = (0xC000, 0x8000)  # rmfab's own firmware; ESP-IDF's default
_LARGEST_BOOTLOADER = rom_boot.LARGEST_BOOTLOADER + SECTOR
_NO_VERSION, _NO_COMPILE_TIME = "v5.5", "Jan  1 2026 00:00:00"  # of a bootloader that does not name its own
_FACTORY = -1
_RETRY_SECONDS = 0.5
_EN_SECONDS = 0.01  # from EN to the first character
_WATCHDOG_WORDS = ("PRO CPU has been reset by WDT.", "WDT reset info: PRO CPU PC=0x4037c6f2")
_MODES = {"qio": "QIO", "qout": "QOUT", "dio": "DIO", "dout": "DOUT"}

download_banner = rom_boot.download_banner


def boot(spec: BoardSpec, flash: Flash, reason: ResetReason) -> Script:
    """Run a board from a reset in run mode on: what it prints and does."""
    yield Pause(_EN_SECONDS)
    if (yield from rom_boot.start(spec, flash, reason)):
        yield from _Bootloader(spec, flash, reason).run()


class _Bootloader:
    def __init__(self, spec: BoardSpec, flash: Flash, reason: ResetReason) -> None:
        self._spec = spec
        self._model = spec.model
        self._flash = flash
        self._reason = reason
        self._image = image = rom_boot.bootloader_image(self._model, flash)
        self._flash_size = (1 << 20) << image.spi_size
        data = flash.read(self._model.chip.bootloader_offset, image.length)
        named = image.bootloader
        self._version = named.idf_version if named else named_version(data) or _NO_VERSION
        self._compiled = named.compiled if named else named_compile_time(data) or _NO_COMPILE_TIME
        self._facts = read_bootloader_facts(data)
        self._log = Log(20, coloured=idf_uses_colours(self._version), level=self._facts.log_level)

    def run(self) -> Script:
        yield Console(self._facts.console_port is ConsolePort.UART0, self._facts.console_baud)
        yield from self._introduce()
        table, complaint = self._table()
        if table is None:
            yield complaint
            yield self._log.failure("boot", "Failed to verify partition table")
            yield from self._give_up("load partition table error!")
            return
        yield from self._print_table(table)
        yield from self._select(table)

    def _introduce(self) -> Iterator[Step]:
        log, model, image = self._log, self._model, self._image
        chip = f"boot.{model.chip.value}"
        yield log("boot", f"ESP-IDF {self._version} 2nd stage bootloader")
        yield log("boot", f"compile time {self._compiled}")
        if model.app_cores > 1:
            yield log("boot", "Multicore bootloader")
        major, minor = divmod(self._spec.chip_revision, 100)
        yield log("boot", f"chip revision: v{major}.{minor}")
        if self._reason is ResetReason.TIMER_WATCHDOG:
            for words in _WATCHDOG_WORDS:
                yield log(chip, words, "W")
        yield log(chip, f"SPI Speed      : {image.flash_freq.removesuffix('m')}MHz")
        yield log(chip, f"SPI Mode       : {_MODES.get(image.flash_mode, 'DIO')}")
        yield log(chip, f"SPI Flash Size : {self._flash_size >> 20}MB")
        yield log("boot", "Enabling RNG early entropy source...")

    def _table(self) -> tuple[PartitionTable | None, str]:
        """Return the table and "", or None and what is wrong with it. Two offsets are tried, see _TABLE_OFFSETS."""
        at = next((at for at in _TABLE_OFFSETS if self._flash.seen(at, 2) == b"\xaa\x50"), _TABLE_OFFSETS[0])
        data = self._flash.seen(at, TABLE_SIZE)
        complaint = table_complaint(data, self._flash_size, self._version)
        return (None, self._log.failure("flash_parts", complaint)) if complaint else (read_table(data), "")

    def _print_table(self, table: PartitionTable) -> Iterator[Step]:
        yield self._log("boot", "Partition Table:")
        yield self._log("boot", "## Label            Usage          Type ST Offset   Length")
        for number, part in enumerate(table.partitions):
            yield self._log(
                "boot",
                f"{number:2d} {part.label:<16} {usage(part, self._version):<16} {part.type:02x} {part.subtype:02x} "
                f"{part.offset:08x} {part.size:08x}",
                after=0,
            )
        yield self._log("boot", "End of partition table")

    def _select(self, table: PartitionTable) -> Script:
        """Start the app that otadata names; if it does not load, try the slots before it, then those after it."""
        slots = table.ota_slots
        factory = next((p for p in table.apps() if p.subtype == AppSubtype.FACTORY), None)
        data = otadata.partition(table)
        initial = data is not None and factory is None and otadata.is_initial(otadata.read(self._flash, data))
        start = yield from self._start_index(data, len(slots), factory is not None)
        apps = dict(enumerate(slots)) | ({} if factory is None else {_FACTORY: factory})
        for index in (*range(start, _FACTORY - 1, -1), *range(start + 1, len(slots))):
            if index not in apps:
                continue
            image = yield from self._load(apps[index])
            if image is not None:
                if initial and data is not None:
                    yield from self._write_otadata(data, index)
                yield from self._enter(table, apps[index], image)
                return
            kind = "Factory app partition" if index == _FACTORY else f"OTA app partition slot {index}"
            yield self._log.failure("boot", f"{kind} is not bootable")
        yield from self._try_test_app(table)

    def _start_index(self, data: Partition | None, slots: int, has_factory: bool) -> Generator[Step, None, int]:
        """Return the slot to start with, or -1 for the factory app; update the states if rollback is compiled in."""
        if data is None:
            return _FACTORY
        pair = otadata.read(self._flash, data)
        if self._facts.rollback:
            pair = otadata.with_aborted(pair)
            otadata.write(self._flash, data, pair)
        if all(entry.is_unusable for entry in pair) or not slots:
            yield self._log("boot", "Defaulting to factory image" if has_factory else "No factory image, trying OTA 0")
            return _FACTORY if has_factory else 0
        number = otadata.in_force(pair)
        if number is None:
            way = ", falling back to factory" if has_factory else " and no factory, will try all partitions"
            yield self._log.failure("boot", f"ota data partition invalid{way}")
            return _FACTORY
        if self._facts.rollback:
            otadata.write(self._flash, data, otadata.with_started(pair))
        return pair[number].slot(slots)

    def _try_test_app(self, table: PartitionTable) -> Script:
        """Start the test app, the last resort, or restart."""
        part = next((p for p in table.apps() if p.subtype == AppSubtype.TEST), None)
        image = None if part is None else (yield from self._load(part))
        if part is not None and image is not None:
            yield self._log("boot", "Falling back to test app as only bootable partition", "W")
            yield from self._enter(table, part, image)
            return
        yield from self._give_up("No bootable app partitions in the partition table")

    def _enter(self, table: PartitionTable, part: Partition, image: AppImage) -> Script:
        yield self._log("boot", "Disabling RNG early entropy source...")
        yield from app_start.start(self._spec, self._flash, table, part, image, self._flash_size)

    def _write_otadata(self, data: Partition, slot: int) -> Iterator[Step]:
        """Record the slot that was found, if otadata is blank and there is no factory app."""
        _, second = otadata.read(self._flash, data)
        otadata.write(self._flash, data, (OtaDataEntry.of(slot + 1, OtaState.VALID), second))
        yield self._log("boot", f"Set actual ota_seq={slot + 1} in otadata[0]")

    def _load(self, part: Partition) -> Generator[Step, None, AppImage | None]:
        """Check the app in *part*; the generator returns its image, or None if the app cannot be started."""
        try:
            image = verified(self._spec, self._flash, part)
        except NotBootable as problem:
            yield from segment_lines(self._log, self._model, part, problem.segments, loading=True)
            yield self._log.failure(problem.tag, problem.line)
            if problem.tag == "secure_boot_v2":
                yield self._log.failure("esp_image", "Secure boot signature verification failed")
            return None
        yield from segment_lines(self._log, self._model, part, image.segments, loading=True)
        if self._spec.security.secure_boot:
            yield from secure_boot.success_lines(self._log, self._flash.seen(part.offset, part.size), image.length)
        elif self._facts.secure_boot and not (yield from self._turn_secure_boot_on(part, image)):
            return None
        yield self._log("boot", f"Loaded app from partition at offset 0x{part.offset:x}")
        return image

    def _turn_secure_boot_on(self, part: Partition, app: AppImage) -> Generator[Step, None, bool]:
        """Burn the digests of the bootloader's keys if one of them has signed the app, too; return whether it did."""
        chip, data = self._model.chip, self._flash.seen(part.offset, part.size)
        of_app = secure_boot.key_digests(chip, data, app.length)
        if not of_app:
            yield self._log.failure("secure_boot_v2", "No signature of the app holds")
            yield self._log.failure("esp_image", "Secure boot signature verification failed")
            return False
        yield self._log("secure_boot_v2", "Secure boot V2 is not enabled yet and eFuse digest keys are not set")
        yield from secure_boot.success_lines(self._log, data, app.length)
        bootloader = self._flash.seen(chip.bootloader_offset, _LARGEST_BOOTLOADER)
        own = secure_boot.key_digests(chip, bootloader, self._image.length)[: self._model.secure_boot_keys]
        if not set(own) & set(of_app):
            yield self._log.failure("secure_boot_v2", "No application key digest matches the bootloader key digest.")
            yield self._log.failure("boot", "Secure Boot v2 failed (-1)")
            return False
        yield from secure_boot.turn_on_lines(self._log, self._model, self._facts, len(own), part.offset)
        yield Burn(self._spec.security.burning(own, self._facts.download_mode))
        return True

    def _give_up(self, words: str) -> Iterator[Step]:
        yield self._log.failure("boot", words)
        yield EOL
        yield Pause(_RETRY_SECONDS)
        yield Reset(ResetReason.SOFTWARE)
