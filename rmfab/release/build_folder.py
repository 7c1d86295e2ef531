"""A build as people have it: a folder, a zip of one, or a merged image, read as a release.

Known are the folders of ESP-IDF (`flasher_args.json`), of the Arduino core (`flash_args`, or the files of Export
Compiled Binary) and of PlatformIO. The configuration of the firmware comes from `config/sdkconfig.json` or `sdkconfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.product.vocabulary import Chip
from rmfab.release.build_config import UNKNOWN, BuildConfig
from rmfab.release.build_files import Archive, BuildFiles, FolderFiles, ZipFiles, builds_below
from rmfab.release.build_json import read_json
from rmfab.release.flash_list import FLASH_ARGS, read_flash_list
from rmfab.release.flasher_args import (
    FLASHER_ARGS,
    PROJECT_DESCRIPTION,
    lists_its_app,
    read_flasher_args,
    table_offset,
)
from rmfab.release.merged_image import read_merged
from rmfab.release.parts import APP
from rmfab.release.placed import Placed, image_chip, to_parts
from rmfab.release.release import Release
from rmfab.release.sdkconfig import SDKCONFIG, project_names, read_sdkconfig
from rmfab.release.separate_images import ImageNames, find_images, read_images

_TABLE_OPTION = "PARTITION_TABLE_OFFSET"
_MOST_NAMED = 5
_MOST_ZIP = 256 << 20
ZIP_MAGIC = b"PK\3\4"


def read_build(path: Path, *, stated_table: int | None = None) -> Release:
    """Return the release in a build folder, a zip of one, or a merged image.

    *stated_table* is the flash offset of the partition table, for builds that do not contain it. Raise InputError,
    which names the file and the key in it.
    """
    if path.is_dir():
        return read_build_folder(path, stated_table=stated_table)
    data = read_input(path, "build", most=_MOST_ZIP)
    release = _read_zip(path, stated_table) if data.startswith(ZIP_MAGIC) else _read_merged_file(data, path)
    return _checked(release, stated_table)


def read_build_folder(folder: Path, *, stated_table: int | None = None) -> Release:
    """Return the release in *folder*. Raise as `read_build` does."""
    files = FolderFiles(folder)
    if not is_build(files):
        raise _no_build(files.where, [str(path) for path in builds_below(folder, is_build)])
    return _checked(_read(files, project_names(folder), stated_table), stated_table)


def project_folder(path: Path) -> Path:
    """Return the source folder of the build in *path* if the build names it and it exists; else the build's folder."""
    folder = path if path.is_dir() else path.parent
    files = FolderFiles(folder)
    named = read_json(files, PROJECT_DESCRIPTION).get("project_path") if files.has(PROJECT_DESCRIPTION) else None
    return Path(named) if path.is_dir() and isinstance(named, str) and Path(named).is_dir() else folder


def is_build(files: BuildFiles) -> bool:
    """Return whether *files* are those of a build of any kind."""
    try:
        return files.has(FLASHER_ARGS) or files.has(FLASH_ARGS) or find_images(files.names(), files) is not None
    except InputError:  # several builds at once, or files that cannot be read: reading says so
        return True


def _read_zip(path: Path, stated_table: int | None) -> Release:
    """Return the release in a zip, whose only build may be in a folder."""
    archive = Archive.open(path)
    builds = [root for root in archive.folders if is_build(ZipFiles(archive, root))]
    if not builds:
        raise _no_build(str(path), [name for name in archive.entries if name.endswith((".rmfab", ".zip"))])
    highest = min(map(_depth, builds))
    equal = [root for root in builds if _depth(root) == highest]
    if len(equal) > 1:
        raise InputError(
            f"several builds: {', '.join(equal[:_MOST_NAMED])}",
            where=str(path),
            hint="unpack the zip and name the folder of one build",
            cause="several-builds",
        )
    return _read(ZipFiles(archive, equal[0]), (SDKCONFIG,), stated_table)


def _depth(folder: str) -> int:
    return folder.count("/") + bool(folder)


