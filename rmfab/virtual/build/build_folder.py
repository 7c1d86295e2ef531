"""The firmware of virtual boards: an ESP-IDF build folder that rmfab makes itself, for any chip.

Bootloader, partition table and app are valid ESP-IDF images (load addresses, alignment of mapped segments, checksum,
digest, descriptors), but contain no instructions. A marker block in the data of bootloader and app describes how each
was "compiled", for the virtual board.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import make_folder, write_file
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import (
    APP_DESCRIPTOR,
    APP_DESCRIPTOR_MAGIC,
    BOOTLOADER_DESCRIPTOR,
    BOOTLOADER_DESCRIPTOR_MAGIC,
    HEADER,
    IMAGE_MAGIC,
    SEGMENT_HEADER,
    spi_speed,
    xor_checksum,
)
from rmfab.release.partition_table import DataSubtype, Partition, PartitionTable, PartitionType
from rmfab.virtual.firmware.log import idf_at_least
from rmfab.virtual.firmware.markers import (
    IDF_VERSION,
    BootloaderFacts,
    FirmwareFacts,
    bootloader_marker,
    marker_block,
    texts_of,
)
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.build.sdkconfig import sdkconfig

COMPILE_DATE = "Jan  1 2026"
COMPILE_TIME = "00:00:00"
TABLE_OFFSET = 0xC000
APP_OFFSET = 0x20000

_PAGE = 0x10000  # of the MMU: 64 KiB
_DIO = 2  # esp_image_header_t.spi_mode
_ELF_SHA256_AT = 144  # in esp_app_desc_t
_LOADED = 0x6000
_LEAST_APP = 0x20000


@dataclass(frozen=True)
class _Layout:
    """The load addresses of a chip's images: RAM of bootloader and app, flash windows, and chip revisions.

    Revisions are major * 100 + minor. If data and instructions share one window (*rodata* equals *text*), read-only
    data is mapped after the text. Source: esptool 5.6 `targets/*.py` (MEMORY_MAP, IROM/DROM_MAP_START), boot logs of
    ESP-IDF 5.x.
    """

    boot_dram: int
    boot_iram: int
    dram: int
    iram: int
    rodata: int
    text: int
    freq: str = "80m"
    min_revision: int = 0
    max_revision: int = 199


def _unified(boot_dram: int, boot_iram: int, freq: str = "80m") -> _Layout:
    """Return the layout of a chip with the memory map of the C6: one RAM and one window for data and instructions."""
    return _Layout(boot_dram, boot_iram, 0x40810000, 0x40800000, 0x42000000, 0x42000000, freq=freq)


_LAYOUTS = {
    Chip.ESP32: _Layout(
        0x3FFF0030, 0x40080400, 0x3FFB0000, 0x40080000, 0x3F400000, 0x400D0000, freq="40m", max_revision=399
    ),
    Chip.ESP32S2: _Layout(0x3FFE6110, 0x4004C000, 0x3FFC8000, 0x40024000, 0x3F000000, 0x40080000),
    Chip.ESP32S3: _Layout(0x3FCE2820, 0x403C8700, 0x3FC98000, 0x40374000, 0x3C000000, 0x42000000, max_revision=99),
    Chip.ESP32C2: _Layout(
        0x3FCD5000, 0x403AB000, 0x3FCAE000, 0x40380000, 0x3C000000, 0x42000000, freq="60m", max_revision=499
    ),
    Chip.ESP32C3: _Layout(0x3FCD5820, 0x403CBF10, 0x3FC90000, 0x40380000, 0x3C000000, 0x42000000, min_revision=3),
    Chip.ESP32C5: _unified(0x40849000, 0x4084B000),
    Chip.ESP32C6: _unified(0x4086B000, 0x4086D000),
    Chip.ESP32C61: _unified(0x4083A000, 0x4083C000),
    Chip.ESP32H2: _unified(0x40838000, 0x4083A000, freq="48m"),
    Chip.ESP32P4: _Layout(
        0x4FF29000, 0x4FF2B000, 0x4FF50000, 0x4FF40000, 0x40000000, 0x40000000, freq="40m", max_revision=399
    ),
}
# On these chips, the MMU maps data and instructions into separate windows.
_SEPARATE_WINDOWS = {Chip.ESP32, Chip.ESP32S2}


STOCK_BOOTLOADER = BootloaderFacts(rollback=True)
"""The bootloader of RainMaker's examples."""


