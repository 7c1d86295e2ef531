"""Reading ESP-IDF build folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.build_folder import read_build_folder
from rmfab.release.opening import open_release

Edit = Callable[[Callable[[dict], object]], None]


def test_reads_parts_table_and_app(build_folder: Path):
    """The parts come from flasher_args.json, everything else from the images."""
    release = read_build_folder(build_folder)
    assert release.chip is Chip.ESP32C3
    assert [(part.name, part.offset) for part in release.parts] == [
        ("bootloader", 0),
        ("partition-table", 0xC000),
        ("otadata", 0x16000),
        ("app", 0x20000),
    ]
    assert (release.table_offset, release.table.required("fctry").offset) == (0xC000, 0x3FA000)
    assert (release.app.project, release.app.version, release.idf_version) == ("rmfab-demo", "1.0.0", "v5.5.1")
    assert (release.flash_size, release.flash_mode, release.flash_freq) == (4 << 20, "dio", "80m")
    assert (release.min_revision, release.max_revision) == (3, 199)
    assert release.source == str(build_folder)


def _idf5(args: dict) -> None:
    """The spelling of ESP-IDF 4 and 5."""
    args["write_flash_args"] = ["--flash_mode", "dio", "--flash_size", "4MB", "--flash_freq", "80m"]
    args["extra_esptool_args"].update(after="hard_reset", before="default_reset")


def _upside_down(args: dict) -> None:
    for key, value in reversed(list(args.items())):
        args[key] = dict(reversed(value.items())) if isinstance(args.pop(key), dict) else value


def _capitals(args: dict) -> None:
    args["flash_files"] = {key.upper().replace("X", "x"): value for key, value in args["flash_files"].items()}


@pytest.mark.parametrize("change", [_idf5, _upside_down, _capitals, lambda args: args.pop("flash_files")])
def test_spelling_and_order_do_not_matter(build_folder: Path, edit: Edit, change: Callable[[dict], object]):
    """Both spellings, any order of keys and any case of hex give the same release."""
    before = read_build_folder(build_folder).digest
    edit(change)
    assert read_build_folder(build_folder).digest == before


def test_a_file_without_a_name_of_its_own_is_a_part_too(build_folder: Path, edit: Edit):
    """A file that only flash_files lists becomes a part named by the stem of the file."""
    (build_folder / "storage.bin").write_bytes(b"data")
    edit(lambda args: args["flash_files"].update({"0x3e0000": "storage.bin"}))
    assert read_build_folder(build_folder).part("storage").offset == 0x3E0000


def test_encrypted_is_a_string(build_folder: Path, edit: Edit):
    """ESP-IDF writes "true" and "false" as strings."""
    edit(lambda args: args["app"].update(encrypted="true"))
    parts = {part.name: part.encrypted for part in read_build_folder(build_folder).parts}
    assert parts == {"bootloader": False, "partition-table": False, "otadata": False, "app": True}


def test_the_configured_table_offset_is_compared(build_folder: Path):
    """sdkconfig.json contains the offset at which the bootloader expects the table."""
    path = build_folder / "config" / "sdkconfig.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"PARTITION_TABLE_OFFSET": 49152}')
    read_build_folder(build_folder)
    path.write_text('{"PARTITION_TABLE_OFFSET": 32768}')
    with pytest.raises(InputError, match="expects the partition table at 0x8000"):
        read_build_folder(build_folder)


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        (lambda a: (a.pop("flash_files"), a.pop("app")), "app", "has no app image"),
        (
            lambda a: (a.pop("flash_files"), a.pop("partition-table")),
            "partition-table",
            "has no partition-table image",
        ),
        (lambda a: a["extra_esptool_args"].update(chip="esp8266"), "extra_esptool_args.chip", '"esp8266"'),
        (lambda a: a["app"].update(offset=131072), "app.offset", "is not an offset"),
        (lambda a: a["app"].update(offset="0x20000000000"), "app.offset", "is not an offset"),
        (lambda a: a["app"].update(offset="here"), "app.offset", "is not an offset"),
        (lambda a: a["app"].update(encrypted="maybe"), "app.encrypted", "neither"),
        (lambda a: a.update(flash_files=[]), "flash_files", "not an object"),
        (lambda a: a["flash_files"].update({"131072": "other.bin"}), "flash_files.131072", "two files at"),
        (
            lambda a: a["flash_files"].update({"0x20000": "other.bin"}),
            "app.file",
            "flash_files has other.bin at its offset",
        ),
        (lambda a: (a.pop("flash_files"), a["app"].update(file=7)), "app.file", "not the name of a file"),
        (lambda a: (a.pop("flash_files"), a["app"].update(file="no.bin")), "app.file", "no.bin is missing"),
        (lambda a: (a.pop("flash_files"), a["app"].update(file="../x.bin")), "app.file", "outside the build"),
        (lambda a: (a.pop("flash_files"), a["app"].update(file="/etc/passwd")), "app.file", "outside the build"),
    ],
)
def test_faults_name_file_and_key(
    build_folder: Path, edit: Edit, change: Callable[[dict], object], key: str, reason: str
):
    """Every fault in flasher_args.json names the file and the key path."""
    edit(change)
    with pytest.raises(InputError) as caught:
        read_build_folder(build_folder)
    assert caught.value.where == f"{build_folder / 'flasher_args.json'}: {key}"
    assert reason in caught.value.what


def test_a_link_out_of_the_folder_is_refused(build_folder: Path, tmp_path: Path):
    """A symbolic link out of the folder is rejected."""
    (tmp_path / "elsewhere.bin").write_bytes((build_folder / "rmfab-demo.bin").read_bytes())
    (build_folder / "rmfab-demo.bin").unlink()
    (build_folder / "rmfab-demo.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(InputError, match="outside the build"):
        read_build_folder(build_folder)


def test_no_flasher_args(tmp_path: Path):
    """A folder that `idf.py build` did not make is rejected, with a hint which folder to use."""
    with pytest.raises(InputError, match=r"no flasher_args\.json") as caught:
        open_release(tmp_path)
    assert "idf.py build" in str(caught.value.hint)


@pytest.mark.parametrize("text", [" ", "[]", "{", '{"a": 1, "a": 2}', "\xff", "[" * 100_000])
def test_no_json(build_folder: Path, text: str):
    """Text that is not a JSON object, or has a duplicate key, is an input error with the file's name."""
    (build_folder / "flasher_args.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="not the JSON of a build") as caught:
        read_build_folder(build_folder)
    assert caught.value.where == str(build_folder / "flasher_args.json")


def test_project_of_another_chip(build_folder: Path):
    """project_description.json and flasher_args.json must be for the same chip."""
    path = build_folder / "project_description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target": "esp32"}))
    with pytest.raises(InputError, match=r"project is for esp32, but flasher_args\.json for esp32c3"):
        read_build_folder(build_folder)
    path.unlink()
    read_build_folder(build_folder)


@pytest.mark.parametrize(
    ("file", "size", "cause"),
    [
        ("rmfab-demo.bin", 1000, "image-short"),
        ("bootloader/bootloader.bin", 8000, "image-short"),
        ("partition_table/partition-table.bin", 64, "table-end"),
        ("ota_data_initial.bin", 0, "part-size"),
    ],
)
def test_parts_cut_short(build_folder: Path, file: str, size: int, cause: str):
    """A truncated part is rejected with its name."""
    path = build_folder / file
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError) as caught:
        read_build_folder(build_folder)
    assert caught.value.cause == cause
    assert str(build_folder) in str(caught.value.where)


def test_app_without_descriptor(build_folder: Path):
    """An app without a descriptor is rejected: it could not be checked after flashing."""
    bootloader = (build_folder / "bootloader" / "bootloader.bin").read_bytes()
    (build_folder / "rmfab-demo.bin").write_bytes(bootloader)
    with pytest.raises(InputError, match="no descriptor"):
        read_build_folder(build_folder)
