"""Whether devices that run one release can take the app of another over the air.

An update replaces the app and nothing else: bootloader, partition table and eFuses stay what they are. Sources: ESP-IDF
programming guide ("Over The Air Updates", "Secure Boot v2"), `bootloader_common_check_chip_validity`; ESP RainMaker
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
    """Why devices that run *old* could not take the app of *new*; without *old*, why no device could.

    What neither build says is not complained of; nor is, with *allow_downgrade*, a seq that does not grow.
    """
    if old is None:
        return [*_image(new), *_slots(new, new), *_signed_at_all(new)]
    if new.chip is not old.chip:
        what = f"it is for {new.chip.value}, and {old.name} runs on {old.chip.value}"
        return [_complaint(new, what, "chip-mismatch", "the release of this chip")]
    judges = (_table, _flash_size, _revisions, _rollback, _flash_encryption, _secure_boot, _rainmaker)
    complaints = [*_image(new), *_slots(new, old), *chain.from_iterable(judge(new, old) for judge in judges)]
    later = inspect_successor(new, old)
    return complaints + [one for one in later if not (allow_downgrade and one.cause == "seq")]


def _complaint(new: Release, what: str, cause: str, hint: str | None = None) -> InputError:
    return InputError(what, where=f"{new.source}: {APP}", hint=hint, cause=cause)


def _image(new: Release) -> Iterator[InputError]:
    if new.app_image.chip is not new.chip:
        other = new.app_image.chip.value if new.app_image.chip else f"a chip of id {new.app_image.chip_id}"
        yield _complaint(new, f"the image is for {other}, the release for {new.chip.value}", "chip-mismatch")


def _slots(new: Release, device: Release) -> Iterator[InputError]:
    """Two slots, the otadata that says which one runs, and room in the smaller one."""
    if not device.table.takes_updates:
        what = f"{device.name} has {device.table.ota_layout}: nothing can be updated"
        yield _complaint(new, what, "no-ota", "two OTA slots and otadata; boards with this table must be flashed anew")
    smallest, size = device.table.smallest_ota_slot, new.part(APP).size
    if smallest is not None and size > smallest.size:
        what = f'0x{size:x} bytes do not fit "{smallest.label}", the smallest OTA slot, of 0x{smallest.size:x}'
        yield _complaint(new, what, "ota-slot", "make the app smaller: the slots stay as they are")


def _signed_at_all(new: Release) -> Iterator[InputError]:
    try:
        signed = bool(blocks_checked_by(new.app_signatures, new.chip))
    except InputError as error:
        yield error
        return
    if new.configured.secure_boot and not signed:
        yield _unsigned(new, "the build turns secure boot on")


def _unsigned(new: Release, why: str) -> InputError:
    schemes = ", ".join(sorted({block.scheme.value for block in new.app_signatures}))
    if schemes:
        what = f"{why}, and an {new.chip.value} does not look at the app's signature of {schemes}"
        return _complaint(new, what, "secure-boot-scheme", "another kind of key; RSA-3072 on most chips")
    what = f"{why}, and the app is not signed: no device of it would start this app"
    return _complaint(new, what, "secure-boot-unsigned", "espsecure sign-data --version 2, then build the release")


def _table(new: Release, old: Release) -> Iterator[InputError]:
    """The app was built for its own table, and the device keeps the one it has."""
    hint = "build the app with the table that the devices have"
    if new.table_offset != old.table_offset:
        what = f"it wants the partition table at 0x{new.table_offset:x}; {old.name} has it at 0x{old.table_offset:x}"
        yield _complaint(new, what, "table-changed", f"{hint} (CONFIG_PARTITION_TABLE_OFFSET)")
    rows = _changed_rows(new.table, old.table)
    if rows:
        more = f"; and {len(rows) - _MOST_ROWS} more" if len(rows) > _MOST_ROWS else ""
        what = f"the partition table is not that of {old.name}: {'; '.join(rows[:_MOST_ROWS])}{more}"
        yield _complaint(new, what, "table-changed", hint)


def _changed_rows(new: PartitionTable, old: PartitionTable) -> list[str]:
    """The rows that differ, by their labels; their order in the table means nothing."""
    labels = dict.fromkeys(row.label for row in (*old.partitions, *new.partitions))
    pairs = ((label, old.find(label), new.find(label)) for label in labels)
    return [f'"{label}" is {_row(was)}, was built as {_row(built)}' for label, was, built in pairs if was != built]


def _row(row: Partition | None) -> str:
    if row is None:
        return "not there"
    flags = f"{' encrypted' if row.encrypted else ''}{' read-only' if row.readonly else ''}"
    return f"{row.usage} at 0x{row.offset:x} of 0x{row.size:x}{flags}"


def _flash_size(new: Release, old: Release) -> Iterator[InputError]:
    """An app whose header states more flash than the chip finds stops when it starts (cpu_start.c)."""
    stated = new.app_image.flash_size
    if stated is not None and stated > old.flash_size:
        what = f"its header states {stated >> 20} MB of flash, {old.name} is for {old.flash_size >> 20} MB"
        yield _complaint(new, what, "flash-size", "CONFIG_ESPTOOLPY_FLASHSIZE")


def _revisions(new: Release, old: Release) -> Iterator[InputError]:
    image = new.app_image
    if image.min_revision > old.min_revision:
        needed, before = _revision(image.min_revision), _revision(old.min_revision)
        what = f"it needs chip revision {needed}, and {old.name} runs from {before} on"
        yield _complaint(new, what, "chip-revision", "CONFIG_<chip>_REV_MIN as it was")
    if image.max_revision < old.max_revision:
        what = f"it runs up to chip revision {_revision(image.max_revision)}, {old.name} {_up_to(old.max_revision)}"
        yield _complaint(new, what, "chip-revision", "build it with the ESP-IDF of before, or a newer one")


def _revision(number: int) -> str:
    return f"v{number // 100}.{number % 100}"


def _up_to(number: int) -> str:
    return "on any" if number == NO_MAX_REVISION else f"up to {_revision(number)}"


def _rollback(new: Release, old: Release) -> Iterator[InputError]:
    if old.configured.rollback and new.configured.rollback is False:
        what = f"the bootloader of {old.name} takes back what is not confirmed, and this app is built without rollback"
        yield _complaint(new, what, "no-rollback", "CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE")


def _flash_encryption(new: Release, old: Release) -> Iterator[InputError]:
    built, was = new.configured.flash_encryption, old.configured.flash_encryption
    if built is not None and was is not None and built is not was:
        what = f"it is built {_with(built)} flash encryption, {old.name} {_with(was)}"
        yield _complaint(new, what, "flash-encryption", "CONFIG_SECURE_FLASH_ENC_ENABLED as it was")


def _with(there: bool) -> str:
    return "with" if there else "without"


def _secure_boot(new: Release, old: Release) -> Iterator[InputError]:
    """Devices whose images are signed take what a key of theirs has signed, by their own scheme."""
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
        what = f"no key of {old.name} has signed the app; it knows {keys}"
        yield _complaint(new, what, "secure-boot-key", "sign it with the key that the devices have burnt")


def _rainmaker(new: Release, old: Release) -> Iterator[InputError]:
    """What the firmware asks of an update before it loads it."""
    if new.app.project != old.app.project:
        what = f'its project is "{new.app.project}", and RainMaker takes updates of "{old.app.project}" only'
        hint = f"the project's name stays; only devices built with {_SKIP}_PROJECT_NAME_CHECK overlook it"
        yield _complaint(new, what, "project", hint)
    if new.app.version == old.app.version:
        what = f"the app's version is {new.app.version} as before, and RainMaker refuses the version that runs"
        hint = f"PROJECT_VER or version.txt of the app; only devices built with {_SKIP}_VERSION_CHECK overlook it"
        yield _complaint(new, what, "same-version", hint)