def make_build_folder(folder: Path, recipe: FirmwareRecipe) -> Path:
    """Write a build folder like that of `idf.py build`, and return *folder*. The same recipe gives the same bytes.

    Raise InputError if *folder* contains a different firmware, or an image cannot have the requested size.
    """
    for name, data in (_images(recipe) | _descriptions(recipe)).items():
        make_folder((folder / name).parent)
        write_file(folder / name, data, sync=False)
    return folder


def _images(recipe: FirmwareRecipe) -> dict[str, bytes]:
    """Return the files that are flashed, by name."""
    chip, flash_size, seed = recipe.chip, recipe.flash_size, recipe.seed
    app = make_app(
        chip,
        recipe.project,
        recipe.version,
        recipe.facts,
        app_size=recipe.app_size,
        flash_size=flash_size,
        secure_version=recipe.secure_version,
        seed=seed,
    )
    return {
        "bootloader/bootloader.bin": make_bootloader(chip, flash_size, recipe.bootloader_facts, seed=seed),
        "partition_table/partition-table.bin": rainmaker_table().encode(),
        "ota_data_initial.bin": b"\xff" * 0x2000,
        f"{recipe.project}.bin": app,
    }


def _descriptions(recipe: FirmwareRecipe) -> dict[str, bytes]:
    """Return ESP-IDF's descriptions of the build, by file name."""
    bootloader = recipe.bootloader_facts
    configuration = sdkconfig(
        recipe.chip,
        recipe.facts,
        table_offset=TABLE_OFFSET,
        secure_version=recipe.secure_version,
        turned_on=bootloader.download_mode if bootloader.secure_boot else None,
    )
    return {
        "flasher_args.json": _json_file(_flasher_args(recipe)),
        "project_description.json": _json_file(_project_description(recipe)),
        "config/sdkconfig.json": _json_file(configuration),
    }


def rainmaker_table() -> PartitionTable:
    """Return the table of RainMaker's examples for 4 MB of flash (partitions_4mb_optimised.csv), which is at 0xC000."""
    app, data = PartitionType.APP, PartitionType.DATA
    return PartitionTable(
        (
            Partition("esp_secure_cert", 0x3F, DataSubtype.UNDEFINED, 0xD000, 0x2000, encrypted=True),
            Partition("nvs_key", data, DataSubtype.NVS_KEYS, 0xF000, 0x1000, encrypted=True),
            Partition("nvs", data, DataSubtype.NVS, 0x10000, 0x6000),
            Partition("otadata", data, DataSubtype.OTA, 0x16000, 0x2000),
            Partition("phy_init", data, DataSubtype.PHY, 0x18000, 0x1000),
            Partition("ota_0", app, 0x10, APP_OFFSET, 0x1E0000),
            Partition("ota_1", app, 0x11, 0x200000, 0x1E0000),
            Partition("reserved", 0x06, DataSubtype.UNDEFINED, 0x3E0000, 0x1A000),
            Partition("fctry", data, DataSubtype.NVS, 0x3FA000, 0x6000),
        )
    )


def make_bootloader(
    chip: Chip,
    flash_size: int,
    facts: BootloaderFacts = STOCK_BOOTLOADER,
    *,
    idf_version: str = IDF_VERSION,
    seed: int = 0,
) -> bytes:
    """Return a second-stage bootloader image of about 24 KB with descriptor and marker block.

    *flash_size* in bytes. A stock bootloader rolls back an update that is not confirmed at its first boot. Before
    ESP-IDF 5.2 there is no descriptor: version and time are among the texts.
    """
    layout = _LAYOUTS[chip]
    head = _bootloader_names(idf_version) + bootloader_marker(facts)
    data = head + _filling(f"{chip.value} bootloader data", seed, 0x1800 - len(head))
    text = _filling(f"{chip.value} bootloader text", seed, 0x4800)
    return _image(chip, flash_size, layout.boot_iram + 0x10, ((layout.boot_dram, data), (layout.boot_iram, text)))


