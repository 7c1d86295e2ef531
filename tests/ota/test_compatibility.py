"""Each reason why devices cannot load an update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from rmfab.errors import InputError
from rmfab.ota.compatibility import inspect_update
from rmfab.product.vocabulary import Chip
from rmfab.release.build_config import BuildConfig
from rmfab.release.opening import open_release
from rmfab.release.partition_table import PartitionTable
from rmfab.release.release import Release
from rmfab.release.signature_blocks import BlockScheme
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.ota.conftest import OTA_CSV, a_release
from tests.release.conftest import tiny_app, tiny_image, with_part
from tests.release.test_signature_blocks import key_of, signed

OLD = a_release("1.0.0", 1)
NEW = a_release("1.1.0", 2)
Change = Callable[[Release], Release]


def causes(complaints: list[InputError]) -> list[str]:
    """The causes of complaints, each of which has a place and is one sentence."""
    assert all(one.where and one.what and not one.what.endswith(".") for one in complaints)
    return [one.cause for one in complaints]


def built(**facts: bool) -> Change:
    """Change the build configuration."""
    return lambda release: replace(release, configured=BuildConfig(**facts))


def image(**facts: int) -> Change:
    """Change the app header."""
    return lambda release: replace(release, app_image=replace(release.app_image, **facts))


def described(**facts: object) -> Change:
    """Change the app descriptor."""
    return lambda release: replace(release, app=replace(release.app, **facts))


def tabled(csv: str) -> Change:
    """Change the partition table."""
    return lambda release: a_release(release.version, release.seq, csv=csv)


def same(release: Release) -> Release:
    """Change nothing."""
    return release


SHIFTED = OTA_CSV.replace("fctry,data,nvs,,0x6000", "fctry,data,nvs,0x50000,0x6000")
WITHOUT_SLOT = OTA_CSV.replace("ota_1,app,ota_1,,64K\n", "")
WITHOUT_OTADATA = OTA_CSV.replace("otadata,data,ota,0x14000,8K\n", "")
SMALL_SLOT = OTA_CSV.replace("ota_1,app,ota_1,,64K", "ota_1,app,ota_1,,4K")
BIG_APP = tiny_app("lamp", "1.1.0") + b"\xff" * 0x1000
REASONS: dict[str, tuple[Change, Change, list[str], str]] = {
    "a different chip": (lambda r: replace(r, chip=Chip.ESP32), same, ["chip-mismatch"], "esp32"),
    "an image for a different chip": (image(chip_id=0), same, ["chip-mismatch"], "the image is for esp32"),
    "an image for an unknown chip": (image(chip_id=77), same, ["chip-mismatch"], "chip id 77"),
    "one slot": (tabled(WITHOUT_SLOT), tabled(WITHOUT_SLOT), ["no-ota"], "1 OTA slots and otadata"),
    "no otadata": (tabled(WITHOUT_OTADATA), tabled(WITHOUT_OTADATA), ["no-ota"], "2 OTA slots and no otadata"),
    "slots on the new table only": (same, tabled(WITHOUT_SLOT), ["no-ota", "table-changed"], "1 OTA slots"),
    "an app larger than a slot": (
        lambda r: with_part(tabled(SMALL_SLOT)(r), "app", data=BIG_APP),
        tabled(SMALL_SLOT),
        ["ota-slot"],
        '"ota_1"',
    ),
    "a row elsewhere": (tabled(SHIFTED), same, ["table-changed"], '"fctry" was WiFi data at 0x40000, size 0x6000, is'),
    "a row more": (
        tabled(OTA_CSV + "logs,data,fat,,64K\n"),
        same,
        ["table-changed"],
        '"logs" was missing, is Unknown data at 0x46000, size 0x10000',
    ),
    "a row less": (
        same, tabled(OTA_CSV + "logs,data,fat,,64K,encrypted\n"), ["table-changed"], "encrypted, is missing"
    ),
    "many rows": (
        tabled(OTA_CSV + "".join(f"logs{n},data,fat,,4K\n" for n in range(4))), same, ["table-changed"], "; and 1 more"
    ),
    "a table elsewhere": (
        lambda r: a_release(r.version, r.seq, table_offset=0xD000), same, ["table-changed"], "at 0xd000"
    ),
    "a lower secure version": (described(secure_version=6), same, ["secure-version"], "6 is below 7"),
    "rollback lost": (built(rollback=False), built(rollback=True), ["no-rollback"], "built without rollback"),
    "a newer chip needed": (image(min_revision=4), image(min_revision=3), ["chip-revision"], "v0.4"),
    "a chip too new": (
        image(max_revision=99), same, ["chip-revision"], "up to chip revision v0.99, but lamp 1.0.0 up to"
    ),
    "flash encryption gained": (
        built(flash_encryption=True), built(flash_encryption=False), ["flash-encryption"], "with flash encryption"
    ),
    "flash encryption lost": (
        built(flash_encryption=False), built(flash_encryption=True), ["flash-encryption"], "without flash encryption"
    ),
    "secure boot, and no signature": (same, built(secure_boot=True), ["secure-boot-unsigned"], "not signed"),
    "more flash": (image(spi_size=4), same, ["flash-size"], "requires 16 MB of flash, but lamp 1.0.0 is for 4 MB"),
    "a different project": (described(project="fan"), same, ["project"], 'only accepts updates of "lamp"'),
    "the same version": (described(version="1.0.0"), same, ["same-version"], "version is still 1.0.0"),
    "the same seq": (lambda r: replace(r, edition=OLD.edition), same, ["seq"], "seq 1 is not above 1"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "before", "wanted", "words"), REASONS.values(), ids=REASONS.keys())
def test_each_reason(change: Change, before: Change, wanted: list[str], words: str):
    """What an update cannot change must not differ; each reason has its cause and names the facts."""
    complaints = inspect_update(change(NEW), before(OLD))
    assert causes(complaints) == wanted
    assert words in complaints[0].what
    assert "lamp-1.1.0" in str(complaints[0].where)


def test_skips_are_named():
    """RainMaker's checks can be configured out of a build, and the hint names the option."""
    (project,) = inspect_update(described(project="fan")(NEW), OLD)
    (version,) = inspect_update(described(version="1.0.0")(NEW), OLD)
    assert "CONFIG_ESP_RMAKER_SKIP_PROJECT_NAME_CHECK" in str(project.hint)
    assert "CONFIG_ESP_RMAKER_SKIP_VERSION_CHECK" in str(version.hint)


