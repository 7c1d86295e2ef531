"""`flasher_args.json` of `idf.py build`: which file of the build goes where.

Format: ESP-IDF `components/esptool_py/flasher_args.json.in`. Flash settings come from the bootloader's header, not from
`write_flash_args`, so that its spelling (`--flash_mode` or `--flash-mode`) does not matter. The partition table is
`partition_table` until ESP-IDF 4.3. A build with secure boot does not list its bootloader, unless
CONFIG_SECURE_BOOT_FLASH_BOOTLOADER_DEFAULT is set: it is meant to be flashed once, by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.build_files import BuildFiles
from rmfab.release.build_json import read_json
from rmfab.release.parts import APP, BOOTLOADER, TABLE
from rmfab.release.placed import Placed, image_chip, safe_name, with_roles

FLASHER_ARGS = "flasher_args.json"
PROJECT_DESCRIPTION = "project_description.json"

_ROLES = {"partition_table": TABLE}
_BOOTLOADER_FILE = "bootloader/bootloader.bin"
_BOOTLOADER_OPTION = "CONFIG_SECURE_BOOT_FLASH_BOOTLOADER_DEFAULT"


def read_flasher_args(files: BuildFiles) -> tuple[Chip, list[Placed]]:
    """Return the chip of a build and its files. Raise InputError, which names the file and the key in it."""
    args = read_json(files, FLASHER_ARGS)
    chip = _chip(args, files)
    placed = _placed(args, files)
    if chip is None:
        chip = next(filter(None, (image_chip(one.data) for one in placed)), None)
    if chip is None:
        raise _wrong("the build does not name a chip", files, "extra_esptool_args.chip")
    placed = with_roles(placed, chip)
    if all(one.role != BOOTLOADER for one in placed) and files.has(_BOOTLOADER_FILE):
        data = files.read(_BOOTLOADER_FILE, files.place(_BOOTLOADER_FILE))
        placed.append(Placed(_BOOTLOADER_FILE, chip.bootloader_offset, data, BOOTLOADER))
    _check_complete(placed, files)
    return chip, placed


def lists_its_app(files: BuildFiles) -> bool:
    """Return whether the app that flasher_args.json names is there; PlatformIO gives it a name of its own."""
    entry = read_json(files, FLASHER_ARGS).get(APP)
    name = entry.get("file") if isinstance(entry, dict) else None
    return not isinstance(name, str) or files.has(name)


def table_offset(files: BuildFiles) -> int | None:
    """Return the offset of the partition table in flasher_args.json, None if it has none."""
    args = read_json(files, FLASHER_ARGS)
    found = [(key, entry) for key, entry in _images(args) if _ROLES.get(key, key) == TABLE]
    return _offset(found[0][1]["offset"], files, f"{found[0][0]}.offset") if found else None


def _check_complete(placed: list[Placed], files: BuildFiles) -> None:
    for name in (BOOTLOADER, TABLE, APP):
        if any(one.role == name for one in placed):
            continue
        hint = "run `idf.py build`, which makes all three: a build of the app alone is not a release"
        if name == BOOTLOADER:
            hint = f"copy {_BOOTLOADER_FILE} into the folder; with secure boot, {_BOOTLOADER_OPTION} lists it"
        raise _wrong(f"the build has no {name} image", files, name, hint=hint, cause="part-missing")


def _wrong(what: str, files: BuildFiles, key: str, *, hint: str | None = None, cause: str | None = None) -> InputError:
    return InputError(what, where=_where(files, key), hint=hint, cause=cause)


def _where(files: BuildFiles, key: str, name: str = FLASHER_ARGS) -> str:
    return f"{files.place(name)}: {key}"


def _chip(args: Mapping[str, object], files: BuildFiles) -> Chip | None:
    """Return the chip that the build names, None if it names none."""
    extra = args.get("extra_esptool_args")
    said = extra.get("chip") if isinstance(extra, dict) else None
    described = read_json(files, PROJECT_DESCRIPTION) if files.has(PROJECT_DESCRIPTION) else {}
    target = described.get("target")
    chip = _known_chip(target if said is None else said, files)
    if chip is not None and target not in (None, chip.value):
        raise InputError(
            f"the project is for {target}, but {FLASHER_ARGS} for {chip.value}",
            where=_where(files, "target", PROJECT_DESCRIPTION),
            hint="the folder contains files of a different build: run `idf.py fullclean`, then build again",
            cause="chip-mismatch",
        )
    return chip


def _known_chip(name: object, files: BuildFiles) -> Chip | None:
    chip = next((chip for chip in Chip if chip.value == name), None)
    if chip is None and name is not None:
        raise _wrong(
            f'unsupported chip "{name}"',
            files,
            "extra_esptool_args.chip",
            hint=f"supported: {', '.join(known.value for known in Chip)}",
            cause="chip-unknown",
        )
    return chip


def _placed(args: Mapping[str, object], files: BuildFiles) -> list[Placed]:
    """Return the named images, then the other files in `flash_files`."""
    listed = _flash_files(args, files)
    placed = []
    for key, entry in _images(args):
        offset, file = _offset(entry["offset"], files, f"{key}.offset"), entry["file"]
        other = listed.pop(offset, file)
        if other != file:
            what = f'"{key}" is {file}, but flash_files has {other} at its offset'
            raise _wrong(what, files, f"{key}.file")
        encrypted = _flag(entry.get("encrypted", "false"), files, f"{key}.encrypted")
        role = _ROLES.get(key, safe_name(key))
        placed.append(_file(files, file, f"{key}.file", offset, role, encrypted))
    placed += [_file(files, file, f"flash_files.{offset:#x}", offset) for offset, file in listed.items()]
    return placed


def _images(args: Mapping[str, object]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the objects that describe one image each, by their keys."""
    return [
        (key, entry) for key, entry in args.items() if isinstance(entry, dict) and "offset" in entry and "file" in entry
    ]


def _file(
    files: BuildFiles, name: object, key: str, offset: int, role: str | None = None, encrypted: bool = False
) -> Placed:
    if not isinstance(name, str) or not name:
        raise _wrong(f"{name!r} is not the name of a file", files, key)
    return Placed(name, offset, files.read(name, _where(files, key)), role, encrypted)


def _flash_files(args: Mapping[str, object], files: BuildFiles) -> dict[int, object]:
    listed = args.get("flash_files", {})
    if not isinstance(listed, dict):
        raise _wrong("not an object of offsets and files", files, "flash_files")
    found: dict[int, object] = {}
    for text, file in listed.items():
        offset = _offset(text, files, f"flash_files.{text}")
        if offset in found:
            raise _wrong(f"two files at 0x{offset:x}", files, f"flash_files.{text}")
        found[offset] = file
    return found


def _offset(value: object, files: BuildFiles, key: str) -> int:
    try:
        offset = int(value, 0) if isinstance(value, str) else None
    except ValueError:
        offset = None
    if offset is None or not 0 <= offset < 1 << 32:
        raise _wrong(f"{value!r} is not an offset such as 0x20000", files, key)
    return offset


def _flag(value: object, files: BuildFiles, key: str) -> bool:
    flags: dict[object, bool] = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in flags:
        raise _wrong(f'{value!r} is neither "true" nor "false"', files, key)
    return flags[value]
