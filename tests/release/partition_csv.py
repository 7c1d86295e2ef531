"""Partition tables of tests, written as the CSV of ESP-IDF's gen_esp32part.py."""

from __future__ import annotations

from rmfab.errors import InputError
from rmfab.release.partition_table import SECTOR, AppSubtype, DataSubtype, Partition, PartitionTable, PartitionType

_TYPE_NAMES = {kind.name.lower(): int(kind) for kind in PartitionType}
_SUBTYPE_NAMES: dict[int, dict[str, int]] = {
    PartitionType.APP: {
        "factory": AppSubtype.FACTORY,
        "test": AppSubtype.TEST,
        "tee_0": AppSubtype.TEE_0,
        "tee_1": AppSubtype.TEE_1,
        **{f"ota_{n}": AppSubtype.OTA_0 + n for n in range(16)},
    },
    PartitionType.DATA: {kind.name.lower(): int(kind) for kind in DataSubtype},
    PartitionType.BOOTLOADER: {"primary": 0, "ota": 1, "recovery": 2},
    PartitionType.PARTITION_TABLE: {"primary": 0, "ota": 1},
}


def table_from_csv(text: str, table_offset: int, where: str) -> PartitionTable:
    """Parse a table's CSV and fill in omitted offsets, as gen_esp32part.py does.

    *table_offset* is the offset of the table itself. Raise InputError with *where* and the line.
    """
    rows: list[Partition] = []
    free = table_offset + SECTOR
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        try:
            partition = _from_csv_line(line, free)
            if partition.offset < free and not _is_primary(partition):
                raise InputError(
                    f'partition "{partition.label}" at 0x{partition.offset:x} starts before 0x{free:x}, '
                    "the end of the partition table and of the rows above"
                )
        except InputError as error:
            raise InputError(error.what, where=f"{where}:{number}", hint=error.hint, cause="table-row") from error
        rows.append(partition)
        if not _is_primary(partition):
            free = partition.end
    try:
        return PartitionTable(tuple(rows))
    except InputError as error:
        raise InputError(error.what, where=where, hint=error.hint, cause=error.cause) from error


def _is_primary(row: Partition) -> bool:
    """Whether the row describes what comes before the partitions: the bootloader or the table itself."""
    return row.type in (PartitionType.BOOTLOADER, PartitionType.PARTITION_TABLE) and row.subtype == 0


def _from_csv_line(line: str, free: int) -> Partition:
    name, kind_text, subtype_text, offset_text, size_text, flags_text = (
        [f.strip() for f in line.split(",")] + [""] * 6
    )[:6]
    kind = _number(kind_text, _TYPE_NAMES, "type")
    if not subtype_text and kind == PartitionType.APP:
        raise InputError(f'app partition "{name}" needs a subtype')
    names = _SUBTYPE_NAMES.get(kind, {})
    subtype = _number(subtype_text, names, "subtype") if subtype_text else int(DataSubtype.UNDEFINED)
    alignment = 0x10000 if kind == PartitionType.APP else SECTOR
    offset = _number(offset_text, {}, "offset") if offset_text else -(-free // alignment) * alignment
    size = _number(size_text, {}, "size")
    if size < 0:  # "up to this offset"
        size = -size - offset
    flags = {flag for flag in flags_text.split(":") if flag}
    if flags - {"encrypted", "readonly"}:
        raise InputError(f'unknown flag "{min(flags - {"encrypted", "readonly"})}"', hint="use encrypted or readonly")
    return Partition(name, kind, subtype, offset, size, "encrypted" in flags, "readonly" in flags)


def _number(text: str, names: dict[str, int], what: str) -> int:
    """Return a named value, or a number as gen_esp32part.py reads it: decimal, 0x…, with suffix K or M."""
    if text.lower() in names:
        return names[text.lower()]
    unit = {"k": 1024, "m": 1024 * 1024}.get(text[-1:].lower(), 1)
    try:
        return int(text[:-1] if unit > 1 else text, 0) * unit
    except ValueError as error:
        known = f"use a number, or one of {', '.join(names)}" if names else "use a number such as 0x6000, 24K or 1M"
        raise InputError(f'"{text}" is not a {what}' if text else f"the {what} is empty", hint=known) from error
