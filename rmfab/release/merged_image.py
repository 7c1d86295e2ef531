"""A merged image: one file for the whole flash, as `esptool merge-bin` and ESPHome (`firmware.factory.bin`) make it.

It is taken apart by what is in it: the bootloader's header names the chip and so the offset of the first byte, the
partition table is the first sector after the bootloader that parses as one, and the other parts are what is not blank
in its partitions. A copy of the flash of a used board is rejected: it holds the identity of that board.
"""

from __future__ import annotations

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import IMAGE_MAGIC, AppImage
from rmfab.release.partition_table import SECTOR, TABLE_SIZE, DataSubtype, Partition, PartitionTable
from rmfab.release.parts import APP, BOOTLOADER, TABLE
from rmfab.release.placed import Placed, boot_order, parsed_table, safe_name

_OFFSETS = (0, 0x1000, 0x2000)
LAST_TABLE = 0x40000
"""Partition tables are in front of this offset."""
_OTHER_FORMATS = {b"UF2\n": "UF2", b":": "Intel HEX", b"\x7fELF": "ELF"}


def looks_merged(head: bytes) -> bool:
    """Return whether a file that starts with *head* may be an image for a chip, whole or not."""
    return any(head[: at + 1] == b"\xff" * at + bytes([IMAGE_MAGIC]) for at in _OFFSETS)


def read_merged(data: bytes, where: str) -> tuple[Chip, list[Placed]]:
    """Return the chip and the parts of a merged image. Raise InputError if *data* is not one."""
    chip, base = _bootloader_place(data, where)
    start = chip.bootloader_offset - base
    end = start + AppImage.parse(data[start:], f"{where}: {BOOTLOADER}").length
    at, table = _required_table(data, end, where)
    placed = [
        Placed(BOOTLOADER, chip.bootloader_offset, _stripped(data[start:at], end - start), BOOTLOADER),
        Placed(TABLE, base + at, _stripped(data[at : at + SECTOR], TABLE_SIZE).ljust(TABLE_SIZE, b"\xff"), TABLE),
    ]
    rows = [row for row in table.partitions if row.offset >= base and _content(data, base, row)]
    app = next((row for row in boot_order(table) if row in rows), None)
    if app is None:
        raise InputError("the merged image has no app in its app partitions", where=where, cause="part-missing")
    for row in rows:
        _refuse_dump(row, where)
        name = APP if row == app else safe_name(row.label)
        placed.append(Placed(row.label, row.offset, _content(data, base, row), name))
    return chip, placed


def _bootloader_place(data: bytes, where: str) -> tuple[Chip, int]:
    """Return the chip and the flash offset of the first byte."""
    for at in _OFFSETS:
        chip = _chip_of(data[at:])
        if chip is not None and at in (0, chip.bootloader_offset):
            return chip, chip.bootloader_offset - at
    kind = next((name for magic, name in _OTHER_FORMATS.items() if data.startswith(magic)), None)
    other = "give a bundle, a build folder or a zip of one"
    raise InputError(
        f"{kind} is not supported" if kind else "not a bundle, and not an image that starts with a bootloader",
        where=where,
        hint="make a raw image: `esptool merge-bin --format raw`" if kind else other,
        cause="not-a-release",
    )


def _chip_of(data: bytes) -> Chip | None:
    if data[:1] != bytes([IMAGE_MAGIC]):
        return None
    try:
        return AppImage.parse(data, "").chip
    except InputError:
        return None


def find_table(data: bytes, start: int = 0) -> tuple[int, PartitionTable] | None:
    """Return the first partition table in *data* at or after *start*, and where it is; None if there is none."""
    for at in range(-(-start // SECTOR) * SECTOR, min(len(data), LAST_TABLE), SECTOR):
        table = parsed_table(data[at : at + SECTOR].ljust(SECTOR, b"\xff"))
        if table is not None:
            return at, table
    return None


def _required_table(data: bytes, start: int, where: str) -> tuple[int, PartitionTable]:
    found = find_table(data, start)
    if found is None:
        raise InputError(
            "the image has no partition table: it is one part of a build",
            where=where,
            hint="give the folder of the build, or merge bootloader, partition table and app: `esptool merge-bin`",
            cause="part-missing",
        )
    return found


def _content(data: bytes, base: int, row: Partition) -> bytes:
    """Return what *row* holds, without the blank flash at its end; an image keeps its length."""
    held = data[row.offset - base : row.end - base]
    if _is_image(held):
        return _stripped(held, AppImage.parse(held, "").length)
    return held.rstrip(b"\xff")


def _is_image(data: bytes) -> bool:
    try:
        AppImage.parse(data, "")
    except InputError:
        return False
    return True


def _stripped(data: bytes, least: int) -> bytes:
    """Return *data* without the blank flash at its end, but at least *least* bytes."""
    return data[: max(least, len(data.rstrip(b"\xff")))]


def _refuse_dump(row: Partition, where: str) -> None:
    if row.is_data(DataSubtype.NVS):
        raise InputError(
            f'its partition "{row.label}" is not blank: this is a copy of the flash of a used board',
            where=where,
            hint="merge the files of the build instead: settings and keys of one board belong to no other",
            cause="flash-dump",
        )
