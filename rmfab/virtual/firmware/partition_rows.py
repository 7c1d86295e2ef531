"""The partition table as the bootloader reads it: its checks, and what it calls the rows, by ESP-IDF version.

Sources: ESP-IDF 4.2 to 6.1, `components/bootloader_support/src` (flash_partitions.c, bootloader_utility.c).
"""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress

from rmfab.errors import InputError
from rmfab.release.partition_table import AppSubtype, DataSubtype, Partition, PartitionTable, PartitionType
from rmfab.virtual.firmware.log import idf_at_least

TABLE_SIZE = 0xC00
_FIELDS = struct.Struct("<2xBBLL16sL")  # esp_partition_info_t
_ROW_SIZE = _FIELDS.size
_ROW, _MD5_ROW, _END = b"\xaa\x50", b"\xeb\xeb", b"\xff" * 4  # the end counts by magic, type and subtype
_APPS = {AppSubtype.FACTORY: "factory app", AppSubtype.TEST: "test app"}
_DATA = {
    DataSubtype.OTA: "OTA data",
    DataSubtype.PHY: "RF data",
    DataSubtype.NVS: "WiFi data",
    DataSubtype.NVS_KEYS: "NVS keys",
    DataSubtype.EFUSE: "efuse",
}
_BOOT = {  # since ESP-IDF 5.4
    (PartitionType.BOOTLOADER, 0): "primary bootloader",
    (PartitionType.BOOTLOADER, 1): "ota bootloader",
    (PartitionType.BOOTLOADER, 2): "recovery bootloader",
    (PartitionType.PARTITION_TABLE, 0): "primary partition_table",
    (PartitionType.PARTITION_TABLE, 1): "ota partition_table",
}


def table_complaint(data: bytes, flash_size: int, idf_version: str) -> str:
    """Return what esp_partition_table_verify() reports about a table; "" if it accepts it.

    Before ESP-IDF 5.5 a blank table is a valid one without rows.
    """
    has_md5 = False
    for number in range(TABLE_SIZE // _ROW_SIZE):
        row = data[number * _ROW_SIZE : (number + 1) * _ROW_SIZE]
        if row[:2] == _ROW:
            offset, size = int.from_bytes(row[4:8], "little"), int.from_bytes(row[8:12], "little")
            if offset + size > flash_size:
                where = f"offset 0x{offset:x} size 0x{size:x}"
                return f"partition {number} invalid - {where} exceeds flash chip size 0x{flash_size:x}"
        elif row[:2] == _MD5_ROW:
            if has_md5:
                return "Only one MD5 checksum is allowed"
            if row[16:] != hashlib.md5(data[: number * _ROW_SIZE], usedforsecurity=False).digest():
                return "Incorrect MD5 checksum"
            has_md5 = True
        elif row[:4] == _END and (number > 0 or not idf_at_least(idf_version, 5, 5)):
            return ""
        else:
            return f"partition {number} invalid magic number 0x{int.from_bytes(row[:2], 'little'):x}"
    return "partition table has no terminating entry, not valid"


def read_table(data: bytes) -> PartitionTable:
    """Return the rows of a table that the bootloader accepts.

    It checks less than `PartitionTable`: a row that cannot stand beside those before it is left out.
    """
    table = PartitionTable(())
    for at in range(0, TABLE_SIZE, _ROW_SIZE):
        row = data[at : at + _ROW_SIZE]
        if row[:2] == _ROW:
            kind, subtype, offset, size, label, flags = _FIELDS.unpack(row)
            with suppress(InputError):
                text = label.split(b"\0")[0].decode("ascii", "replace")
                part = Partition(text, kind, subtype, offset, size, bool(flags & 1), bool(flags & 2))
                table = PartitionTable((*table.partitions, part))
        elif row[:2] != _MD5_ROW:
            break
    return table


def usage(part: Partition, idf_version: str) -> str:
    """Return what the bootloader calls the use of a row."""
    if part.is_ota_app:
        return "OTA app"
    if part.type == PartitionType.APP:
        return next((words for subtype, words in _APPS.items() if subtype == part.subtype), "Unknown app")
    if part.type == PartitionType.DATA:
        return next((words for subtype, words in _DATA.items() if subtype == part.subtype), "Unknown data")
    named = _BOOT if idf_at_least(idf_version, 5, 4) else {}
    return next((words for key, words in named.items() if key == (part.type, part.subtype)), "unknown")
