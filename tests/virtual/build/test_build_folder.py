"""The firmware that virtual boards run, checked by esptool."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from esptool.bin_image import LoadFirmwareImage

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip, QrForm, Security, Transport
from rmfab.release.app_image import AppImage
from rmfab.release.partition_table import PartitionTable
from rmfab.release.preflight import inspect_release
from rmfab.release.opening import open_release
from rmfab.virtual.build.build_folder import make_app, make_bootloader, make_build_folder, rainmaker_table
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.virtual.rig import recipe
from rmfab.virtual.firmware.markers import (
    MARKER,
    BootloaderFacts,
    FirmwareFacts,
    marker_block,
    read_bootloader_facts,
    read_facts,
    texts_of,
)

APP_SIZE = 0x20000


@pytest.mark.parametrize("chip", list(Chip))
def test_a_release_for_every_chip(chip: Chip, tmp_path: Path):
    """For each chip, the folder is a release that preflight accepts."""
    release = open_release(make_build_folder(tmp_path / "build", FirmwareRecipe(chip, app_size=APP_SIZE)))
    assert release.chip is chip
    assert inspect_release(release) == []
    assert release.bootloader_image.bootloader is not None
    assert release.table == rainmaker_table()


@pytest.mark.parametrize(
    ("chip", "title"),
    [
        (Chip.ESP32, "ESP32"),
        (Chip.ESP32S3, "ESP32-S3"),
        (Chip.ESP32C3, "ESP32-C3"),
        (Chip.ESP32C6, "ESP32-C6"),
    ],
)
def test_esptools_own_command_describes_it(chip: Chip, title: str, tmp_path: Path):
    """`esptool image-info` accepts the app and prints project, version and valid checksums."""
    path = tmp_path / "app.bin"
    path.write_bytes(make_app(chip, "lamp", "1.4.0", FirmwareFacts(), app_size=APP_SIZE))
    arguments = [sys.executable, "-m", "esptool", "--chip", chip.value, "image-info", str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    for line in ("Project name: lamp", "App version: 1.4.0", "ESP-IDF: v5.5.1", f"({title})", "Flash size: 4MB"):
        assert line in done.stdout
    assert done.stdout.count("(valid)") == 2
    assert "WARNING" not in done.stdout + done.stderr


@pytest.mark.parametrize("chip", list(Chip))
@pytest.mark.parametrize("size", [APP_SIZE, 0x40010, 0x1E0000])
def test_segments_lie_where_the_chip_has_memory(chip: Chip, size: int):
    """Mapped segments are in the file as in their MMU page, and share no page; the others load into RAM."""
    image = LoadFirmwareImage(chip.value, make_app(chip, "p", "1", FirmwareFacts(), app_size=size))
    mapped = [segment for segment in image.segments if image.is_flash_addr(segment.addr)]
    kinds = [segment.get_memory_type(image) for segment in image.segments]
    assert ["DROM" in kinds[0], "DRAM" in kinds[1], "IROM" in kinds[2], "IRAM" in kinds[3]] == [True] * 4
    assert mapped == [image.segments[0], image.segments[2]]
    for segment in mapped:
        assert (segment.file_offs + 8) % 0x10000 == segment.addr % 0x10000
    ranges = sorted((s.addr // 0x10000, (s.addr + len(s.data) - 1) // 0x10000) for s in mapped)
    assert all(left[1] < right[0] for left, right in pairwise(ranges))
    loaded = sorted((s.addr, s.addr + len(s.data)) for s in image.segments if s not in mapped)
    assert all(left[1] <= right[0] for left, right in pairwise(loaded))
    assert any(start <= image.entrypoint < end for start, end in loaded)


@pytest.mark.parametrize("chip", list(Chip))
def test_bootloaders_load_into_ram(chip: Chip):
    """Both segments load into RAM, the entry is in the code, and the descriptor comes first."""
    data = make_bootloader(chip, 16 << 20)
    image = LoadFirmwareImage(chip.value, data)
    kinds = [segment.get_memory_type(image) for segment in image.segments]
    assert ["DRAM" in kinds[0], "IRAM" in kinds[1]] == [True] * 2
    code = image.segments[1]
    assert code.addr <= image.entrypoint < code.addr + len(code.data)
    assert not image.segments[0].addr < code.addr < image.segments[0].addr + len(image.segments[0].data)
    parsed = AppImage.parse(data, "bootloader.bin")
    assert parsed.flash_size == 16 << 20
    assert parsed.bootloader is not None
    assert (parsed.bootloader.idf_version, parsed.descriptor) == ("v5.5.1", None)
    assert chip.bootloader_offset + len(data) <= 0xC000


def test_same_arguments_same_bytes(tmp_path: Path):
    """Only the arguments decide the bytes; a different seed fills the app differently."""
    first, second = (make_build_folder(tmp_path / name, FirmwareRecipe(Chip.ESP32, app_size=APP_SIZE)) for name in "ab")
    for path in sorted(first.rglob("*.*")):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()
    make_build_folder(first, FirmwareRecipe(Chip.ESP32, app_size=APP_SIZE))
    with pytest.raises(InputError, match="exists with different content"):
        make_build_folder(first, FirmwareRecipe(Chip.ESP32, app_size=APP_SIZE, seed=1))


def test_app_is_as_long_as_asked_and_compresses_like_firmware():
    """The app compresses to about 60 % of its size."""
    data = make_app(Chip.ESP32C3, "p", "1", FirmwareFacts(), app_size=1 << 20)
    assert len(data) == AppImage.parse(data, "x").length == 1 << 20
    assert 0.55 < len(zlib.compress(data, 9)) / len(data) < 0.65


@pytest.mark.parametrize("size", [0, 0x10000, APP_SIZE + 8, 0x1E0010])
def test_sizes_that_cannot_be(size: int):
    """An app too small for its segments, not a multiple of 16 bytes, or larger than its partition is rejected."""
    with pytest.raises(InputError, match="cannot make an app"):
        make_app(Chip.ESP32C3, "p", "1", FirmwareFacts(), app_size=size)


def test_texts_and_flash_sizes_that_cannot_be():
    """A descriptor's fields have room for 31 bytes; a header has only powers of two for the flash size."""
    with pytest.raises(InputError, match="too long"):
        make_app(Chip.ESP32C3, "p" * 32, "1", FirmwareFacts())
    with pytest.raises(InputError, match="cannot state a flash size"):
        make_bootloader(Chip.ESP32C3, 3 << 20)