def _bootloader_names(idf_version: str) -> bytes:
    """What names the ESP-IDF version and the time of compiling, a multiple of 4 bytes long."""
    if idf_at_least(idf_version, 5, 2):
        compiled = f"{COMPILE_DATE} {COMPILE_TIME}".encode()
        return BOOTLOADER_DESCRIPTOR.pack(BOOTLOADER_DESCRIPTOR_MAGIC, b"", 1, idf_version.encode(), compiled, b"")
    texts = b"\0".join((b"", f"I (%u) %s: compile time {COMPILE_TIME}\n".encode(), idf_version.encode(), b""))
    return texts.ljust(-(-len(texts) // 4) * 4, b"\0")


def make_app(
    chip: Chip,
    project: str,
    version: str,
    facts: FirmwareFacts,
    *,
    app_size: int = 256 * 1024,
    flash_size: int = 4 << 20,
    secure_version: int = 0,
    seed: int = 0,
) -> bytes:
    """Return an app image of exactly *app_size* bytes with descriptor and marker block.

    Raise InputError if *app_size* is not a multiple of 16, below 128 KiB or above the size of ota_0, or if a text is
    too long for its field.
    """
    largest = rainmaker_table().required("ota_0").size
    if not _LEAST_APP <= app_size <= largest or app_size % 16:
        raise InputError(f"cannot make an app of {app_size} bytes (use a multiple of 16, {_LEAST_APP} to {largest})")
    head = _descriptor(project, version, facts.idf_version, secure_version) + marker_block(facts) + texts_of(facts)
    segments = _app_segments(chip, head, app_size, seed)
    elf = hashlib.sha256(b"".join(data for _, data in segments)).digest()
    address, first = segments[0]
    at = _ELF_SHA256_AT
    segments[0] = (address, first[:at] + elf + first[at + len(elf) :])
    return _image(chip, flash_size, _LAYOUTS[chip].iram + 0x100, tuple(segments))


def _descriptor(project: str, version: str, idf_version: str, secure_version: int) -> bytes:
    for text in (project, version, idf_version):
        if len(text.encode()) > 31:
            raise InputError(f'"{text}" is too long for an app descriptor (at most 31 bytes)')
    return APP_DESCRIPTOR.pack(
        APP_DESCRIPTOR_MAGIC,
        secure_version,
        b"",
        version.encode(),
        project.encode(),
        COMPILE_TIME.encode(),
        COMPILE_DATE.encode(),
        idf_version.encode(),
        b"",
        0,
        99,
        _PAGE.bit_length() - 1,
        b"",
        b"",
    )


def _app_segments(chip: Chip, head: bytes, app_size: int, seed: int) -> list[tuple[int, bytes]]:
    """Return the segments of an image of *app_size* bytes: read-only data, initialised data, text, and code in RAM.

    A mapped segment must have the same offset within an MMU page in the file as in memory. Therefore initialised data
    of the right length comes before the text, as in esptool's elf2image.
    """
    layout = _LAYOUTS[chip]
    text_at = max(1, round(app_size * 0.3 / _PAGE)) * _PAGE + HEADER.size + SEGMENT_HEADER.size
    rodata_at = HEADER.size + SEGMENT_HEADER.size
    data_at = text_at - SEGMENT_HEADER.size - _LOADED // 2
    code_at = app_size - 32 - 16 - _LOADED
    rodata_size = data_at - SEGMENT_HEADER.size - rodata_at
    text_size = code_at - SEGMENT_HEADER.size - text_at
    pages = 0 if chip in _SEPARATE_WINDOWS else -(-(text_size + rodata_at) // _PAGE)
    return [
        (
            layout.rodata + pages * _PAGE + rodata_at,
            head + _filling(f"{chip.value} rodata", seed, rodata_size - len(head)),
        ),
        (layout.dram, _filling(f"{chip.value} data", seed, _LOADED // 2)),
        (layout.text + rodata_at, _filling(f"{chip.value} text", seed, text_size)),
        (layout.iram, _filling(f"{chip.value} code", seed, _LOADED)),
    ]


def _image(chip: Chip, flash_size: int, entry: int, segments: tuple[tuple[int, bytes], ...]) -> bytes:
    layout = _LAYOUTS[chip]
    sizes = {1 << (20 + n): n for n in range(8)}
    if flash_size not in sizes:
        raise InputError(f"an image cannot state a flash size of {flash_size} bytes (use 1, 2, 4 … 128 MiB)")
    image = bytearray(
        HEADER.pack(
            IMAGE_MAGIC,
            len(segments),
            _DIO,
            sizes[flash_size] << 4 | spi_speed(chip, layout.freq),
            entry,
            0xEE,  # wp_pin: disabled
            b"",
            chip.image_id,
            layout.min_revision // 100,
            layout.min_revision,
            layout.max_revision,
            b"",
            1,
        )
    )
    checksum = xor_checksum(b"".join(data for _, data in segments))
    for address, data in segments:
        image += SEGMENT_HEADER.pack(address, len(data)) + data
    image += bytes(15 - len(image) % 16) + bytes((checksum,))
    return bytes(image + hashlib.sha256(image).digest())


# Maps uniform bytes to a skewed alphabet, so that they compress to about 60 %, like real firmware.
_SKEWED = bytes(n**8 >> 56 for n in range(256))


def _filling(what: str, seed: int, size: int) -> bytes:
    """Return *size* bytes that depend only on the arguments."""
    return hashlib.shake_256(f"rmfab {what} {seed}".encode()).digest(size).translate(_SKEWED)


def _json_file(value: object) -> bytes:
    return (json.dumps(value, indent=4) + "\n").encode()


def _flasher_args(recipe: FirmwareRecipe) -> dict[str, object]:
    """Return the content of flasher_args.json, as ESP-IDF 5.5 and later write it."""
    chip = recipe.chip
    settings = {"mode": "dio", "size": f"{recipe.flash_size >> 20}MB", "freq": _LAYOUTS[chip].freq}
    parts = {
        "bootloader": (chip.bootloader_offset, "bootloader/bootloader.bin"),
        "app": (APP_OFFSET, f"{recipe.project}.bin"),
        "partition-table": (TABLE_OFFSET, "partition_table/partition-table.bin"),
        "otadata": (rainmaker_table().required("otadata").offset, "ota_data_initial.bin"),
    }
    return {
        "write_flash_args": [word for key, value in settings.items() for word in (f"--flash-{key}", value)],
        "flash_settings": {f"flash_{key}": value for key, value in settings.items()},
        "flash_files": {hex(offset): file for offset, file in parts.values()},
        **{name: {"offset": hex(at), "file": file, "encrypted": "false"} for name, (at, file) in parts.items()},
        "extra_esptool_args": {"after": "hard-reset", "before": "default-reset", "stub": True, "chip": chip.value},
    }


def _project_description(recipe: FirmwareRecipe) -> dict[str, object]:
    layout = _LAYOUTS[recipe.chip]
    return {
        "version": "1.3",
        "project_name": recipe.project,
        "project_version": recipe.version,
        "git_revision": recipe.facts.idf_version,
        "target": recipe.chip.value,
        "app_elf": f"{recipe.project}.elf",
        "app_bin": f"{recipe.project}.bin",
        "build_type": "flash_app",
        "min_rev": str(layout.min_revision),
        "max_rev": str(layout.max_revision),
        "monitor_baud": "115200",
    }