MAY: dict[str, tuple[Change, Change]] = {
    "a step forward": (same, same),
    "no seq on either side": (lambda r: a_release(r.version, None), lambda r: a_release(r.version, None)),
    "a seq for the first time": (same, lambda r: a_release(r.version, None)),
    "rows in a different order": (lambda r: replace(r, table=PartitionTable(r.table.partitions[::-1])), same),
    "a higher secure version": (described(secure_version=8), same),
    "rollback gained": (built(rollback=True), built(rollback=False)),
    "rollback unknown in one build": (same, built(rollback=True)),
    "encryption unknown in one build": (same, built(flash_encryption=True)),
    "an older chip is enough": (image(min_revision=0), image(min_revision=3)),
    "less flash": (image(spi_size=1), same),
    "a flash size without meaning": (image(spi_size=15), same),
    "newer chips too": (image(max_revision=0xFFFF), same),
}  # fmt: skip


@pytest.mark.parametrize(("change", "before"), MAY.values(), ids=MAY.keys())
def test_what_may(change: Change, before: Change):
    """Facts that are equal, better or unknown are not a reason."""
    assert inspect_update(change(NEW), before(OLD)) == []


def test_a_downgrade_that_is_meant():
    """allow_downgrade ignores the seq only."""
    back = described(secure_version=6)(a_release("1.1.0", 0))
    assert causes(inspect_update(back, OLD)) == ["seq", "secure-version"]
    assert causes(inspect_update(back, OLD, allow_downgrade=True)) == ["secure-version"]


def test_for_anybody():
    """Without an old release, slots, size, chip, and the signature of a build with secure boot are checked."""
    assert inspect_update(NEW, None) == []
    assert causes(inspect_update(tabled(WITHOUT_SLOT)(NEW), None)) == ["no-ota"]
    assert causes(inspect_update(with_part(tabled(SMALL_SLOT)(NEW), "app", data=BIG_APP), None)) == ["ota-slot"]
    assert causes(inspect_update(image(chip_id=0)(NEW), None)) == ["chip-mismatch"]
    assert causes(inspect_update(built(secure_boot=True)(NEW), None)) == ["secure-boot-unsigned"]


def signed_release(folder: Path, version: str, seq: int, *keys: PrivateKeyTypes) -> Release:
    """A release whose images *keys* have signed, with espsecure."""
    app = signed(folder, *keys, image=tiny_app("lamp", version))
    bootloader = signed(folder, *keys, image=tiny_image(b"second stage 16"))
    return a_release(version, seq, app=app, bootloader=bootloader, configured=BuildConfig(secure_boot=True))


@pytest.mark.slow
def test_secure_boot_keys(tmp_path: Path):
    """One key of the devices is enough; a different key, a different scheme or no signature is not."""
    mine, other = (key_of(BlockScheme.RSA_3072, number) for number in range(2))
    old = signed_release(tmp_path, "1.0.0", 1, mine)
    assert inspect_update(signed_release(tmp_path, "1.1.0", 2, mine), old) == []
    assert inspect_update(signed_release(tmp_path, "1.1.0", 2, other, mine), old) == []
    assert inspect_update(signed_release(tmp_path, "1.1.0", 2, mine), None) == []
    assert causes(inspect_update(NEW, old)) == ["secure-boot-unsigned"]
    (complaint,) = inspect_update(signed_release(tmp_path, "1.1.0", 2, other), old)
    assert complaint.cause == "secure-boot-key"
    assert old.app_signatures[0].key_digest[:16] in complaint.what
    unknown = signed_release(tmp_path, "1.1.0", 2, key_of(BlockScheme.ECDSA_P256))  # an ESP32-C3 does not check it
    for before in (old, None):
        (complaint,) = inspect_update(unknown, before)
        assert (complaint.cause, "ecdsa" in complaint.what) == ("secure-boot-scheme", True)
    assert inspect_update(signed_release(tmp_path, "1.1.0", 2, other), built(secure_boot=True)(OLD)) == []


def test_a_signature_that_does_not_hold(tmp_path: Path):
    """A damaged signature block is a reason by itself, with or without an old release."""
    app = bytearray(signed(tmp_path, key_of(BlockScheme.RSA_3072), image=tiny_app("lamp", "1.1.0")))
    app[-4096 + 200] ^= 1
    new = a_release("1.1.0", 2, app=bytes(app))
    for old in (OLD, None):
        assert causes(inspect_update(new, old)) == ["secure-boot-signature"]


def test_the_firmware_of_the_demo(tmp_path: Path):
    """Two versions of the demo's firmware update each other in both directions; a version does not update itself."""
    one, two = (
        open_release(
            make_build_folder(tmp_path / version, FirmwareRecipe(Chip.ESP32C6, version=version, app_size=0x20000))
        )
        for version in ("1.0.0", "1.1.0")
    )
    assert inspect_update(two, one) == inspect_update(one, two) == []
    assert causes(inspect_update(one, one)) == ["same-version"]
