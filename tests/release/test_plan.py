"""The flash plan: what is written, what is erased, and what is protected."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.product.product import Factory
from rmfab.product.vocabulary import Chip
from rmfab.release.partition_table import SECTOR
from rmfab.release.parts import Part
from rmfab.release.plan import Erase, FlashPlan, make_plan
from rmfab.release.preflight import inspect_release
from rmfab.release.release import Release
from tests.release.partition_csv import table_from_csv

from .conftest import TINY_CSV, tiny_app, tiny_image, with_table

IMAGE = bytes(0x6000)


def test_factory_partition_is_written_whole_and_last(release: Release):
    """The parts come ordered by offset, then the factory image."""
    plan = make_plan(release, Factory(), IMAGE)
    assert [part.name for part in plan.writes] == ["bootloader", "partition-table", "otadata", "app", "fctry"]
    assert (plan.factory.offset, plan.factory.data) == (0x3FA000, IMAGE)


def test_common_parts_are_the_same_objects_in_every_plan(release: Release):
    """All plans share the common parts, so that they are compressed once."""
    first, second = (make_plan(release, Factory(), bytes([n]) * 0x6000) for n in range(2))
    assert first.common is second.common is release.parts


def test_nvs_is_erased_and_otadata_where_the_release_has_none(release: Release, tiny_release: Release):
    """A release with otadata writes it; without, the otadata of an old board is erased."""
    assert make_plan(release, Factory(), IMAGE).erases == (Erase(0x10000, 0x6000, "nvs"),)
    assert make_plan(tiny_release, Factory(), IMAGE).erases == (
        Erase(0x10000, 0x4000, "nvs"),
        Erase(0x14000, 0x2000, "otadata"),
    )


def test_the_product_names_more_to_erase(release: Release):
    """`[factory] erase` adds each partition once; regions that are written are not erased as well."""
    plan = make_plan(release, Factory(erase=("phy_init", "nvs", "ota_0", "phy_init", "fctry")), IMAGE)
    assert plan.erases == (
        Erase(0x10000, 0x6000, "nvs"),
        Erase(0x18000, 0x1000, "phy_init"),
        Erase(0x40000, 0x1C0000, "ota_0"),
    )


@pytest.mark.parametrize(
    ("label", "reason"),
    [("nvs_key", "must not be erased"), ("esp_secure_cert", "must not be erased"), ("storage", 'has no "storage"')],
)
def test_keys_are_never_erased(release: Release, label: str, reason: str):
    """Protected and unknown labels are bad input, with the key path."""
    with pytest.raises(InputError, match=reason) as caught:
        make_plan(release, Factory(erase=(label,)), IMAGE)
    assert caught.value.where == "product.toml: [factory] erase"


KEY_ROWS = [
    ("secrets", "data,nvs_keys"),
    ("certs", "0x3F,0x00"),
    ("certs", "0x3F,0x06"),
    ("esp_secure_cert", "0x40,0x00"),
    ("sec_cert", "data,nvs"),
    ("pre_prov", "data,nvs"),
    ("nvs_keys", "data,0x06"),
    ("ESP_SECURE_CERT", "0x3F,0x06"),
]


@pytest.mark.parametrize(("label", "kind"), KEY_ROWS)
def test_keys_are_known_by_type_and_by_name(release: Release, label: str, kind: str):
    """Keys and secure certificates are protected by their types with any label, and by every known label."""
    other = with_table(release, TINY_CSV + f"{label},{kind},,4K\n")
    with pytest.raises(InputError, match="must not be erased"):
        make_plan(other, Factory(erase=(label,)), IMAGE)
    part = Part("more", other.table.required(label).offset, b"x")
    found = inspect_release(replace(other, parts=(*other.parts, part)))
    assert "part-on-protected" in {one.cause for one in found}


@pytest.mark.parametrize("label", ["sec_cert", "pre_prov"])
def test_a_factory_image_never_replaces_keys(release: Release, label: str):
    """A partition for keys is not the factory partition, even if it is NVS."""
    other = with_table(release, TINY_CSV + f"{label},data,nvs,,24K\n")
    with pytest.raises(InputError, match="contains keys and must not be written"):
        make_plan(other, Factory(partition=label), IMAGE)


@pytest.mark.parametrize(
    ("factory", "size", "where", "reason"),
    [
        (Factory(), 0x3000, "size", "0x3000 bytes.*0x6000"),
        (Factory(partition="factory_data"), 0x6000, "partition", 'no "factory_data"'),
        (Factory(partition="otadata"), 0x2000, "partition", "is not NVS"),
    ],
)
def test_factory_image_must_fit(release: Release, factory: Factory, size: int, where: str, reason: str):
    """A wrong size, a missing partition or one that is not NVS is rejected with the key of product.toml."""
    with pytest.raises(InputError, match=reason) as caught:
        make_plan(release, factory, bytes(size))
    assert caught.value.where == f"product.toml: [factory] {where}"


def test_the_plan_does_not_show_the_unit(release: Release):
    """Neither bytes nor digest of the factory image are in a plan's repr."""
    plan = make_plan(release, Factory(), IMAGE)
    assert plan.factory.sha256 not in repr(plan)
    assert "x00" not in repr(plan)


def _touched(plan: FlashPlan) -> list[tuple[int, int]]:
    """The sectors that writes and erases touch, as ordered ranges."""
    regions = [(part.offset // SECTOR * SECTOR, -(-part.end // SECTOR) * SECTOR) for part in plan.writes]
    return sorted(regions + [(region.offset, region.end) for region in plan.erases])


@given(
    st.lists(st.sampled_from(["nvs", "otadata", "ota_0", "fctry"]), max_size=4),
    st.lists(st.sampled_from([("a", 0x10000), ("b", 0x12000), ("c", 0x14000), ("d", 0x15000)]), unique=True),
    st.integers(1, 0x1000),
)
def test_no_erase_touches_a_write(erase: list[str], more: list[tuple[str, int]], size: int):
    """No sector is both written and erased, and each erased partition is covered completely."""
    parts = [*_tiny_parts(), *(Part(name, offset, bytes(size)) for name, offset in more)]
    release = Release.assemble(Chip.ESP32C3, parts, "x")
    plan = make_plan(release, Factory(erase=tuple(erase)), IMAGE)
    ranges = _touched(plan)
    assert all(left[1] <= right[0] for left, right in pairwise(ranges))
    covered = {at for start, end in ranges for at in range(start, end, SECTOR)}
    for label in {"nvs", "otadata", *erase}:
        row = release.table.required(label)
        assert covered.issuperset(range(row.offset, row.end, SECTOR))


def _tiny_parts() -> list[Part]:
    table = table_from_csv(TINY_CSV, 0xC000, "tiny.csv").encode()
    images = ("app", 0x20000, tiny_app()), ("bootloader", 0, tiny_image(b"boot")), ("partition-table", 0xC000, table)
    return [Part(*image) for image in images]
