"""The judge of updates: whether devices that run one release can load the app of a different one over the air.

An update replaces the app only. Bootloader, partition table and eFuses stay as they are. Sources: ESP-IDF programming
guide ("Over The Air Updates", "Secure Boot v2"), `bootloader_common_check_chip_validity`; ESP RainMaker
`esp_rmaker_ota.c` (validate_image_header) and Kconfig.projbuild.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from rmfab.errors import InputError
from rmfab.release.app_image import NO_MAX_REVISION
from rmfab.release.partition_table import Partition, PartitionTable
from rmfab.release.parts import APP
from rmfab.release.preflight import inspect_successor
from rmfab.release.release import Release
from rmfab.release.signature_blocks import blocks_checked_by

_MOST_ROWS = 3
_SKIP = "CONFIG_ESP_RMAKER_SKIP"


def inspect_update(new: Release, old: Release | None, *, allow_downgrade: bool = False) -> list[InputError]:
    """Return why devices that run *old* could not load the app of *new*; without *old*, why no device could.

    Facts that are missing in both builds are not judged. With *allow_downgrade*, a seq that does not grow is allowed.
    """
    if old is None:
        return [*_image(new), *_slots(new, new), *_signed_at_all(new)]
    if new.chip is not old.chip:
        what = f"the release is for {new.chip.value}, but {old.name} runs on {old.chip.value}"
        hint = f"give the release for {old.chip.value}, or build for it (`idf.py set-target {old.chip.value}`)"
        return [_complaint(new, what, "chip-mismatch", hint)]
    judges = (_table, _flash_size, _revisions, _rollback, _flash_encryption, _secure_boot, _rainmaker)
    complaints = [*_image(new), *_slots(new, old), *chain.from_iterable(judge(new, old) for judge in judges)]
    later = inspect_successor(new, old)
    return complaints + [one for one in later if not (allow_downgrade and one.cause == "seq")]


def _complaint(new: Release, what: str, cause: str, hint: str | None = None) -> InputError:
    return InputError(what, where=f"{new.source}: {APP}", hint=hint, cause=cause)


def _image(new: Release) -> Iterator[InputError]:
    if new.app_image.chip is not new.chip:
        other = new.app_image.chip.value if new.app_image.chip else f"chip id {new.app_image.chip_id}"
        yield _complaint(new, f"the image is for {other}, but the release for {new.chip.value}", "chip-mismatch")


def _slots(new: Release, device: Release) -> Iterator[InputError]:
    """Check for two slots, for the otadata that selects one, and that the app fits the smaller slot."""
    if not device.table.takes_updates:
        what = f"{device.name} has {device.table.ota_layout}, so it cannot be updated"
        yield _complaint(
            new,
            what,
            "no-ota",
            "use a table with two OTA slots and otadata; boards with this table must be flashed again",
        )
    smallest, size = device.table.smallest_ota_slot, new.part(APP).size
    if smallest is not None and size > smallest.size:
        what = f'0x{size:x} bytes do not fit "{smallest.label}", the smallest OTA slot (0x{smallest.size:x})'
        yield _complaint(new, what, "ota-slot", "make the app smaller: an update cannot change the slots")


def _signed_at_all(new: Release) -> Iterator[InputError]:
    try:
        signed = bool(blocks_checked_by(new.app_signatures, new.chip))
    except InputError as error:
        yield error
        return
    if new.configured.secure_boot and not signed:
        yield _unsigned(new, "the build enables secure boot")


def _unsigned(new: Release, why: str) -> InputError:
    schemes = ", ".join(sorted({block.scheme.value for block in new.app_signatures}))
    if schemes:
        what = f"{why}, but an {new.chip.value} does not check {schemes} signatures"
        return _complaint(new, what, "secure-boot-scheme", "use a key that the chip supports: RSA-3072 on most chips")
    what = f"{why}, but the app is not signed: no device would start it"
    return _complaint(
        new, what, "secure-boot-unsigned", "sign it with espsecure sign-data --version 2, then build the release"
    )


def _table(new: Release, old: Release) -> Iterator[InputError]:
    """Check that the app was built for the table of the device, which an update does not change."""
    hint = "build the app with the partition table of the devices"
    if new.table_offset != old.table_offset:
        what = f"its partition table is at 0x{new.table_offset:x}, that of {old.name} at 0x{old.table_offset:x}"
        yield _complaint(new, what, "table-changed", f"{hint} (CONFIG_PARTITION_TABLE_OFFSET)")
    rows = _changed_rows(new.table, old.table)
    if rows:
        more = f"; and {len(rows) - _MOST_ROWS} more" if len(rows) > _MOST_ROWS else ""
        what = f"its partition table differs from that of {old.name}: {'; '.join(rows[:_MOST_ROWS])}{more}"
        yield _complaint(new, what, "table-changed", hint)


def _changed_rows(new: PartitionTable, old: PartitionTable) -> list[str]:
    """Return the rows that differ, by label; the order of rows does not matter."""
    labels = dict.fromkeys(row.label for row in (*old.partitions, *new.partitions))
    pairs = ((label, old.find(label), new.find(label)) for label in labels)
    return [f'"{label}" was {_row(was)}, is {_row(built)}' for label, was, built in pairs if was != built]


def _row(row: Partition | None) -> str:
    if row is None:
        return "missing"
    flags = f"{' encrypted' if row.encrypted else ''}{' read-only' if row.readonly else ''}"
    return f"{row.usage} at 0x{row.offset:x}, size 0x{row.size:x}{flags}"


def _flash_size(new: Release, old: Release) -> Iterator[InputError]:
    """Check the flash size in the header.

    An app whose header has more flash than the chip stops when it starts (cpu_start.c).
    """
    stated = new.app_image.flash_size
    if stated is not None and stated > old.flash_size:
        what = f"its header requires {stated >> 20} MB of flash, but {old.name} is for {old.flash_size >> 20} MB"
        yield _complaint(new, what, "flash-size", "set CONFIG_ESPTOOLPY_FLASHSIZE to the devices' size")


def _revisions(new: Release, old: Release) -> Iterator[InputError]:
    image = new.app_image
    if image.min_revision > old.min_revision:
        needed, before = _revision(image.min_revision), _revision(old.min_revision)
        what = f"it requires chip revision {needed} or newer, but {old.name} {before} or newer"
        yield _complaint(new, what, "chip-revision", "set CONFIG_<chip>_REV_MIN as before")
    if image.max_revision < old.max_revision:
        what = f"it runs up to chip revision {_revision(image.max_revision)}, but {old.name} {_up_to(old.max_revision)}"
        yield _complaint(new, what, "chip-revision", "build it with the same ESP-IDF as before, or a newer one")


def _revision(number: int) -> str:
    return f"v{number // 100}.{number % 100}"


def _up_to(number: int) -> str:
    return "on any" if number == NO_MAX_REVISION else f"up to {_revision(number)}"


def _rollback(new: Release, old: Release) -> Iterator[InputError]:
    if old.configured.rollback and new.configured.rollback is False:
        what = f"the bootloader of {old.name} rolls back unconfirmed apps, but this app is built without rollback"
        yield _complaint(new, what, "no-rollback", "set CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE")


def _flash_encryption(new: Release, old: Release) -> Iterator[InputError]:
    built, was = new.configured.flash_encryption, old.configured.flash_encryption
    if built is not None and was is not None and built is not was:
        what = f"it is built {_with(built)} flash encryption, but {old.name} {_with(was)}"
        yield _complaint(new, what, "flash-encryption", "set CONFIG_SECURE_FLASH_ENC_ENABLED as before")


def _with(there: bool) -> str:
    return "with" if there else "without"


def _secure_boot(new: Release, old: Release) -> Iterator[InputError]:
    """Check the app's signatures against the keys of the devices.

    Devices whose images are signed accept an app that one of their keys has signed, in their own scheme.
    """
    try:
        ours = set(blocks_checked_by(new.app_signatures, new.chip))
        theirs = {
            *blocks_checked_by(old.app_signatures, old.chip),
            *blocks_checked_by(old.bootloader_signatures, old.chip),
        }
    except InputError as error:
        yield error
        return
    if not ours:
        if theirs or old.configured.secure_boot:
            yield _unsigned(new, f"devices of {old.name} check signatures")
    elif theirs and not ours & theirs:
        keys = ", ".join(sorted(f"{one.scheme.value} {one.key_digest[:16]}…" for one in theirs))
        what = f"the app is not signed by a key of {old.name}: {keys}"
        yield _complaint(new, what, "secure-boot-key", "sign it with the key burned into the devices")


def _rainmaker(new: Release, old: Release) -> Iterator[InputError]:
    """Check what the firmware requires of an update before it loads it."""
    if new.app.project != old.app.project:
        what = f'its project is "{new.app.project}", but RainMaker only accepts updates of "{old.app.project}"'
        hint = f"keep the project's name; only devices built with {_SKIP}_PROJECT_NAME_CHECK ignore it"
        yield _complaint(new, what, "project", hint)
    if new.app.version == old.app.version:
        what = f"the app's version is still {new.app.version}, and RainMaker rejects the version that is running"
        hint = f"change PROJECT_VER or version.txt; only devices built with {_SKIP}_VERSION_CHECK ignore it"
        yield _complaint(new, what, "same-version", hint)