def _read_merged_file(data: bytes, path: Path) -> Release:
    chip, placed = read_merged(data, str(path))
    release = _with_app_facts(Release.assemble(chip, to_parts(placed), str(path)))
    return replace(release, found="a merged image (bootloader, partition table and app in one file)")


def _with_app_facts(release: Release) -> Release:
    return replace(release, configured=release.configured.with_app(release.part(APP).data))


def _checked(release: Release, stated_table: int | None) -> Release:
    """Return *release*. Raise InputError if its table is not where the caller stated."""
    if stated_table not in (None, release.table_offset):
        raise InputError(
            f"the partition table is at 0x{release.table_offset:x}, not 0x{stated_table:x}",
            where=release.source,
            hint="leave out --table-offset",
            cause="table-offset",
        )
    return release


def _read(files: BuildFiles, texts: tuple[str, ...], stated_table: int | None) -> Release:
    configured = read_sdkconfig(files, texts)
    sdkconfig, where = configured if configured is not None else ({}, files.where)
    chip, placed, found = _files_of(files, sdkconfig, stated_table)
    facts = UNKNOWN if configured is None else BuildConfig.from_sdkconfig(sdkconfig)
    release = _with_app_facts(Release.assemble(chip, to_parts(placed), files.where, configured=facts))
    _judge_table_offset(sdkconfig, where, release.table_offset)
    return replace(release, found=found)


def _files_of(
    files: BuildFiles, sdkconfig: Mapping[str, object], stated_table: int | None
) -> tuple[Chip, list[Placed], str]:
    """Return chip and files of a build, and what kind of build it is and why."""
    images = find_images(files.names(), files)
    listed = files.has(FLASHER_ARGS)
    if listed and (images is None or lists_its_app(files)):
        return (*read_flasher_args(files), f"an ESP-IDF build ({FLASHER_ARGS})")
    if not listed and files.has(FLASH_ARGS):
        placed = read_flash_list(files)
        return _chip_of(placed, files), placed, f"a build with {FLASH_ARGS}"
    if images is None:
        raise _no_build(files.where, [])
    return (*_read_images(images, files, sdkconfig, stated_table), _images_found(images))


def _read_images(
    images: ImageNames, files: BuildFiles, sdkconfig: Mapping[str, object], stated_table: int | None
) -> tuple[Chip, list[Placed]]:
    configured = sdkconfig.get(_TABLE_OPTION)
    at = stated_table
    if at is None and isinstance(configured, int):
        at = configured
    if at is None and files.has(FLASHER_ARGS):
        at = table_offset(files)
    return read_images(images, files, at)


def _images_found(images: ImageNames) -> str:
    return f"a build of {images.tool} ({images.bootloader}, {images.table}, {images.app})"


def _chip_of(placed: list[Placed], files: BuildFiles) -> Chip:
    for one in sorted(placed, key=lambda one: one.offset):
        chip = image_chip(one.data)
        if chip is not None:
            return chip
    raise InputError("none of its files is an image for a supported chip", where=files.where, cause="chip-unknown")


def _no_build(where: str, inside: list[str]) -> InputError:
    named = ", ".join(inside[:_MOST_NAMED])
    return InputError(
        "not a build: no flasher_args.json, no flash_args, no bootloader with partition table and app beside it",
        where=where,
        hint=f"it contains {named}" if inside else "give the folder `build` of `idf.py build`, or a bundle file",
        cause="no-flasher-args",
    )


def _judge_table_offset(sdkconfig: Mapping[str, object], where: str, placed_at: int) -> None:
    """Check the offset of the table against the configuration, which the bootloader was compiled with."""
    configured = sdkconfig.get(_TABLE_OPTION, placed_at)
    if configured != placed_at:
        said = hex(configured) if isinstance(configured, int) else repr(configured)
        raise InputError(
            f"the bootloader expects the partition table at {said}, the build puts it at 0x{placed_at:x}",
            where=f"{where}: {_TABLE_OPTION}",
            hint="the folder contains files of a different build: run `idf.py fullclean`, then build again",
            cause="table-offset",
        )
