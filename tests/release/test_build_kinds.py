"""Builds as people have them: every kind gives the release of the folder of `idf.py build` that it was made of."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from esptool.cmds import merge_bin

from rmfab.errors import InputError, IntegrityError
from rmfab.product.vocabulary import Chip
from rmfab.release.build import BuildRequest, make_release
from rmfab.release.build_folder import read_build, read_build_folder
from rmfab.release.opening import open_release
from rmfab.release.release import Release
from rmfab.release.sdkconfig import parse_sdkconfig
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.release.partition_csv import table_from_csv

Edit = Callable[[Callable[[dict], object]], None]
Maker = Callable[[Path, Path], Path]

BOOTLOADER = "bootloader/bootloader.bin"
TABLE = "partition_table/partition-table.bin"
APP = "rmfab-demo.bin"
OTADATA = "ota_data_initial.bin"


def copied(build: Path, target: Path, names: dict[str, str]) -> Path:
    """A folder with files of *build* under other names."""
    target.mkdir(parents=True, exist_ok=True)
    for name, other in names.items():
        (target / other).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build / name, target / other)
    return target


def platformio(build: Path, target: Path) -> Path:
    """The folder of a PlatformIO environment."""
    names = {BOOTLOADER: "bootloader.bin", TABLE: "partitions.bin", APP: "firmware.bin"}
    return copied(build, target / ".pio" / "build" / "lamp", names)


def arduino(build: Path, target: Path) -> Path:
    """What Export Compiled Binary leaves of a sketch whose name has a blank."""
    names = {
        BOOTLOADER: "My Lamp.ino.bootloader.bin",
        TABLE: "My Lamp.ino.partitions.bin",
        APP: "My Lamp.ino.bin",
    }
    return copied(build, target, names)


def arduino_list(build: Path, target: Path) -> Path:
    """The build folder of the Arduino core, which has the arguments of the flash tool."""
    arduino(build, target)
    (target / "flash_args").write_text(
        "--flash_mode dio --flash_freq 80m --flash_size 4MB\n"
        "0x0 My Lamp.ino.bootloader.bin\n0xC000 My Lamp.ino.partitions.bin\n"
        '0x16000 boot_app0.bin\n0x20000 "My Lamp.ino.bin"\n'
    )
    return target


def bare(build: Path, target: Path) -> Path:
    """Three images and nothing else."""
    return copied(build, target, {BOOTLOADER: "bootloader.bin", TABLE: "partition-table.bin", APP: "lamp v2.bin"})


def flat_zip(build: Path, target: Path) -> Path:
    """An archive of a CI job that keeps only the last part of each path."""
    path = target / "artifact.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("flasher_args.json", BOOTLOADER, TABLE, APP, OTADATA):
            archive.write(build / name, Path(name).name)
    return path


def deep_zip(build: Path, target: Path) -> Path:
    """A zip of a whole project."""
    path = target / "project.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("flasher_args.json", BOOTLOADER, TABLE, APP, OTADATA):
            archive.write(build / name, f"./lamp/build\\{name}".replace("\\", "/"))
        archive.writestr("lamp/README.md", "x")
    return path


def merged(build: Path, target: Path) -> Path:
    """An image by esptool."""
    path = target / "firmware.factory.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    args = json.loads((build / "flasher_args.json").read_text())
    files = [(int(offset, 0), str(build / name)) for offset, name in args["flash_files"].items()]
    merge_bin(sorted(files), args["extra_esptool_args"]["chip"], output=str(path))
    return path


def same_firmware(one: Release, other: Release) -> bool:
    """Whether both have the same chip, table offset, and bytes of bootloader, table and app in the same places."""

    def essence(release: Release) -> object:
        parts = {name: release.part(name) for name in ("bootloader", "partition-table", "app")}
        return release.chip, release.table_offset, {name: (one.offset, one.sha256) for name, one in parts.items()}

    return essence(one) == essence(other)


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        (platformio, "PlatformIO"),
        (arduino, "Arduino"),
        (arduino_list, "flash_args"),
        (bare, "separate images"),
        (flat_zip, "flasher_args.json"),
        (deep_zip, "flasher_args.json"),
        (merged, "merged image"),
    ],
)
def test_each_kind_of_build_is_the_same_firmware(build_folder: Path, tmp_path: Path, maker: Maker, words: str):
    """Each kind gives the same images in the same places, says what it is, and becomes a release."""
    path = maker(build_folder, tmp_path / "other")
    release = open_release(path)
    assert same_firmware(release, read_build_folder(build_folder))
    assert words in release.found
    assert make_release(path, BuildRequest(seq=1, make_sbom=False), {}).digest


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32S3, Chip.ESP32C5, Chip.ESP32P4])
@pytest.mark.parametrize("from_bootloader", [False, True])
def test_merged_images_of_each_bootloader_offset(tmp_path: Path, chip: Chip, from_bootloader: bool):
    """A merged image starts at flash offset 0, or at the bootloader (merge-bin --target-offset)."""
    build = make_build_folder(tmp_path / "build", FirmwareRecipe(chip, app_size=0x20000))
    path = merged(build, tmp_path)
    if from_bootloader:
        path.write_bytes(path.read_bytes()[chip.bootloader_offset :])
    release = open_release(path)
    assert same_firmware(release, read_build_folder(build))
    assert release.find("otadata") is None  # blank, and erased by the line


@pytest.mark.parametrize("label", ["nvs", "fctry"])
def test_a_copy_of_a_used_board_is_rejected(build_folder: Path, tmp_path: Path, label: str):
    """A flash dump has the settings or the identity of one board and is not a release."""
    path = merged(build_folder, tmp_path)
    at = read_build_folder(build_folder).table.required(label).offset
    data = path.read_bytes().ljust(4 << 20, b"\xff")
    path.write_bytes(data[:at] + b"\xfe" + data[at + 1 :])
    with pytest.raises(InputError, match=f'"{label}" is not blank') as caught:
        open_release(path)
    assert caught.value.cause == "flash-dump"


def test_one_part_is_not_a_merged_image(build_folder: Path, tmp_path: Path):
    """A bootloader or app alone is rejected with what to give instead."""
    for name in (BOOTLOADER, APP):
        with pytest.raises(InputError, match="one part of a build"):
            open_release(build_folder / name)
    (tmp_path / "x.uf2").write_bytes(b"UF2\n" + bytes(600))
    with pytest.raises(InputError, match="UF2 is not supported"):
        read_build(tmp_path / "x.uf2")
    with pytest.raises(InputError, match="cannot read this build"):
        read_build(tmp_path / "absent")


@pytest.mark.parametrize("cut", [0x100, 0x8000, 0xC010, 0x20100])
def test_merged_images_cut_short(build_folder: Path, tmp_path: Path, cut: int):
    """A truncated merged image is an input error, whichever part the end is in."""
    path = merged(build_folder, tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError):
        read_build(path)


def test_secure_boot_builds_do_not_list_their_bootloader(build_folder: Path, edit: Edit):
    """The bootloader that ESP-IDF leaves out of the list is taken from its usual place, or its option is named."""
    edit(lambda args: (args.pop("bootloader"), args["flash_files"].pop("0x0", args["flash_files"].pop("0x00000", 0))))
    part = read_build_folder(build_folder).part("bootloader")
    assert (part.offset, part.data) == (0, (build_folder / BOOTLOADER).read_bytes())
    (build_folder / BOOTLOADER).unlink()
    with pytest.raises(InputError, match="has no bootloader image") as caught:
        read_build_folder(build_folder)
    assert "CONFIG_SECURE_BOOT_FLASH_BOOTLOADER_DEFAULT" in str(caught.value.hint)


def test_the_spelling_of_idf_4(build_folder: Path, edit: Edit):
    """Until ESP-IDF 4.3 the table is called partition_table, and until 4.0 no chip is named."""
    before = read_build_folder(build_folder)
    (build_folder / "project_description.json").unlink()
    edit(lambda a: (a.update(partition_table=a.pop("partition-table")), a["extra_esptool_args"].pop("chip")))
    assert read_build_folder(build_folder).digest == before.digest


def test_unnamed_files_get_their_roles_from_their_content(build_folder: Path, edit: Edit):
    """A list without names is enough: bootloader, table and app are known by content and place."""
    before = read_build_folder(build_folder)
    edit(lambda args: [args.pop(name) for name in ("bootloader", "partition-table", "app")])
    assert same_firmware(read_build_folder(build_folder), before)


def test_equal_stems_and_names_with_blanks(build_folder: Path, edit: Edit):
    """Files of one name in several folders, and names that no part may have, get names of their own."""
    for name in ("a/web site.bin", "b/web site.bin", "app.bin"):
        (build_folder / name).parent.mkdir(exist_ok=True)
        (build_folder / name).write_bytes(name.encode())
    listed = {"0x3e0000": "a/web site.bin", "0x3e1000": "b\\web site.bin", "0x3e2000": "app.bin"}
    edit(lambda args: args["flash_files"].update(listed))
    release = read_build_folder(build_folder)
    assert [release.part(name).offset for name in ("web-site", "web-site-3e1000", "app-3e2000")] == [
        0x3E0000,
        0x3E1000,
        0x3E2000,
    ]


def test_files_of_the_project_beside_the_build(build_folder: Path, edit: Edit):
    """A path with .. is fine inside the project of the build, and nowhere else."""
    (build_folder.parent / "data.bin").write_bytes(b"data")
    edit(lambda args: args["flash_files"].update({"0x3e0000": "../data.bin"}))
    with pytest.raises(InputError, match="outside the build folder") as caught:
        read_build_folder(build_folder)
    assert caught.value.cause == "path-escape"
    (build_folder.parent / "CMakeLists.txt").touch()
    assert read_build_folder(build_folder).part("data").data == b"data"


def test_absolute_names_of_another_machine(build_folder: Path, edit: Edit):
    """A file that was copied with its build is found by the last part of its path."""
    (build_folder / "data.bin").write_bytes(b"data")
    edit(lambda args: args["flash_files"].update({"0x3e0000": "C:\\ci\\lamp\\data.bin"}))
    assert read_build_folder(build_folder).part("data").offset == 0x3E0000


def test_a_platformio_folder_of_esp_idf(build_folder: Path, tmp_path: Path):
    """PlatformIO leaves the list of ESP-IDF too, whose files have other names there."""
    folder = platformio(build_folder, tmp_path / "project")
    shutil.copy(build_folder / "flasher_args.json", folder)
    release = read_build_folder(folder)
    assert "PlatformIO" in release.found
    assert same_firmware(release, read_build_folder(build_folder))


FAR_CSV = "nvs,data,nvs,0x10000,24K\notadata,data,ota,0x16000,8K\napp0,app,ota_0,0x20000,1M\nspiffs,data,spiffs,,64K\n"


@pytest.fixture
def vague(build_folder: Path, tmp_path: Path) -> Path:
    """A PlatformIO folder with a gap between table and first partition, in a project."""
    folder = platformio(build_folder, tmp_path / "project")
    (folder / "partitions.bin").write_bytes(table_from_csv(FAR_CSV, 0x8000, "far.csv").encode())
    (tmp_path / "project" / "platformio.ini").touch()
    return folder


def _sdkconfig_of_project(folder: Path) -> None:
    (folder.parents[2] / "sdkconfig.lamp").write_text("# no\nCONFIG_PARTITION_TABLE_OFFSET=0x9000\n")


def _sdkconfig_beside(folder: Path) -> None:
    (folder / "sdkconfig").write_text("CONFIG_PARTITION_TABLE_OFFSET=0x9000\n")


def _idedata(folder: Path) -> None:
    images = [{"offset": "0x0000", "path": "/x/bootloader.bin"}, {"offset": "0x9000", "path": "/x/partitions.bin"}]
    (folder / "idedata.json").write_text(json.dumps({"extra": {"flash_images": images}}))


@pytest.mark.parametrize("say", [_sdkconfig_of_project, _sdkconfig_beside, _idedata])
def test_where_the_table_is(vague: Path, say: Callable[[Path], None]):
    """The table's offset is never guessed from a table with a gap: configuration or PlatformIO's list says it."""
    with pytest.raises(InputError, match="do not show where") as caught:
        read_build_folder(vague)
    assert "--table-offset" in str(caught.value.hint)
    say(vague)
    assert read_build_folder(vague).table_offset == 0x9000


def test_the_offset_of_the_table_can_be_stated(vague: Path, build_folder: Path):
    """A stated offset is used if the build does not contain one, and compared if it does."""
    assert read_build(vague, stated_table=0x8000).table_offset == 0x8000
    with pytest.raises(InputError, match="at 0xc000, not 0x8000"):
        read_build(build_folder, stated_table=0x8000)


def test_the_file_system_of_platformio(vague: Path):
    """A file system image goes where PlatformIO uploads it."""
    _sdkconfig_beside(vague)
    (vague / "littlefs.bin").write_bytes(b"files")
    release = read_build_folder(vague)
    assert release.part("filesystem").offset == release.table.required("spiffs").offset


def test_a_parent_folder_suggests_the_build_inside(build_folder: Path, tmp_path: Path):
    """A folder that is not a build names the builds in it."""
    pio = platformio(build_folder, tmp_path / "project")
    with pytest.raises(InputError, match="not a build") as caught:
        open_release(tmp_path)
    assert str(build_folder) in str(caught.value.hint)
    with pytest.raises(InputError) as caught:
        open_release(tmp_path / "project")
    assert str(pio) in str(caught.value.hint)


def test_two_builds_are_not_chosen_from(build_folder: Path, tmp_path: Path):
    """A folder or zip with several builds is rejected with their names."""
    folder = arduino(build_folder, tmp_path / "two")
    for name in list(folder.iterdir()):
        shutil.copy(name, folder / name.name.replace("Lamp", "Fan"))
    with pytest.raises(InputError, match="several builds"):
        open_release(folder)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for root in ("a", "b"):
            archive.write(build_folder / "flasher_args.json", f"{root}/flasher_args.json")
    with pytest.raises(InputError, match="several builds: a, b"):
        open_release(tmp_path / "two.zip")


def test_damaged_and_hostile_zips(build_folder: Path, tmp_path: Path):
    """A zip that is cut, has names twice, or only other files is an input error; nothing is unpacked."""
    whole = flat_zip(build_folder, tmp_path).read_bytes()
    path = tmp_path / "bad.zip"
    for data in (whole[:1000], whole[:-10], whole.replace(b"rmfab-demo.bin", b"bootloader.bin"), b"PK\3\4"):
        path.write_bytes(data)
        with pytest.raises(InputError):
            open_release(path)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(InputError):
        open_release(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.bin", b"x")
        archive.writestr("lamp.rmfab", b"x")
    with pytest.raises(InputError, match="not a build") as caught:
        open_release(path)
    assert "lamp.rmfab" in str(caught.value.hint)
    assert not (tmp_path.parent.parent / "evil.bin").exists()


def test_a_zip_bomb_is_not_inflated(build_folder: Path, tmp_path: Path):
    """A file that inflates beyond the largest flash is rejected."""
    path = flat_zip(build_folder, tmp_path)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb, zipfile.ZipFile(path) as source:
        for name in source.namelist():
            if name != OTADATA:
                bomb.writestr(name, source.read(name))
        with bomb.open(OTADATA, "w", force_zip64=True) as stream:
            for _ in range(130):
                stream.write(bytes(1 << 20))
    with pytest.raises(InputError, match="bytes or more"):
        open_release(tmp_path / "bomb.zip")


def test_a_bundle_with_an_image_byte_is_a_bundle(tmp_path: Path):
    """Only blank flash may precede the bootloader of a merged image: other files are read as bundles."""
    path = tmp_path / "x.rmfab"
    path.write_bytes(b"manifest.json".ljust(0x1000, b"\0") + b"\xe9" + bytes(5000))
    with pytest.raises((InputError, IntegrityError)) as caught:
        open_release(path)
    assert caught.value.cause in ("no-bundle", "bundle-altered")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("CONFIG_A=y", {"A": True}),
        ("# CONFIG_A is not set", {"A": False}),
        ('CONFIG_A="x \\"y\\""', {"A": 'x "y"'}),
        ("CONFIG_A=0xC000", {"A": 0xC000}),
        ("CONFIG_A=-5\r", {"A": -5}),
        ("# A comment", {}),
        ("A=y", {}),
        ("CONFIG_A=" + "9" * 5000, {}),
    ],
)
def test_lines_of_sdkconfig(line: str, values: dict):
    """Each kind of line of the text file gives the value of the JSON file."""
    assert parse_sdkconfig(f"\n{line}\n") == values


def test_names_that_no_file_can_have(build_folder: Path, edit: Edit):
    """Names too long for the file system, or with NUL, are missing files."""
    for name in ("x" * 5000, "a\0b"):
        edit(lambda args, name=name: args["flash_files"].update({"0x3e0000": name}))
        with pytest.raises(InputError, match=r"missing|outside"):
            read_build_folder(build_folder)


@pytest.mark.skipif(os.name == "nt", reason="file modes")
def test_links_out_of_the_project(build_folder: Path, tmp_path: Path, edit: Edit):
    """A link in the project does not lead out of it."""
    (tmp_path / "CMakeLists.txt").touch()
    (tmp_path / "link.bin").symlink_to("/etc/hostname")
    edit(lambda args: args["flash_files"].update({"0x3e0000": "../link.bin"}))
    with pytest.raises(InputError, match="outside"):
        read_build_folder(build_folder)
