"""The build folder of `idf.py build`, read as a release.

Format: ESP-IDF `components/esptool_py/flasher_args.json.in` and `project_description.json`; `config/sdkconfig.json`, if
the folder has it, for the configuration of the firmware. Flash settings come from the bootloader's header, not from
`write_flash_args`, so that its spelling (`--flash_mode` or `--flash-mode`) does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from rmfab.errors import InputError
from rmfab.files import is_safe_name, read_input
from rmfab.json_text import parse_json
from rmfab.product.vocabulary import Chip
from rmfab.release.build_config import UNKNOWN, BuildConfig
from rmfab.release.parts import APP, BOOTLOADER, TABLE, Part
from rmfab.release.release import Release

FLASHER_ARGS = "flasher_args.json"
PROJECT_DESCRIPTION = "project_description.json"
SDKCONFIG = Path("config", "sdkconfig.json")
_MOST_BYTES = 128 << 20  # the largest flash size of an image header


def read_build_folder(folder: Path) -> Release:
    """Return the release in *folder*. Raise InputError, which names the file and the key in it."""
    where = folder / FLASHER_ARGS
    if not where.is_file():
        raise InputError(
            f"no {FLASHER_ARGS} in this folder",
            where=str(folder),
            hint="give the folder `build` of `idf.py build`, or a bundle file",
            cause="no-flasher-args",
        )
    args = _read_json(where)
    chip = _chip(args, where)
    _check_project(folder, chip)
    parts = _parts(args, folder, where)
    sdkconfig = _sdkconfig(folder)
    configured = UNKNOWN if sdkconfig is None else BuildConfig.from_sdkconfig(sdkconfig)
    release = Release.assemble(chip, parts, str(folder), configured=configured)
    _judge_table_offset(folder, sdkconfig or {}, release.table_offset)
    return release


def project_folder(folder: Path) -> Path:
    """Return the source folder of the build in *folder* if the build names it and it exists; else *folder*."""
    path = folder / PROJECT_DESCRIPTION
    named = _read_json(path).get("project_path") if path.is_file() else None
    return Path(named) if isinstance(named, str) and Path(named).is_dir() else folder


def _read_json(path: Path) -> Mapping[str, object]:
    """Return the object in a JSON file. Raise InputError with line and column; a duplicate key is an error."""
    try:
        value = parse_json(read_input(path))
    except ValueError as error:
        raise InputError(f"not the JSON of a build: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise InputError("not the JSON of a build: not an object", where=str(path))
    return value


def _wrong(what: str, where: Path, key: str, *, hint: str | None = None, cause: str | None = None) -> NoReturn:
    raise InputError(what, where=f"{where}: {key}", hint=hint, cause=cause)


def _chip(args: Mapping[str, object], where: Path) -> Chip:
    extra = args.get("extra_esptool_args")
    name = extra.get("chip") if isinstance(extra, dict) else None
    if not isinstance(name, str):
        _wrong("the build does not name a chip", where, "extra_esptool_args.chip")
    chip = next((chip for chip in Chip if chip.value == name), None)
    if chip is None:
        known = ", ".join(known.value for known in Chip)
        _wrong(
            f'unsupported chip "{name}"',
            where,
            "extra_esptool_args.chip",
            hint=f"supported: {known}",
            cause="chip-unknown",
        )
    return chip


def _check_project(folder: Path, chip: Chip) -> None:
    """Check that project_description.json, if there is one, is for the same chip."""
    path = folder / PROJECT_DESCRIPTION
    if not path.is_file():
        return
    target = _read_json(path).get("target", chip.value)
    if target != chip.value:
        _wrong(
            f"the project is for {target}, but {FLASHER_ARGS} for {chip.value}",
            path,
            "target",
            hint="the folder contains files of a different build: run `idf.py fullclean`, then build again",
            cause="chip-mismatch",
        )


def _sdkconfig(folder: Path) -> Mapping[str, object] | None:
    path = folder / SDKCONFIG
    return _read_json(path) if path.is_file() else None


def _judge_table_offset(folder: Path, sdkconfig: Mapping[str, object], table_offset: int) -> None:
    """Check the offset of the table against the configuration, which the bootloader was compiled with."""
    configured = sdkconfig.get("PARTITION_TABLE_OFFSET", table_offset)
    if configured != table_offset:
        said = hex(configured) if isinstance(configured, int) else repr(configured)
        _wrong(
            f"the bootloader expects the partition table at {said}, {FLASHER_ARGS} puts it at 0x{table_offset:x}",
            folder / SDKCONFIG,
            "PARTITION_TABLE_OFFSET",
            hint="the folder contains files of a different build: run `idf.py fullclean`, then build again",
            cause="table-offset",
        )


def _parts(args: Mapping[str, object], folder: Path, where: Path) -> list[Part]:
    """Return the named images, and each other file in `flash_files` under the stem of its name."""
    files = _flash_files(args, where)
    parts = []
    for name, entry in args.items():
        if not (isinstance(entry, dict) and "offset" in entry and "file" in entry):
            continue
        offset = _offset(entry["offset"], where, f"{name}.offset")
        listed = files.pop(offset, entry["file"])
        if listed != entry["file"]:
            _wrong(f'"{name}" is {entry["file"]}, but flash_files has {listed} at its offset', where, f"{name}.file")
        encrypted = _flag(entry.get("encrypted", "false"), where, f"{name}.encrypted")
        parts.append(_part(name, offset, entry["file"], encrypted, folder, where, f"{name}.file"))
    for name in (BOOTLOADER, TABLE, APP):
        if all(part.name != name for part in parts):
            _wrong(
                f"the build has no {name} image",
                where,
                name,
                hint="run `idf.py build`, which makes all three: a build of the app alone is not a release",
                cause="part-missing",
            )
    for offset, file in files.items():
        key = f"flash_files.{offset:#x}"
        parts.append(_part(Path(str(file)).stem, offset, file, False, folder, where, key))
    return parts


def _flash_files(args: Mapping[str, object], where: Path) -> dict[int, object]:
    files = args.get("flash_files", {})
    if not isinstance(files, dict):
        _wrong("not an object of offsets and files", where, "flash_files")
    found: dict[int, object] = {}
    for text, file in files.items():
        offset = _offset(text, where, f"flash_files.{text}")
        if offset in found:
            _wrong(f"two files at 0x{offset:x}", where, f"flash_files.{text}")
        found[offset] = file
    return found


def _offset(value: object, where: Path, key: str) -> int:
    try:
        offset = int(value, 0) if isinstance(value, str) else None
    except ValueError:
        offset = None
    if offset is None or not 0 <= offset < 1 << 32:
        _wrong(f"{value!r} is not an offset such as 0x20000", where, key)
    return offset


def _flag(value: object, where: Path, key: str) -> bool:
    flags: dict[object, bool] = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in flags:
        _wrong(f'{value!r} is neither "true" nor "false"', where, key)
    return flags[value]


def _part(name: str, offset: int, file: object, encrypted: bool, folder: Path, where: Path, key: str) -> Part:
    if not isinstance(file, str) or not file:
        _wrong(f"{file!r} is not the name of a file", where, key)
    if not is_safe_name(name):
        _wrong(f'"{name}" is not a valid part name', where, key)
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        _wrong(f"{file} is outside the build folder", where, key, cause="path-escape")
    if not path.is_file():
        _wrong(
            f"{file} is missing",
            where,
            key,
            hint="run `idf.py build` again, or copy the whole folder",
            cause="part-missing",
        )
    if not 0 < path.stat().st_size <= _MOST_BYTES:
        _wrong(f"{file} has {path.stat().st_size} bytes", where, key, cause="part-size")
    return Part(name, offset, read_input(path, "part of the build"), encrypted=encrypted)
