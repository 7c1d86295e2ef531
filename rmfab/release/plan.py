"""The flash plan: what is written to one unit, in which order, and what is erased before.

The parts of the release are the same objects in every plan, so that they are compressed once. Never erased and never
written: the keys of an encrypted NVS (subtype nvs_keys) and `esp_secure_cert`.
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
_PROTECTED_LABELS = frozenset({"esp_secure_cert", "nvs_key", "nvs_keys"})


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
    """*common* is the release's own tuple of parts, *factory* the unit's image; its bytes hold secrets."""

    common: tuple[Part, ...]
    factory: Part = field(repr=False)
    erases: tuple[Erase, ...]

    @property
    def writes(self) -> tuple[Part, ...]:
        """All that is written, in order: the common parts, the whole factory partition last."""
        return (*self.common, self.factory)


def make_plan(release: Release, product_factory: Factory, factory_image: bytes) -> FlashPlan:
    """What is to be done to one unit. Raises InputError, with the key path, where product and release do not agree."""
    partition = factory_partition(release.table, product_factory)
    if len(factory_image) != partition.size:
        raise InputError(
            f'the factory image has 0x{len(factory_image):x} bytes, the partition "{partition.label}" '
            f"0x{partition.size:x}: it must be filled whole",
            where=SIZE_KEY,
            cause="factory-size",
        )
    factory = Part(partition.label, partition.offset, factory_image)
    written = [*release.parts, factory]
    erased = (region for row in erased_partitions(release, product_factory) for region in _unwritten(row, written))
    return FlashPlan(release.parts, factory, tuple(sorted(erased, key=lambda region: region.offset)))


def factory_partition(table: PartitionTable, product_factory: Factory) -> Partition:
    """Where the factory image goes. Raises InputError where there is no such partition or it holds no NVS."""
    partition = table.find(product_factory.partition)
    if partition is None:
        nvs = ", ".join(row.label for row in table.data(DataSubtype.NVS))
        raise InputError(
            f'the release\'s partition table has no "{product_factory.partition}"',
            where=PARTITION_KEY,
            hint=f"its NVS partitions: {nvs}" if nvs else "it has no NVS partition at all",
            cause="no-factory-partition",
        )
    if not partition.is_data(DataSubtype.NVS):
        raise InputError(
            f'the partition "{partition.label}" is no NVS (data, nvs) but type 0x{partition.type:02x}, '
            f"subtype 0x{partition.subtype:02x}",
            where=PARTITION_KEY,
            cause="factory-type",
        )
    return partition


def is_protected(partition: Partition) -> bool:
    """Whether the partition holds keys that a line may neither write nor erase."""
    return partition.is_data(DataSubtype.NVS_KEYS) or partition.label in _PROTECTED_LABELS


def erased_partitions(release: Release, product_factory: Factory) -> tuple[Partition, ...]:
    """`nvs`, the OTA data, and what `[factory] erase` names, each once.

    Raises InputError for a label that the table has not or that is protected.
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
                hint=f"it has: {labels}",
                cause="erase-unknown",
            )
        if is_protected(row):
            raise InputError(
                f'"{label}" holds keys and is never erased',
                where=ERASE_KEY,
                hint="take it out",
                cause="erase-protected",
            )
        rows.append(row)
    return tuple(dict.fromkeys(rows))


def _unwritten(row: Partition, parts: Iterable[Part]) -> list[Erase]:
    """The sectors of *row* that no part touches: a write erases its own sectors."""
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
