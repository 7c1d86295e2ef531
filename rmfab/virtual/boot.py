"""The second-stage bootloader: partition table, otadata, the choice of an app and its checks, as ESP-IDF prints them.

Sources: ESP-IDF `components/bootloader_support/src` (bootloader_utility.c, flash_partitions.c, esp_image_format.c,
bootloader_common.c).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Generator, Iterator

from rmfab.errors import InputError
from rmfab.release.app_image import AppImage
from rmfab.release.partition_table import AppSubtype, DataSubtype, Partition, PartitionTable, PartitionType
from rmfab.virtual import app, rom
from rmfab.virtual.flash import SECTOR, Flash
from rmfab.virtual.log import EOL, Log, idf_uses_colours
from rmfab.virtual.script import Pause, Reset, ResetReason, Script, Step
from rmfab.virtual.spec import BoardSpec

_TABLE_OFFSETS = (0xC000, 0x8000)
_TABLE_SIZE = 0xC00
_OTADATA = struct.Struct("<I20sII")
_UNDEFINED = 0xFFFFFFFF
_UNUSABLE_STATES = (3, 4)  # invalid, aborted
_RETRY_SECONDS = 0.5
_EN_SECONDS = 0.01  # from EN to the first character
_WATCHDOG_WORDS = ("PRO CPU has been reset by WDT.", "WDT reset info: PRO CPU PC=0x4037c6f2")
_MODES = {"qio": "QIO", "qout": "QOUT", "dio": "DIO", "dout": "DOUT"}

download_banner = rom.download_banner


class NotBootable(Exception):
    """This app cannot be started; *line* is what the bootloader says, with its tag."""

    def __init__(self, tag: str, line: str) -> None:
        super().__init__(line)
        self.tag = tag
        self.line = line


def boot(spec: BoardSpec, flash: Flash, reason: ResetReason) -> Script:
    """What a board prints and does from a reset in run mode on."""
    yield Pause(_EN_SECONDS)
    for step in rom.start(spec, flash, reason):
        yield step
        if isinstance(step, Reset):
            return
    yield from _Bootloader(spec, flash, reason).run()


class _Bootloader:
    def __init__(self, spec: BoardSpec, flash: Flash, reason: ResetReason) -> None:
        self._spec = spec
        self._model = spec.model
        self._flash = flash
        self._reason = reason
        head = flash.read(self._model.chip.bootloader_offset, 24)
        self._flash_size = (1 << 20) << (head[3] >> 4)
        try:
            self._image: AppImage | None = rom.bootloader_image(self._model, flash)
        except InputError:  # a digest that does not hold: the ROM has started it all the same
            self._image = None
        self._version = self._image.bootloader.idf_version if self._image and self._image.bootloader else "v5.5"
        self._log = Log(20, coloured=idf_uses_colours(self._version))

    def run(self) -> Script:
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
        compiled = image.bootloader.compiled if image and image.bootloader else "Jan  1 2026 00:00:00"
        yield log("boot", f"ESP-IDF {self._version} 2nd stage bootloader")
        yield log("boot", f"compile time {compiled}")
        if model.app_cores > 1:
            yield log("boot", "Multicore bootloader")
        major, minor = divmod(self._spec.chip_revision, 100)
        yield log("boot", f"chip revision: v{major}.{minor}")
        if self._reason is ResetReason.TIMER_WATCHDOG:
            for words in _WATCHDOG_WORDS:
                yield log(chip, words, "W")
        speed = (image.flash_freq if image else "40m").removesuffix("m")
        yield log(chip, f"SPI Speed      : {speed}MHz")
        yield log(chip, f"SPI Mode       : {_MODES.get(image.flash_mode if image else '', 'DIO')}")
        yield log(chip, f"SPI Flash Size : {self._flash_size >> 20}MB")
        yield log("boot", "Enabling RNG early entropy source...")

    def _table(self) -> tuple[PartitionTable | None, str]:
        """The table and "", or None and what is wrong with it. It is looked for where bootloaders are built for."""
        at = next((at for at in _TABLE_OFFSETS if self._flash.seen(at, 2) == b"\xaa\x50"), _TABLE_OFFSETS[0])
        data = self._flash.seen(at, _TABLE_SIZE)
        if not _md5_holds(data):
            return None, self._log.failure("flash_parts", "Incorrect MD5 checksum")
        try:
            table = PartitionTable.parse(data, "partition table")
        except InputError:
            row = next((n for n in range(0, _TABLE_SIZE, 32) if data[n : n + 2] not in (b"\xaa\x50", b"\xeb\xeb")), 0)
            magic = int.from_bytes(data[row : row + 2], "little")
            return None, self._log.failure("flash_parts", f"partition {row // 32} invalid magic number 0x{magic:x}")
        for number, part in enumerate(table.partitions):
            if part.end > self._flash_size:
                return None, self._log.failure(
                    "flash_parts",
                    f"partition {number} invalid - offset 0x{part.offset:x} size 0x{part.size:x} "
                    f"exceeds flash chip size 0x{self._flash_size:x}",
                )
        return table, ""

    def _print_table(self, table: PartitionTable) -> Iterator[Step]:
        yield self._log("boot", "Partition Table:")
        yield self._log("boot", "## Label            Usage          Type ST Offset   Length")
        for number, part in enumerate(table.partitions):
            yield self._log(
                "boot",
                f"{number:2d} {part.label:<16} {_usage(part):<16} {part.type:02x} {part.subtype:02x} "
                f"{part.offset:08x} {part.size:08x}",
                after=0,
            )
        yield self._log("boot", "End of partition table")

    def _select(self, table: PartitionTable) -> Script:
        slots = sorted((part for part in table.partitions if part.is_ota_app), key=lambda part: part.subtype)
        factory = next((p for p in table.apps() if p.subtype == AppSubtype.FACTORY), None)
        otadata = next(iter(table.data(DataSubtype.OTA)), None)
        chosen = self._chosen_slot(otadata, len(slots))
        first = factory
        if otadata is not None and slots and chosen is not None:
            first = slots[chosen]
        elif factory is not None:
            yield self._log("boot", "Defaulting to factory image")
        elif slots:
            yield self._log("boot", "No factory image, trying OTA 0")
            first = slots[0]
        candidates = [part for part in (first, *slots, factory) if part is not None]
        for part in dict.fromkeys(candidates):
            image = yield from self._load(part)
            if image is not None:
                if otadata is not None and chosen is None and factory is None:
                    yield from self._write_otadata(otadata, slots.index(part))
                yield self._log("boot", "Disabling RNG early entropy source...")
                yield from app.start(self._spec, self._flash, table, part, image, self._flash_size)
                return
            kind = "Factory app partition" if part is factory else f"OTA app partition slot {part.subtype - 0x10}"
            yield self._log.failure("boot", f"{kind} is not bootable")
        yield from self._give_up("No bootable app partitions in the partition table")

    def _chosen_slot(self, otadata: Partition | None, slots: int) -> int | None:
        """The slot that otadata names, None where it names none."""
        if otadata is None or not slots:
            return None
        sequences = [self._sequence(otadata.offset + half * SECTOR) for half in range(2)]
        best = max(sequences)
        return (best - 1) % slots if best else None

    def _sequence(self, address: int) -> int:
        sequence, _, state, crc = _OTADATA.unpack(self._flash.seen(address, _OTADATA.size))
        sound = crc == zlib.crc32(sequence.to_bytes(4, "little"), 0xFFFFFFFF)
        return sequence if sound and sequence != _UNDEFINED and state not in _UNUSABLE_STATES else 0

    def _write_otadata(self, otadata: Partition, slot: int) -> Iterator[Step]:
        sequence = slot + 1
        crc = zlib.crc32(sequence.to_bytes(4, "little"), 0xFFFFFFFF)
        self._flash.erase(otadata.offset, SECTOR)
        self._flash.program(otadata.offset, _OTADATA.pack(sequence, b"\xff" * 20, _UNDEFINED, crc))
        yield self._log("boot", f"Set actual ota_seq={sequence} in otadata[0]")

    def _load(self, part: Partition) -> Generator[Step, None, AppImage | None]:
        """Checks the app in *part*; the generator returns its image, None where it cannot be started."""
        try:
            image = self._checked(part)
        except NotBootable as problem:
            yield self._log.failure(problem.tag, problem.line)
            return None
        for number, segment in enumerate(image.segments):
            how = "load" if any(low <= segment.load_address < high for low, high in self._model.ram) else "map"
            yield self._log(
                "esp_image",
                f"segment {number}: paddr={part.offset + segment.file_offset:08x} vaddr={segment.load_address:08x} "
                f"size={segment.length:05x}h ({segment.length:6d}) {how}",
                after=1 + segment.length // 8000,
            )
        yield self._log("boot", f"Loaded app from partition at offset 0x{part.offset:x}")
        return image

    def _checked(self, part: Partition) -> AppImage:
        """Raises NotBootable."""
        try:
            image = AppImage.parse(self._flash.seen(part.offset, part.size), part.label)
        except InputError as error:
            raise NotBootable("esp_image", _image_complaint(error.cause, part)) from None
        revision = self._spec.chip_revision
        if image.chip_id != self._model.chip.image_id:
            raise NotBootable(
                "boot_comm", f"mismatch chip ID, expected {self._model.chip.image_id}, found {image.chip_id}"
            )
        if revision < image.min_revision:
            need, have = _revision(image.min_revision), _revision(revision)
            raise NotBootable("boot_comm", f"chip revision check failed. Required >= {need}, found {have}.")
        if image.max_revision not in (0, 0xFFFF) and revision > image.max_revision:
            need, have = _revision(image.max_revision), _revision(revision)
            raise NotBootable("boot_comm", f"chip revision check failed. Required <= {need}, found {have}.")
        return image

    def _give_up(self, words: str) -> Iterator[Step]:
        yield self._log.failure("boot", words)
        yield EOL
        yield Pause(_RETRY_SECONDS)
        yield Reset(ResetReason.SOFTWARE)


def _md5_holds(table: bytes) -> bool:
    """Whether the MD5 row, where there is one, is that of the rows before it."""
    row = next((at for at in range(0, _TABLE_SIZE, 32) if table[at : at + 2] == b"\xeb\xeb"), None)
    return row is None or table[row + 16 : row + 32] == hashlib.md5(table[:row], usedforsecurity=False).digest()


def _image_complaint(cause: str, part: Partition) -> str:
    return {
        "image-magic": f"image at 0x{part.offset:x} has invalid magic byte (nothing flashed here?)",
        "image-short": f"image at 0x{part.offset:x}: partition size 0x{part.size:x} is too small for the image",
        "image-checksum": "Checksum failed. Calculated 0x5a read 0xa5",
        "image-digest": "Image hash failed - image is corrupt",
    }.get(cause, "image is corrupt")


def _revision(number: int) -> str:
    return f"v{number // 100}.{number % 100}"


def _usage(part: Partition) -> str:
    """The words of bootloader_utility.c for a row."""
    if part.type == PartitionType.APP:
        if part.subtype == AppSubtype.FACTORY:
            return "factory app"
        return "test app" if part.subtype == 0x20 else "OTA app" if part.is_ota_app else "Unknown app"
    if part.type == PartitionType.DATA:
        names = {0x00: "OTA data", 0x01: "RF data", 0x02: "WiFi data", 0x04: "NVS keys", 0x05: "efuse"}
        return names.get(part.subtype, "Unknown data")
    return "Unknown"
