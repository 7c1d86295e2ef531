"""Preflight: one row for each way in which a release would brick or confuse a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rmfab.errors import ComplaintsError, InputError
from rmfab.product.product import Factory, Product, ReleasePolicy
from rmfab.product.vocabulary import Chip, QrForm, Security, Transport
from rmfab.release.build_config import BuildConfig
from rmfab.release.edition import Edition
from rmfab.release.parts import Part
from rmfab.release.preflight import inspect_for_product, inspect_release, inspect_successor, preflight
from rmfab.release.release import Release
from rmfab.release.signature_blocks import BlockScheme
from rmfab.virtual.build.build_folder import FirmwareFacts, make_app, make_bootloader

from .conftest import tiny_app, with_part, with_table
from .test_signature_blocks import key_of, signed


def test_a_good_release_passes(release: Release, tiny_release: Release, product: Product):
    """The demo's firmware and the smallest release pass."""
    preflight(release, product)
    preflight(tiny_release, product)


def _add(name: str, offset: int, size: int) -> Callable[[Release], Release]:
    def change(release: Release) -> Release:
        parts = (*release.parts, Part(name, offset, b"\x55" * size))
        return replace(release, parts=tuple(sorted(parts, key=lambda part: part.offset)))

    return change


def _other_app(release: Release) -> Release:
    data = make_app(Chip.ESP32C6, "p", "1", FirmwareFacts(), app_size=0x20000)
    return Release.assemble(
        release.chip, [Part("app", 0x20000, data), *(p for p in release.parts if p.name != "app")], "x"
    )


def _other_bootloader(release: Release) -> Release:
    data = make_bootloader(Chip.ESP32S3, 4 << 20)
    return Release.assemble(
        release.chip, [Part("bootloader", 0, data), *(p for p in release.parts if p.name != "bootloader")], "x"
    )


def _small_flash(release: Release) -> Release:
    data = make_bootloader(release.chip, 2 << 20)
    return Release.assemble(
        release.chip, [Part("bootloader", 0, data), *(p for p in release.parts if p.name != "bootloader")], "x"
    )


def _flip(name: str, at: int) -> Callable[[Release], Release]:
    def change(release: Release) -> Release:
        data = bytearray(release.part(name).data)
        data[at] ^= 1
        return with_part(release, name, data=bytes(data))

    return change


def _grown(name: str, by: int) -> Callable[[Release], Release]:
    return lambda release: with_part(release, name, data=release.part(name).data + bytes(by))


def _changed(name: str, **changes: object) -> Callable[[Release], Release]:
    return lambda release: with_part(release, name, **changes)


def _table(*rows: str) -> Callable[[Release], Release]:
    csv = ["nvs,data,nvs,0x10000,24K", "otadata,data,ota,0x16000,8K", *rows, "fctry,data,nvs,0x3FA000,24K"]
    return lambda release: with_table(release, "\n".join(csv))


def _table_behind_its_partitions(release: Release) -> Release:
    return with_part(replace(release, table_offset=0xF000), "partition-table", offset=0xF000)


def _beside_the_partitions(release: Release) -> Release:
    return _add("more", 0x3E0000, 16)(_table("ota_0,app,ota_0,0x20000,1M")(release))


RELEASE_FAULTS = [
    ("parts overlap", _add("more", 0x22000, 16), "part-overlap", "0x3ffff, after the start of more"),
    ("app too large", _table("ota_0,app,ota_0,0x20000,64K"), "part-size", 'do not fit "ota_0"'),
    ("part too large", _grown("otadata", 0x1000), "part-size", "0x3000 bytes do not fit"),
    ("part in no partition", _beside_the_partitions, "part-nowhere", "is not in any partition"),
    ("part inside a partition", _add("more", 0x3E1000, 16), "part-start", 'inside "reserved"'),
    ("part not at a sector", _add("more", 0x3E0010, 16), "part-alignment", "not a multiple"),
    ("bootloader too large", _grown("bootloader", 0xC000), "part-on-table", "overlaps the partition table"),
    ("part crosses the table", _add("more", 0xB000, 0x1800), "part-on-table", "overlaps the partition table"),
    ("table too large", _grown("partition-table", 0x800), "table-size", "do not fit its sector"),
    ("table elsewhere", lambda r: replace(r, table_offset=0x8000), "table-offset", "the build expects it at 0x8000"),
    ("partition before the table", _table_behind_its_partitions, "table-layout", "is on or before the table"),
    ("part on esp_secure_cert", _add("more", 0xD000, 16), "part-on-protected", '"esp_secure_cert"'),
    ("part on nvs_key", _add("more", 0xF000, 16), "part-on-protected", '"nvs_key"'),
    ("part runs into keys", _grown("partition-table", 0x2000), "part-on-protected", '"esp_secure_cert"'),
    ("app for a different chip", _other_app, "chip-mismatch", "image is for esp32c6, but the release for esp32c3"),
    ("bootloader for a different chip", _other_bootloader, "chip-mismatch", "image is for esp32s3"),
    ("bad checksum of the app", _flip("app", 0x1000), "image-checksum", "checksum"),
    ("bad digest of the app", _flip("app", -1), "image-digest", "SHA-256"),
    ("bad checksum of the bootloader", _flip("bootloader", 0x1000), "image-checksum", "checksum"),
    ("bad digest of the bootloader", _flip("bootloader", -1), "image-digest", "SHA-256"),
    ("no image in an app partition", _add("more", 0x200000, 16), "image-magic", "not an app or bootloader image"),
    ("table exceeds the flash", _small_flash, "table-exceeds-flash", r"end at 0x400000, .* 0x200000 bytes \(2 MB\)"),
    ("app in no app partition", _changed("app", offset=0x3E0000), "app-partition", "not an app partition"),
    ("app inside an app partition", _changed("app", offset=0x30000), "part-start", 'inside "ota_0"'),
    ("no app partition", _table(), "no-app-partition", "no app partition"),
    ("bootloader elsewhere", _changed("bootloader", offset=0x1000), "bootloader-offset", "loads it from 0x0"),
    ("encrypted part", _changed("app", encrypted=True), "encrypted", "flash encryption"),
]


