"""Three images without a list of offsets: what PlatformIO and the Arduino IDE leave in their folders.

PlatformIO: `bootloader.bin`, `partitions.bin`, `firmware.bin`. Arduino (Export Compiled Binary): `NAME.bootloader.bin`,
`NAME.partitions.bin`, `NAME.bin`. Any tool: `bootloader.bin`, `partition-table.bin` and one app.

The bootloader's place follows from its chip, the app's from the table: where a board without OTA data boots. The
table's place is compiled into the bootloader; it comes from the configuration, from a list of PlatformIO, or from the
first partition, which gen_esp32part.py puts right after the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.release.build_files import BuildFiles
from rmfab.release.build_json import read_json
from rmfab.release.partition_table import SECTOR, DataSubtype, PartitionTable
from rmfab.release.parts import APP, BOOTLOADER, TABLE
from rmfab.release.placed import Placed, boot_order

IDEDATA = "idedata.json"

_USUAL_OFFSETS = (0x8000, 0xC000)
"""Where stock bootloaders of ESP-IDF, Arduino and RainMaker's examples expect the table."""
_FILE_SYSTEMS = ("littlefs.bin", "spiffs.bin", "fatfs.bin")


@dataclass(frozen=True)
class ImageNames:
    """The names of three images that belong together, and which tool leaves them so."""

    bootloader: str
    table: str
    app: str
    tool: str


def find_images(names: Iterable[str], files: BuildFiles) -> ImageNames | None:
    """Return the three images among *names*, None if they are not all there. Raise InputError if two sets are."""
    there = set(names)
    found = [ImageNames("bootloader.bin", "partitions.bin", "firmware.bin", "PlatformIO")]
    for name in sorted(there):
        stem = name.removesuffix(".bootloader.bin")
        if stem != name:
            found.append(ImageNames(name, f"{stem}.partitions.bin", f"{stem}.bin", "Arduino"))
    whole = [one for one in found if {one.bootloader, one.table, one.app} <= there]
    if len(whole) > 1:
        raise InputError(
            f"images of several builds: {whole[0].app} and {whole[1].app}",
            where=files.where,
            hint="copy the files of one build into a folder of their own",
            cause="several-builds",
        )
    return whole[0] if whole else _bare_images(there, files)


def read_images(images: ImageNames, files: BuildFiles, stated: int | None) -> tuple[Chip, list[Placed]]:
    """Return the chip of *images* and the images in their places. *stated* is the offset of the table, if known."""
    data = {name: files.read(name, files.place(name)) for name in (images.bootloader, images.table, images.app)}
    bootloader = AppImage.parse(data[images.bootloader], files.place(images.bootloader))
    if bootloader.chip is None:
        raise InputError(
            f"unsupported chip, id {bootloader.chip_id}",
            where=files.place(images.bootloader),
            hint=f"supported: {', '.join(known.value for known in Chip)}",
            cause="chip-unknown",
        )
    table = PartitionTable.parse(data[images.table], files.place(images.table))
    slots = boot_order(table)
    if not slots:
        raise InputError("no app partition", where=files.place(images.table), cause="no-app-partition")
    at = stated if stated is not None else _listed_offset(images.table, files)
    return bootloader.chip, [
        Placed(images.bootloader, bootloader.chip.bootloader_offset, data[images.bootloader], BOOTLOADER),
        Placed(images.table, _guessed_offset(table, files) if at is None else at, data[images.table], TABLE),
        Placed(images.app, slots[0].offset, data[images.app], APP),
        *_file_systems(table, files),
    ]


def _bare_images(names: set[str], files: BuildFiles) -> ImageNames | None:
    table = next((name for name in ("partition-table.bin", "partitions.bin") if name in names), None)
    if table is None or "bootloader.bin" not in names:
        return None
    others = sorted(name for name in names if name.endswith(".bin") and name not in (table, "bootloader.bin"))
    apps = [name for name in others if _is_app(files.read(name, files.place(name)))]
    return ImageNames("bootloader.bin", table, apps[0], "separate images") if len(apps) == 1 else None


def _is_app(data: bytes) -> bool:
    try:
        return AppImage.parse(data, "").descriptor is not None
    except InputError:
        return False


def _listed_offset(table: str, files: BuildFiles) -> int | None:
    """Return the offset of the table in PlatformIO's `idedata.json`, None if it is not there."""
    extra = read_json(files, IDEDATA).get("extra") if files.has(IDEDATA) else None
    images = extra.get("flash_images") if isinstance(extra, dict) else None
    for one in images if isinstance(images, list) else []:
        if isinstance(one, dict) and str(one.get("path")).replace("\\", "/").endswith(f"/{table}"):
            try:
                return int(str(one.get("offset")), 0)
            except ValueError:
                return None
    return None


def _guessed_offset(table: PartitionTable, files: BuildFiles) -> int:
    """Return where the table must be if its first partition follows it. Raise InputError if that is not usual."""
    offset = min(row.offset for row in table.partitions) - SECTOR
    if offset not in _USUAL_OFFSETS:
        raise InputError(
            "these files do not show where the bootloader expects the partition table",
            where=files.where,
            hint="copy the build's sdkconfig into the folder, or use `rmfab release build --table-offset 0x8000`",
            cause="table-offset",
        )
    return offset


def _file_systems(table: PartitionTable, files: BuildFiles) -> list[Placed]:
    """Return PlatformIO's file system image, if there is one, in the partition that PlatformIO uploads it to."""
    kinds = (DataSubtype.SPIFFS, DataSubtype.LITTLEFS, DataSubtype.FAT)
    rows = [row for kind in kinds for row in table.data(kind)]
    names = [name for name in _FILE_SYSTEMS if files.has(name)]
    if not rows or not names:
        return []
    return [Placed(names[0], rows[0].offset, files.read(names[0], files.place(names[0])), "filesystem")]
