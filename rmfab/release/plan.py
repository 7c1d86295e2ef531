"""The flash plan: what is written to one unit, in which order, and what is erased before.

All plans share the same part objects of the release, so that they are compressed once. Never erased and never written:
the keys of an encrypted NVS and secure certificates, known by their partition types and by their usual names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.product.product import Factory
from rmfab.release.partition_table import SECTOR, DataSubtype, Partition, PartitionTable
from rmfab.release.parts import Part
from rmfab.release.release import Release

ERASE_KEY = "product.toml: [factory] erase"
PARTITION_KEY = "product.toml: [factory] partition"
SIZE_KEY = "product.toml: [factory] size"
_PROTECTED_LABELS = frozenset({"esp_secure_cert", "sec_cert", "pre_prov", "nvs_key", "nvs_keys"})
"""Of RainMaker's and Matter's tables; `pre_prov` is that of old versions of esp_secure_cert_mgr."""
_SECURE_CERT_TYPE = 0x3F
"""The partition type of esp_secure_cert_mgr (its README), whatever the label."""


@dataclass(frozen=True)
class Erase:
    """*size* bytes at *offset*, whole sectors, of the partition *name*."""

    offset: int
    size: int
    name: str

    @property
    def end(self) -> int:
        """The first offset after the region."""
        return self.offset + self.size


@dataclass(frozen=True)
class FlashPlan:
    """*common* is the tuple of parts of the release, *factory* the unit's image, whose bytes are secret."""

    common: tuple[Part, ...]
    factory: Part = field(repr=False)
    erases: tuple[Erase, ...]

    @property
    def writes(self) -> tuple[Part, ...]:
        """All parts to write, in order: the common parts, then the whole factory partition."""
        return (*self.common, self.factory)


def make_plan(release: Release, product_factory: Factory, factory_image: bytes) -> FlashPlan:
    """Return the plan of one unit.

    Raise InputError, with the key path, if product and release do not match.
    """
    partition = factory_partition(release.table, product_factory)
    if len(factory_image) != partition.size:
        raise InputError(
            f'the factory image has 0x{len(factory_image):x} bytes, but the partition "{partition.label}" '
            f"0x{partition.size:x}",
            where=SIZE_KEY,
            cause="factory-size",
        )
    factory = Part(partition.label, partition.offset, factory_image)
    written = [*release.parts, factory]
    erased = (region for row in erased_partitions(release, product_factory) for region in _unwritten(row, written))
    return FlashPlan(release.parts, factory, tuple(sorted(erased, key=lambda region: region.offset)))


def factory_partition(table: PartitionTable, product_factory: Factory) -> Partition:
    """Return the partition of the factory image.

    Raise InputError if it is missing or is not an NVS partition.
    """
    partition = table.find(product_factory.partition)
    if partition is None:
        nvs = ", ".join(row.label for row in table.data(DataSubtype.NVS))
        raise InputError(
            f'the release\'s partition table has no "{product_factory.partition}"',
            where=PARTITION_KEY,
            hint=f"its NVS partitions: {nvs}" if nvs else "it has no NVS partition: add one",
            cause="no-factory-partition",
        )
    if not partition.is_data(DataSubtype.NVS):
        raise InputError(
            f'the partition "{partition.label}" is not NVS (data, nvs), but type 0x{partition.type:02x}, '
            f"subtype 0x{partition.subtype:02x}",
            where=PARTITION_KEY,
            cause="factory-type",
        )
    if is_protected(partition):
        raise InputError(
            f'the partition "{partition.label}" contains keys and must not be written',
            where=PARTITION_KEY,
            hint="name the partition that the firmware reads its identity from, fctry in RainMaker's tables",
            cause="factory-protected",
        )
    return partition


def is_protected(partition: Partition) -> bool:
    """Whether the partition contains keys that a line must neither write nor erase."""
    by_type = partition.type == _SECURE_CERT_TYPE or partition.is_data(DataSubtype.NVS_KEYS)
    return by_type or partition.label.lower() in _PROTECTED_LABELS


def erased_partitions(release: Release, product_factory: Factory) -> tuple[Partition, ...]:
    """Return `nvs`, the OTA data, and the partitions in `[factory] erase`, each once.

    Raise InputError for a label that is protected or not in the table.
    """
    table = release.table
    nvs = table.find("nvs")
    rows = [nvs] if nvs is not None and nvs.is_data(DataSubtype.NVS) else []
    rows += table.data(DataSubtype.OTA)
    for label in product_factory.erase:
        row = table.find(label)
        if row is None:
            labels = ", ".join(known.label for known in table.partitions)
            raise InputError(
                f'the release\'s partition table has no "{label}"',
                where=ERASE_KEY,
                hint=f"its partitions: {labels}",
                cause="erase-unknown",
            )
        if is_protected(row):
            raise InputError(
                f'"{label}" contains keys and must not be erased',
                where=ERASE_KEY,
                hint="remove it from the list",
                cause="erase-protected",
            )
        rows.append(row)
    return tuple(dict.fromkeys(rows))


def _unwritten(row: Partition, parts: Iterable[Part]) -> list[Erase]:
    """Return the sectors of *row* that no part touches: a write erases its own sectors."""
    at, regions = row.offset, []
    for part in sorted(parts, key=lambda part: part.offset):
        start, end = part.offset // SECTOR * SECTOR, -(-part.end // SECTOR) * SECTOR
        if not row.overlaps(start, end - start):
            continue
        if start > at:
            regions.append(Erase(at, start - at, row.label))
        at = max(at, end)
    if at < row.end:
        regions.append(Erase(at, row.end - at, row.label))
    return regions