@pytest.mark.parametrize(
    ("change", "cause", "reason"), [row[1:] for row in RELEASE_FAULTS], ids=[row[0] for row in RELEASE_FAULTS]
)
def test_release_faults(
    release: Release, product: Product, change: Callable[[Release], Release], cause: str, reason: str
):
    """Each fault of a release is found, named, and fails the preflight."""
    faulty = change(release)
    with pytest.raises(InputError, match=reason) as caught:
        raise next(complaint for complaint in inspect_release(faulty) if complaint.cause == cause)
    assert str(caught.value.where).startswith(faulty.source)
    with pytest.raises(ComplaintsError):
        preflight(faulty, product)


@pytest.mark.parametrize(
    ("changes", "where", "reason"),
    [
        ({"factory": Factory(partition="factory_data")}, "[factory] partition", 'has no "factory_data"'),
        ({"factory": Factory(partition="otadata", size=0x2000)}, "[factory] partition", "is not NVS"),
        ({"factory": Factory(partition="ota_0", size=0x1E0000)}, "[factory] partition", "is not NVS"),
        ({"factory": Factory(size=0x3000)}, "[factory] size", '"fctry" has 0x6000 bytes.*images 0x3000'),
        ({"factory": Factory(erase=("nvs_key",))}, "[factory] erase", "must not be erased"),
        ({"factory": Factory(erase=("nvs", "storge"))}, "[factory] erase", 'has no "storge"'),
    ],
)
def test_product_faults(release: Release, product: Product, changes: dict, where: str, reason: str):
    """If product and release do not match, the error names the key of product.toml."""
    with pytest.raises(ComplaintsError, match=reason) as caught:
        preflight(release, replace(product, **changes))
    assert caught.value.where == f"product.toml: {where}"


def test_a_release_for_another_chip(release: Release, product: Product):
    """A release for a different chip than the product's is rejected."""
    with pytest.raises(ComplaintsError, match="release is for esp32c3, but the product for esp32"):
        preflight(release, replace(product, chip=Chip.ESP32))


def test_part_on_the_factory_partition(release: Release, product: Product):
    """A part on the factory partition is rejected: the unit's image would overwrite it."""
    with pytest.raises(ComplaintsError, match='factory partition "fctry"'):
        preflight(_add("more", 0x3FA000, 16)(release), product)


def test_all_complaints_at_once(tiny_release: Release, product: Product):
    """One run reports everything that is wrong."""
    faulty = with_part(with_part(tiny_release, "app", encrypted=True), "bootloader", offset=0x1000)
    with pytest.raises(ComplaintsError) as caught:
        preflight(faulty, replace(product, chip=Chip.ESP32, factory=Factory(size=0x1000)))
    causes = {complaint.cause for complaint in caught.value.complaints}
    assert causes == {"encrypted", "bootloader-offset", "chip-mismatch", "factory-size"}


def test_sectors_are_not_shared(tiny_release: Release):
    """Two parts in one sector are rejected: each write erases whole sectors."""
    parts = (*tiny_release.parts, Part("more", 0x20800, tiny_app()))
    causes = {complaint.cause for complaint in inspect_release(replace(tiny_release, parts=parts))}
    assert "part-overlap" in causes


def _causes(complaints: list[InputError]) -> set[str]:
    return {one.cause for one in complaints}


def test_an_app_must_fit_every_ota_slot(release: Release):
    """An app that fits only its own slot is rejected: it could be updated once and not back."""
    csv = (
        "nvs,data,nvs,0x10000,0x6000\notadata,data,ota,0x16000,0x2000\nota_0,app,ota_0,0x20000,0x1e0000\n"
        "ota_1,app,ota_1,0x200000,0x10000\nfctry,data,nvs,0x3fa000,0x6000\n"
    )
    assert "ota-slot" in _causes(inspect_release(with_table(release, csv)))
    assert "ota-slot" not in _causes(inspect_release(release))


