"""The partition table: which partition is where in a board's flash.

Format: ESP-IDF `components/partition_table/gen_esp32part.py` (rows `<2sBBLL16sL`, MD5 row, end of 0xFF) and the
programming guide, "Partition Tables". The names that the bootloader prints for partition types: `bootloader_utility.c`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, unique
from functools import cached_property
from itertools import pairwise

from rmfab.errors import InputError

SECTOR = 0x1000
TABLE_SIZE = 0xC00
"""Size in bytes of rows, MD5 row and end marker; the flash sector of the table is `SECTOR` long."""

_ROW = struct.Struct("<2sBBLL16sL")
_MAGIC = b"\xaa\x50"
_MD5_MAGIC = b"\xeb\xeb"
_MD5_BEGIN = _MD5_MAGIC + b"\xff" * 14
_END = b"\xff" * _ROW.size
_MOST_ROWS = TABLE_SIZE // _ROW.size - 2
_ENCRYPTED, _READONLY = 1, 2


@unique
class PartitionType(IntEnum):
    """The type byte; 0x40 to 0xFE are for the application."""

    APP = 0
    DATA = 1
    BOOTLOADER = 2
    PARTITION_TABLE = 3


@unique
class AppSubtype(IntEnum):
    """The subtype byte of an app partition; OTA slot n is OTA_0 + n, n up to 15."""

    FACTORY = 0x00
    OTA_0 = 0x10
    OTA_15 = 0x1F
    TEST = 0x20
    TEE_0 = 0x30
    TEE_1 = 0x31


@unique
class DataSubtype(IntEnum):
    """The subtype byte of a data partition."""

    OTA = 0x00
    PHY = 0x01
    NVS = 0x02
    COREDUMP = 0x03
    NVS_KEYS = 0x04
    EFUSE = 0x05
    UNDEFINED = 0x06
    ESPHTTPD = 0x80
    FAT = 0x81
    SPIFFS = 0x82
    LITTLEFS = 0x83
    TEE_OTA = 0x90


_USAGES: dict[tuple[int, int], str] = {
    (PartitionType.APP, AppSubtype.FACTORY): "factory app",
    (PartitionType.APP, AppSubtype.TEST): "test app",
    (PartitionType.DATA, DataSubtype.OTA): "OTA data",
    (PartitionType.DATA, DataSubtype.PHY): "RF data",
    (PartitionType.DATA, DataSubtype.NVS): "WiFi data",
    (PartitionType.DATA, DataSubtype.NVS_KEYS): "NVS keys",
    (PartitionType.DATA, DataSubtype.EFUSE): "efuse",
}
_OTHER_USAGES: dict[int, str] = {PartitionType.APP: "Unknown app", PartitionType.DATA: "Unknown data"}


@dataclass(frozen=True)
class Partition:
    """One row: *offset* and *size* in bytes, *other_flags* the bits of the flags that have no meaning yet.

    Raise InputError if the row is not valid in a table.
    """

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    encrypted: bool = False
    readonly: bool = False
    other_flags: int = 0

    def __post_init__(self) -> None:
        reason = _row_fault(self)
        if reason:
            raise InputError(f'partition "{self.label}": {reason}', cause="table-row")

    @property
    def end(self) -> int:
        """The first offset after the partition."""
        return self.offset + self.size

    @property
    def usage(self) -> str:
        """The purpose of the partition, in the words that the second-stage bootloader prints."""
        if self.is_ota_app:
            return "OTA app"
        return _USAGES.get((self.type, self.subtype)) or _OTHER_USAGES.get(self.type, "unknown")

    @property
    def is_app(self) -> bool:
        """Whether the partition may contain an app image."""
        return self.type == PartitionType.APP

    @property
    def is_ota_app(self) -> bool:
        """Whether this is one of the slots ota_0 to ota_15."""
        return self.is_app and AppSubtype.OTA_0 <= self.subtype <= AppSubtype.OTA_15

    def is_data(self, subtype: DataSubtype) -> bool:
        """Whether this is a data partition of this subtype."""
        return self.type == PartitionType.DATA and self.subtype == subtype

    def contains(self, offset: int, size: int) -> bool:
        """Whether *size* bytes at *offset* are inside."""
        return self.offset <= offset and offset + size <= self.end

    def overlaps(self, offset: int, size: int) -> bool:
        """Whether *size* bytes at *offset* share a byte with the partition."""
        return offset < self.end and self.offset < offset + size

    def encode(self) -> bytes:
        """Return the 32 bytes of the row."""
        flags = _ENCRYPTED * self.encrypted | _READONLY * self.readonly | self.other_flags
        return _ROW.pack(_MAGIC, self.type, self.subtype, self.offset, self.size, self.label.encode(), flags)


@dataclass(frozen=True)
class PartitionTable:
    """The rows in table order. Raise InputError on overlaps, duplicate labels and too many rows."""

    partitions: tuple[Partition, ...]

    def __post_init__(self) -> None:
        reason = _table_fault(self.partitions)
        if reason:
            raise InputError(reason, cause="table-layout")

    @classmethod
    def parse(cls, data: bytes, where: str) -> PartitionTable:
        """Parse a binary table, with or without MD5 row.

        Bytes after its end marker (a signature, the rest of the sector) are ignored.
        Raise InputError with the `cause` table-magic, table-md5, table-end, table-row or table-layout.
        """
        try:
            return cls(tuple(_parse_rows(data[:TABLE_SIZE])))
        except InputError as error:
            raise InputError(error.what, where=where, hint=error.hint, cause=error.cause) from error

    def encode(self) -> bytes:
        """Return the 0xC00 bytes that gen_esp32part.py writes: rows, MD5 row, 0xFF to the end."""
        rows = b"".join(partition.encode() for partition in self.partitions)
        md5 = hashlib.md5(rows, usedforsecurity=False).digest()
        return (rows + _MD5_BEGIN + md5).ljust(TABLE_SIZE, b"\xff")

    @property
    def end(self) -> int:
        """The highest end of a partition, the smallest flash size that fits. 0 for a table without rows."""
        return max((partition.end for partition in self.partitions), default=0)

    @cached_property
    def _by_label(self) -> dict[str, Partition]:
        return {partition.label: partition for partition in self.partitions}

    def find(self, label: str) -> Partition | None:
        """Return the partition with this label, or None."""
        return self._by_label.get(label)

    def required(self, label: str) -> Partition:
        """Return the partition with this label. Raise InputError, which lists the labels there are."""
        partition = self.find(label)
        if partition is None:
            labels = ", ".join(p.label for p in self.partitions)
            raise InputError(
                f'the partition table has no partition "{label}"',
                hint=f"its partitions: {labels}" if labels else "the table is empty",
                cause="no-partition",
            )
        return partition

    def apps(self) -> tuple[Partition, ...]:
        """Return the app partitions, in table order."""
        return tuple(partition for partition in self.partitions if partition.is_app)

    @property
    def ota_slots(self) -> tuple[Partition, ...]:
        """The app partitions for over-the-air updates, ordered by number."""
        return tuple(sorted((row for row in self.partitions if row.is_ota_app), key=lambda row: row.subtype))

    @property
    def smallest_ota_slot(self) -> Partition | None:
        """The OTA slot that every update must fit, or None."""
        return min(self.ota_slots, key=lambda row: row.size, default=None)

    @property
    def takes_updates(self) -> bool:
        """Whether the table supports over-the-air updates: two OTA slots, and otadata to select one."""
        return len(self.ota_slots) >= 2 and bool(self.data(DataSubtype.OTA))

    @property
    def ota_layout(self) -> str:
        """OTA slots and otadata in words: `2 OTA slots and no otadata`."""
        return f"{len(self.ota_slots)} OTA slots and {'' if self.data(DataSubtype.OTA) else 'no '}otadata"

    def data(self, subtype: DataSubtype) -> tuple[Partition, ...]:
        """Return the data partitions of this subtype, in table order."""
        return tuple(partition for partition in self.partitions if partition.is_data(subtype))


def _row_fault(row: Partition) -> str | None:
    octets = row.label.encode()
    if not 1 <= len(octets) <= 16 or "\0" in row.label or not row.label.isprintable():
        return "its label is not 1 to 16 printable bytes"
    if not (0 <= row.type <= 0xFE and 0 <= row.subtype <= 0xFF):
        return f"type 0x{row.type:x} must be 0x00 to 0xFE, subtype 0x{row.subtype:x} 0x00 to 0xFF"
    if row.size <= 0 or row.offset < 0 or row.end > 1 << 32:
        return f"offset 0x{row.offset:x} and size 0x{row.size:x} are not a range of flash"
    alignment = _alignment(row.type)
    if row.offset % alignment:
        return f"offset 0x{row.offset:x} is not a multiple of 0x{alignment:x}"
    if row.type == PartitionType.APP and row.size % SECTOR:
        return f"size 0x{row.size:x} of an app partition is not a multiple of 0x{SECTOR:x}"
    return None


def _table_fault(rows: tuple[Partition, ...]) -> str | None:
    if len(rows) > _MOST_ROWS:
        return f"{len(rows)} partitions do not fit, the limit is {_MOST_ROWS}"
    labels = [row.label for row in rows]
    doubled = sorted({label for label in labels if labels.count(label) > 1})
    if doubled:
        return f'duplicate label "{doubled[0]}" in the partition table'
    in_order = sorted(rows, key=lambda row: row.offset)
    for left, right in pairwise(in_order):
        if right.offset < left.end:
            return (
                f'partition "{right.label}" at 0x{right.offset:x} overlaps "{left.label}", '
                f"0x{left.offset:x} to 0x{left.end - 1:x}"
            )
    return _otadata_fault([row for row in rows if row.is_data(DataSubtype.OTA)])


def _otadata_fault(otadata: list[Partition]) -> str | None:
    if len(otadata) > 1:
        return f'"{otadata[0].label}" and "{otadata[1].label}" are both OTA data, only one is allowed'
    if otadata and otadata[0].size != 2 * SECTOR:
        return f'OTA data "{otadata[0].label}" is 0x{otadata[0].size:x} bytes long, expected 0x{2 * SECTOR:x}'
    return None


def _parse_rows(data: bytes) -> Iterable[Partition]:
    rows, seen_md5 = hashlib.md5(usedforsecurity=False), False
    for at in range(0, len(data) - _ROW.size + 1, _ROW.size):
        row = data[at : at + _ROW.size]
        if row == _END:
            if at == 0:
                raise InputError("the partition table is blank", cause="table-md5")
            return
        if row[:2] == _MD5_MAGIC:
            if seen_md5 or row != _MD5_BEGIN + rows.digest():
                raise InputError("the MD5 row does not match the partition table", cause="table-md5")
            seen_md5 = True
        elif row[:2] != _MAGIC or seen_md5:
            raise InputError(
                f"row {at // _ROW.size} of the partition table starts with 0x{row[:2].hex()}, not 0xaa50",
                cause="table-magic",
            )
        else:
            rows.update(row)
            yield _parse_row(row)
    raise InputError("the partition table has no end marker", hint="check that the file is whole", cause="table-end")


def _parse_row(row: bytes) -> Partition:
    _, kind, subtype, offset, size, label, flags = _ROW.unpack(row)
    try:
        text = label.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the label {label!r} is not text", cause="table-row") from error
    other = flags & ~(_ENCRYPTED | _READONLY)
    return Partition(text, kind, subtype, offset, size, bool(flags & _ENCRYPTED), bool(flags & _READONLY), other)


def _alignment(kind: int) -> int:
    return 0x10000 if kind == PartitionType.APP else SECTOR
