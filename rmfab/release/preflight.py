"""The preflight check: finds whatever in a release would brick or confuse a board, before any board is touched."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rmfab.errors import ComplaintsError, InputError
from rmfab.product.product import Product
from rmfab.release.app_image import AppImage
from rmfab.release.partition_table import SECTOR, Partition, PartitionType
from rmfab.release.parts import APP, BOOTLOADER, TABLE, Part
from rmfab.release.plan import SIZE_KEY, erased_partitions, factory_partition, is_protected
from rmfab.release.release import Release
from rmfab.release.signature_blocks import blocks_checked_by


def preflight(release: Release, product: Product) -> None:
    """Raise ComplaintsError with everything that is wrong with *release* for *product*."""
    complaints = [*inspect_release(release), *inspect_for_product(release, product)]
    if complaints:
        raise ComplaintsError(complaints)


def inspect_release(release: Release) -> list[InputError]:
    """Return what is wrong with a release for any product."""
    judges = (
        _images,
        _chips,
        _places,
        _overlaps,
        _bootloader,
        _table,
        _partitions,
        _ota_slots,
        _encrypted,
        _secure_boot,
    )
    return [complaint for judge in judges for complaint in judge(release)]


def inspect_for_product(release: Release, product: Product) -> list[InputError]:
    """Return what is wrong with a release for this product.

    Checked are the chip, the factory partition, the erased partitions, how the firmware offers provisioning, and what
    an over-the-air update needs.
    """
    complaints = [*_provisioning(release, product), *_policy(release, product)]
    if product.chip is not release.chip:
        complaints.append(
            InputError(
                f"the release is for {release.chip.value}, but the product for {product.chip.value}",
                where=release.source,
                hint="correct [product] chip in product.toml, or build for "
                f"{product.chip.value} (`idf.py set-target {product.chip.value}`)",
                cause="chip-mismatch",
            )
        )
    try:
        complaints += _factory(release, product, factory_partition(release.table, product.factory))
    except InputError as error:
        complaints.append(error)
    try:
        erased_partitions(release, product.factory)
    except InputError as error:
        complaints.append(error)
    return complaints


def inspect_successor(release: Release, earlier: Release) -> list[InputError]:
    """Return what is wrong with a release as the successor of *earlier*."""
    complaints = []
    if release.seq is not None and earlier.seq is not None and release.seq <= earlier.seq:
        what = f"seq {release.seq} is not above {earlier.seq} of {earlier.name}"
        complaints.append(
            InputError(what, where=release.source, hint="use a larger one: `rmfab release build --seq N`", cause="seq")
        )
    if release.app.secure_version < earlier.app.secure_version:
        what = (
            f"secure version {release.app.secure_version} is below {earlier.app.secure_version} "
            f"of {earlier.name}: boards with anti-rollback would not boot it"
        )
        hint = "raise CONFIG_BOOTLOADER_APP_SECURE_VERSION, which must never decrease"
        complaints.append(_complaint(release, APP, what, "secure-version", hint))
    return complaints


def _provisioning(release: Release, product: Product) -> Iterator[InputError]:
    for fact, built, said in release.configured.differences(product):
        yield InputError(
            f"the firmware was built with {fact.name} = {_shown(built)} ({fact.named(built)}), "
            f"but the product has {_shown(said)}",
            where=f"product.toml: {fact.product_key}",
            hint="correct the one that is wrong: the product must match the firmware",
            cause="config-mismatch",
        )
    if release.configured.factory_encrypted:
        what = "the firmware expects an encrypted factory partition: it cannot read a plain one, and may erase it"
        hint = "build without CONFIG_ESP_RMAKER_ENCRYPT_FACTORY_PARTITION"
        yield _complaint(release, APP, what, "encrypted", hint)


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _policy(release: Release, product: Product) -> Iterator[InputError]:
    """Check what `[release] ota` and `rollback` of the product require."""
    if product.release.ota and not release.table.takes_updates:
        what = f"over-the-air updates need two OTA slots and otadata, but the table has {release.table.ota_layout}"
        yield _complaint(
            release, TABLE, what, "no-ota", "change the partition table, or set ota = false in product.toml"
        )
    if product.release.rollback and release.configured.rollback is not True:
        unknown = release.configured.rollback is None
        what = "the build does not show whether it rolls" if unknown else "the build does not roll"
        hint = (
            "keep config/sdkconfig.json in the build folder" if unknown else "set CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE"
        )
        yield _complaint(release, APP, f"{what} back an update that does not start", "no-rollback", hint)


def _complaint(release: Release, name: str, what: str, cause: str, hint: str | None = None) -> InputError:
    return InputError(what, where=f"{release.source}: {name}", hint=hint, cause=cause)


def _factory(release: Release, product: Product, partition: Partition) -> Iterator[InputError]:
    if partition.size != product.factory.size:
        yield InputError(
            f'the partition "{partition.label}" has 0x{partition.size:x} bytes, but the product\'s factory images '
            f"0x{product.factory.size:x}",
            where=SIZE_KEY,
            hint=f"set size = 0x{partition.size:x}",
            cause="factory-size",
        )
    for part in release.parts:
        if partition.overlaps(part.offset, part.size):
            what = f'overlaps the factory partition "{partition.label}"'
            yield _complaint(release, part.name, what, "part-on-factory")


def _images(release: Release) -> Iterator[InputError]:
    """Check that every part in an app partition, and the bootloader, is a complete image."""
    for part in release.parts:
        partition = _partition_at(release, part.offset)
        if part.name in (BOOTLOADER, APP) or (partition is not None and partition.is_app):
            try:
                AppImage.parse(part.data, f"{release.source}: {part.name}")
            except InputError as error:
                yield error


def _chips(release: Release) -> Iterator[InputError]:
    for name, image in ((BOOTLOADER, release.bootloader_image), (APP, release.app_image)):
        if image.chip is not release.chip:
            other = image.chip.value if image.chip else f"chip id {image.chip_id}"
            what = f"the image is for {other}, but the release for {release.chip.value}"
            yield _complaint(release, name, what, "chip-mismatch")


def _places(release: Release) -> Iterator[InputError]:
    """Check that each part starts where its partition starts and fits, the app in an app partition, none on keys."""
    for part in release.parts:
        if part.offset % SECTOR:
            what = f"its offset 0x{part.offset:x} is not a multiple of 0x{SECTOR:x}"
            yield _complaint(release, part.name, what, "part-alignment")
        if part.name in (BOOTLOADER, TABLE):
            continue
        partition = _partition_at(release, part.offset)
        if partition is None:
            what = f"0x{part.offset:x} to 0x{part.end - 1:x} is not in any partition"
            yield _complaint(release, part.name, what, "part-nowhere")
        else:
            yield from _place(release, part, partition)
    for part in release.parts:
        for row in release.table.partitions:
            if is_protected(row) and row.overlaps(part.offset, part.size):
                what = f'overlaps "{row.label}", which contains keys and must not be written'
                yield _complaint(release, part.name, what, "part-on-protected")


def _place(release: Release, part: Part, partition: Partition) -> Iterator[InputError]:
    if part.name == APP and not partition.is_app:
        what = f'the app is in "{partition.label}" ({partition.usage}), which is not an app partition'
        yield _complaint(release, part.name, what, "app-partition")
    elif part.offset != partition.offset:
        what = f'starts at 0x{part.offset:x}, inside "{partition.label}", which starts at 0x{partition.offset:x}'
        yield _complaint(release, part.name, what, "part-start")
    if part.end > partition.end:
        what = f'0x{part.size:x} bytes do not fit "{partition.label}", which has 0x{partition.size:x}'
        hint = "make the app smaller or the partition larger" if part.name == APP else None
        yield _complaint(release, part.name, what, "part-size", hint)


def _overlaps(release: Release) -> Iterator[InputError]:
    for left, right in pairwise(sorted(release.parts, key=lambda part: part.offset)):
        if right.offset < left.end:
            what = f"ends at 0x{left.end - 1:x}, after the start of {right.name} at 0x{right.offset:x}"
            yield _complaint(release, left.name, what, "part-overlap")
        elif right.offset < -(-left.end // SECTOR) * SECTOR and right.name != TABLE:
            what = f"shares a flash sector with {right.name} at 0x{right.offset:x}"
            yield _complaint(release, left.name, what, "part-overlap")


def _bootloader(release: Release) -> Iterator[InputError]:
    part = release.part(BOOTLOADER)
    expected = release.chip.bootloader_offset
    if part.offset != expected:
        what = f"is at 0x{part.offset:x}, but the ROM of {release.chip.value} loads it from 0x{expected:x}"
        yield _complaint(release, BOOTLOADER, what, "bootloader-offset")


def _table(release: Release) -> Iterator[InputError]:
    part, start, end = release.part(TABLE), release.table_offset, release.table_offset + SECTOR
    if part.offset != start:
        what = f"is at 0x{part.offset:x}, but the build expects it at 0x{start:x}"
        yield _complaint(release, TABLE, what, "table-offset")
    if part.size > SECTOR:
        yield _complaint(release, TABLE, f"0x{part.size:x} bytes do not fit its sector", "table-size")
    for other in release.parts:
        if other.name != TABLE and other.offset < end and start < other.end:
            what = f"overlaps the partition table at 0x{start:x}"
            hint = (
                "reduce the bootloader's log level, or raise CONFIG_PARTITION_TABLE_OFFSET"
                if other.name == BOOTLOADER
                else None
            )
            yield _complaint(release, other.name, what, "part-on-table", hint)


def _partitions(release: Release) -> Iterator[InputError]:
    """Check that partitions come after the table, and fit the flash size in the bootloader's header."""
    described = (PartitionType.BOOTLOADER, PartitionType.PARTITION_TABLE)
    for row in release.table.partitions:
        if row.offset < release.table_offset + SECTOR and row.type not in described:
            what = f'partition "{row.label}" at 0x{row.offset:x} is on or before the table'
            yield _complaint(release, TABLE, what, "table-layout")
    if release.table.end > release.flash_size:
        yield _complaint(
            release,
            TABLE,
            f"the partitions end at 0x{release.table.end:x}, but the flash size in the bootloader's header is "
            f"0x{release.flash_size:x} bytes ({release.flash_size >> 20} MB)",
            "table-exceeds-flash",
            "set CONFIG_ESPTOOLPY_FLASHSIZE, then build again",
        )
    if not release.table.apps():
        yield _complaint(release, TABLE, "no app partition", "no-app-partition")