@pytest.mark.parametrize(
    "csv",
    [
        "nvs,data,nvs,0x10000,0x6000\nfactory,app,factory,0x20000,0x1e0000\nfctry,data,nvs,0x3fa000,0x6000\n",
        "nvs,data,nvs,0x10000,24K\nota_0,app,ota_0,0x20000,1M\nota_1,app,ota_1,,1M\nfctry,data,nvs,0x3fa000,24K\n",
        "nvs,data,nvs,0x10000,24K\notadata,data,ota,,8K\nota_0,app,ota_0,,1M\nfctry,data,nvs,0x3fa000,24K\n",
    ],
    ids=["factory only", "no otadata", "one slot"],
)
def test_ota_where_the_product_asks_for_it(release: Release, product: Product, csv: str):
    """If the product requires OTA, the table needs two slots and otadata; otherwise any table passes."""
    asking = replace(product, release=ReleasePolicy(ota=True))
    assert "no-ota" in _causes(inspect_for_product(with_table(release, csv), asking))
    assert "no-ota" not in _causes(inspect_for_product(with_table(release, csv), product))
    assert "no-ota" not in _causes(inspect_for_product(release, asking))


@pytest.mark.parametrize(("built", "refused"), [(True, False), (False, True), (None, True)])
def test_rollback_where_the_product_asks_for_it(release: Release, product: Product, built: bool | None, refused: bool):
    """If the product requires rollback, a build without it, or without configuration, is rejected."""
    other = replace(release, configured=replace(release.configured, rollback=built))
    asking = replace(product, release=ReleasePolicy(rollback=True))
    assert ("no-rollback" in _causes(inspect_for_product(other, asking))) is refused
    assert "no-rollback" not in _causes(inspect_for_product(other, product))


@pytest.mark.parametrize(
    ("key", "value"),
    [("security", Security.X25519), ("transport", Transport.SOFTAP), ("qr", QrForm.COMPACT), ("name_prefix", "LAMP")],
)
def test_the_product_must_say_what_the_firmware_was_built_with(release: Release, product: Product, key: str, value):
    """Each key of [provisioning] that differs is reported with both values; an unknown value is not a fault."""
    built = replace(release, configured=replace(BuildConfig(), **{key: value}))
    (complaint,) = inspect_for_product(built, product)
    assert complaint.where == f"product.toml: [provisioning] {key}"
    assert str(getattr(value, "value", value)) in complaint.what
    assert inspect_for_product(replace(release, configured=BuildConfig()), product) == []


def test_secure_boot_needs_both_signatures(release: Release, tmp_path: Path):
    """A build with secure boot has both images signed with one supported key; damage is always rejected."""
    enabling = replace(release, configured=replace(release.configured, secure_boot=True))
    assert [one.cause for one in inspect_release(enabling)] == ["secure-boot-unsigned"] * 2
    one, other = (key_of(BlockScheme.RSA_3072, number) for number in range(2))
    images = {name: release.part(name).data for name in ("bootloader", "app")}
    by_one = {name: signed(tmp_path, one, image=image) for name, image in images.items()}
    assert inspect_release(_with_images(enabling, by_one)) == []
    unknown = by_one | {"app": signed(tmp_path, key_of(BlockScheme.ECDSA_P256), image=images["app"])}
    assert _causes(inspect_release(_with_images(enabling, unknown))) == {"secure-boot-scheme"}
    mixed = by_one | {"app": signed(tmp_path, other, image=images["app"])}
    assert _causes(inspect_release(_with_images(enabling, mixed))) == {"secure-boot-key"}
    good = by_one["app"]
    damaged = by_one | {"app": good[:-4090] + bytes([good[-4090] ^ 1]) + good[-4089:]}
    assert _causes(inspect_release(_with_images(release, damaged))) == {"secure-boot-signature"}


def _with_images(release: Release, images: dict[str, bytes]) -> Release:
    for name, data in images.items():
        release = with_part(release, name, data=data)
    return release


def test_flash_encryption_is_refused(release: Release):
    """A build with flash encryption is rejected: it would encrypt what the line has verified."""
    enabling = replace(release, configured=replace(release.configured, flash_encryption=True))
    assert "encrypted" in _causes(inspect_release(enabling))


def test_a_release_follows_another(release: Release):
    """In a successor seq grows and the secure version does not decrease."""
    first = replace(release, edition=Edition(seq=2), app=replace(release.app, secure_version=1))
    assert _causes(inspect_successor(replace(first, edition=Edition(seq=2)), first)) == {"seq"}
    lower = replace(first, edition=Edition(seq=3), app=replace(release.app, secure_version=0))
    assert _causes(inspect_successor(lower, first)) == {"secure-version"}
    assert inspect_successor(replace(first, edition=Edition(seq=3)), first) == []