FACTS = [
    FirmwareFacts(),
    FirmwareFacts(Security.PLAIN, Transport.SOFTAP, "LÄMP", QrForm.COMPACT, console=False),
    FirmwareFacts(security=Security.X25519),
    FirmwareFacts(claim=False, idf_version="v5.0.8", ch_resp=False, prints_qr=False, confirms=False, rollback=False),
    FirmwareFacts(first_ch_resp=True),
]


@pytest.mark.parametrize("facts", FACTS)
def test_facts_read_back(facts: FirmwareFacts):
    """The compile options of the firmware are found in the app, alone or in a partition."""
    app = make_app(Chip.ESP32C6, "p", "1", facts, app_size=APP_SIZE)
    assert read_facts(app) == facts
    assert read_facts(app + b"\xff" * 4096) == facts


def test_firmware_of_others_shows_itself_by_its_texts():
    """Without a marker block, an app with RainMaker's texts is stock RainMaker, and any other does nothing."""
    assert read_facts(texts_of(FirmwareFacts())) == FirmwareFacts(Security.SRP6A, Transport.BLE, "PROV", QrForm.JSON)
    assert read_facts(bytes(1000)) == FirmwareFacts(rainmaker=False)


@pytest.mark.parametrize(
    "block",
    [
        MARKER,
        MARKER + b"\x10\x00",
        MARKER + struct.pack("<H", 2) + b"{}",
        MARKER + struct.pack("<H", 4) + b"null",
        marker_block(FACTS[0]).replace(b"ble", b"usb"),
    ],
)
def test_a_damaged_marker_is_an_input_error(block: bytes):
    """An invalid marker block is an error."""
    with pytest.raises(InputError, match="marker block"):
        read_facts(b"\0" * 40 + block)


@pytest.mark.parametrize("rollback", [True, False])
def test_a_bootloader_tells_whether_it_has_rollback(rollback: bool):
    """The bootloader's image contains whether it has rollback, at the same length; a foreign bootloader has none."""
    data = make_bootloader(Chip.ESP32C6, 4 << 20, BootloaderFacts(rollback))
    assert AppImage.parse(data, "bootloader.bin").bootloader is not None
    assert len(data) == len(make_bootloader(Chip.ESP32C6, 4 << 20))
    assert read_bootloader_facts(data).rollback is rollback
    assert read_bootloader_facts(bytes(1000)).rollback is False


def test_a_damaged_bootloader_marker_is_an_input_error():
    """An invalid marker block of a bootloader is an error."""
    with pytest.raises(InputError, match="marker block"):
        read_bootloader_facts(make_bootloader(Chip.ESP32, 4 << 20).replace(b"rollback", b"rollbock"))


def test_elf_digest_follows_the_content():
    """Two different firmwares have two ELF digests, as two builds have."""
    facts = FACTS[0]
    apps = [make_app(Chip.ESP32, "p", "1", f, app_size=APP_SIZE) for f in (facts, replace(facts, console=False))]
    descriptors = [AppImage.parse(app, "x").descriptor for app in apps]
    assert len({descriptor.elf_sha256 for descriptor in descriptors}) == 2