def _ota_slots(release: Release) -> Iterator[InputError]:
    """Check that the app fits every OTA slot: the next update goes into the other one."""
    smallest, app = release.table.smallest_ota_slot, release.part(APP)
    if smallest is not None and app.size > smallest.size and app.offset != smallest.offset:
        what = f'0x{app.size:x} bytes do not fit "{smallest.label}", the smallest OTA slot (0x{smallest.size:x})'
        yield _complaint(release, APP, what, "ota-slot", "make the app smaller or the slots larger")


def _secure_boot(release: Release) -> Iterator[InputError]:
    """Check that signature blocks are valid.

    A build that enables secure boot must have them, by one key for both images, in a scheme that the chip supports.
    """
    try:
        signatures = {BOOTLOADER: release.bootloader_signatures, APP: release.app_signatures}
    except InputError as error:
        yield error
        return
    if not release.configured.secure_boot:
        return
    for name, blocks in signatures.items():
        if not blocks:
            what = "the build enables secure boot, but this image is not signed: no board would boot it again"
            yield _complaint(release, name, what, "secure-boot-unsigned", "sign it: espsecure sign-data --version 2")
        elif not blocks_checked_by(blocks, release.chip):
            schemes = ", ".join(sorted({block.scheme.value for block in blocks}))
            what = f"the build enables secure boot, but an {release.chip.value} does not check {schemes} signatures"
            yield _complaint(
                release, name, what, "secure-boot-scheme", "use a key that the chip supports: RSA-3072 on most chips"
            )
    digests = [
        {block.key_digest for block in blocks_checked_by(blocks, release.chip)} for blocks in signatures.values()
    ]
    if all(digests) and not set.intersection(*digests):
        what = "bootloader and app are signed by different keys: the bootloader would not start the app"
        yield _complaint(release, APP, what, "secure-boot-key")


def _encrypted(release: Release) -> Iterator[InputError]:
    if release.configured.flash_encryption:
        what = "the build enables flash encryption, which rmfab does not support yet"
        yield _complaint(release, BOOTLOADER, what, "encrypted", "build without CONFIG_SECURE_FLASH_ENC_ENABLED")
    for part in release.parts:
        if part.encrypted:
            what = "the build requires flash encryption, which rmfab does not support yet"
            yield _complaint(release, part.name, what, "encrypted")


def _partition_at(release: Release, offset: int) -> Partition | None:
    return next((row for row in release.table.partitions if row.contains(offset, 1)), None)