def test_the_folder_looks_like_idfs(tmp_path: Path):
    """Files and keys are where ESP-IDF's build system puts them."""
    folder = make_build_folder(tmp_path / "build", FirmwareRecipe(Chip.ESP32, project="lamp", app_size=APP_SIZE))
    args = json.loads((folder / "flasher_args.json").read_text())
    assert args["flash_files"] == {
        "0x1000": "bootloader/bootloader.bin",
        "0x20000": "lamp.bin",
        "0xc000": "partition_table/partition-table.bin",
        "0x16000": "ota_data_initial.bin",
    }
    assert args["app"] == {"offset": "0x20000", "file": "lamp.bin", "encrypted": "false"}
    assert args["write_flash_args"] == ["--flash-mode", "dio", "--flash-size", "4MB", "--flash-freq", "40m"]
    assert json.loads((folder / "project_description.json").read_text())["target"] == "esp32"
    table = PartitionTable.parse((folder / "partition_table" / "partition-table.bin").read_bytes(), "t")
    assert (table.required("fctry").offset, table.required("fctry").size) == (0x3FA000, 0x6000)
    assert (folder / "ota_data_initial.bin").read_bytes() == b"\xff" * 0x2000


SDKCONFIGS = {
    "security 2 over BLE": (
        {},
        {
            "APP_PROV_SECURITY_VERSION_1": False,
            "APP_PROV_SECURITY_VERSION_2": True,
            "APP_NETWORK_PROV_TRANSPORT_BLE": True,
            "APP_NETWORK_PROV_TRANSPORT_SOFTAP": False,
            "APP_NETWORK_PROV_NAME_PREFIX": "PROV",
            "APP_NETWORK_PROV_COMPACT_QR": False,
            "APP_NETWORK_PROV_SHOW_QR": True,
            "BOOTLOADER_APP_ROLLBACK_ENABLE": True,
            "BOOTLOADER_APP_ANTI_ROLLBACK": False,
            "SECURE_BOOT": False,
            "SECURE_FLASH_ENC_ENABLED": False,
            "PARTITION_TABLE_OFFSET": 0xC000,
            "IDF_TARGET": "esp32c3",
        },
    ),
    "security 1 over SoftAP": (
        {"security": Security.X25519, "transport": Transport.SOFTAP, "qr": QrForm.COMPACT},
        {
            "APP_PROV_SECURITY_VERSION_1": True,
            "APP_PROV_SECURITY_VERSION_2": False,
            "APP_NETWORK_PROV_TRANSPORT_SOFTAP": True,
            "APP_NETWORK_PROV_COMPACT_QR": True,
        },
    ),
    "security 0": (
        {"security": Security.PLAIN, "rollback": False},
        {
            "APP_PROV_SECURITY_VERSION_1": False,
            "APP_PROV_SECURITY_VERSION_2": False,
            "BOOTLOADER_APP_ROLLBACK_ENABLE": False,
        },
    ),
    "anti-rollback and secure boot": (
        {"secure_version": 3, "secure_boot": True},
        {
            "BOOTLOADER_APP_ANTI_ROLLBACK": True,
            "BOOTLOADER_APP_SECURE_VERSION": 3,
            "SECURE_BOOT": True,
            "SECURE_BOOT_V2_ENABLED": True,
        },
    ),
}


@pytest.mark.parametrize("case", SDKCONFIGS)
def test_the_configuration_says_what_the_images_are(case: str, tmp_path: Path):
    """`config/sdkconfig.json` matches the arguments; options that depend on a switched-off option are absent."""
    options, expected = SDKCONFIGS[case]
    folder = make_build_folder(tmp_path / "build", recipe(Chip.ESP32C3, app_size=APP_SIZE, **options))
    values = json.loads((folder / "config" / "sdkconfig.json").read_text())
    assert expected == {key: values.get(key) for key in expected}
    assert ("BOOTLOADER_APP_SECURE_VERSION" in values) == values["BOOTLOADER_APP_ANTI_ROLLBACK"]
    assert ("SECURE_BOOT_V2_ENABLED" in values) == values["SECURE_BOOT"]
    assert values["BOOTLOADER_APP_ROLLBACK_ENABLE"] == read_facts((folder / "rmfab-demo.bin").read_bytes()).rollback


def test_a_secure_version_stands_in_the_descriptor(tmp_path: Path):
    """The app contains its secure version, which ESP-IDF supports only with rollback."""
    folder = make_build_folder(tmp_path / "build", FirmwareRecipe(Chip.ESP32C3, app_size=APP_SIZE, secure_version=3))
    descriptor = AppImage.parse((folder / "rmfab-demo.bin").read_bytes(), "app").descriptor
    assert descriptor is not None
    assert descriptor.secure_version == 3
    with pytest.raises(InputError, match="needs rollback"):
        make_build_folder(tmp_path / "other", recipe(Chip.ESP32C3, app_size=APP_SIZE, secure_version=3, rollback=False))
