"""Files of a build with their offsets, before it is known which of them is what.

`with_roles` finds bootloader, partition table and app by what they contain, `to_parts` gives every file a name of its
own.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.release.partition_table import SECTOR, Partition, PartitionTable
from rmfab.release.parts import APP, BOOTLOADER, TABLE, Part

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]{1,64}")
_LONGEST_NAME = 48


@dataclass(frozen=True)
class Placed:
    """A *file* of a build for *offset*. *role* is its name in the build, None if the build gives it none."""

    file: str
    offset: int
    data: bytes = field(repr=False)
    role: str | None = None
    encrypted: bool = False


def with_roles(placed: Sequence[Placed], chip: Chip | None) -> list[Placed]:
    """Return *placed* with the roles of bootloader, partition table and app, if their content shows them."""
    found = list(placed)
    if all(one.role != BOOTLOADER for one in found):
        found = _assign(found, BOOTLOADER, lambda one: _is_bootloader(one, chip))
    if all(one.role != TABLE for one in found):
        found = _assign(found, TABLE, lambda one: parsed_table(one.data) is not None)
    table = next((parsed_table(one.data) for one in found if one.role == TABLE), None)
    if table is not None and all(one.role != APP for one in found):
        slots = [row.offset for row in boot_order(table)]
        booted = min((one.offset for one in found if one.offset in slots), key=slots.index, default=None)
        found = _assign(found, APP, lambda one: one.offset == booted)
    return found


def boot_order(table: PartitionTable) -> tuple[Partition, ...]:
    """Return the app partitions in the order in which a board without OTA data boots them."""
    slots = table.ota_slots
    return (*(row for row in table.apps() if row not in slots), *slots)


def image_chip(data: bytes) -> Chip | None:
    """Return the chip of an image, None if *data* is not a valid image or rmfab does not support its chip."""
    try:
        return AppImage.parse(data, "").chip
    except InputError:
        return None


def parsed_table(data: bytes) -> PartitionTable | None:
    """Return the partition table in *data*, None if it is not one."""
    if len(data) > SECTOR or data[:2] != b"\xaa\x50":
        return None
    try:
        return PartitionTable.parse(data, "")
    except InputError:
        return None


def to_parts(placed: Iterable[Placed]) -> list[Part]:
    """Return the parts. A part without a role is named by the stem of its file, and by its offset if that is taken."""
    everything = list(placed)
    taken = {one.role for one in everything if one.role is not None}
    parts = []
    for one in everything:
        name = one.role
        if name is None:
            stem = safe_name(posixpath.splitext(posixpath.basename(one.file.replace("\\", "/")))[0])
            name = stem if stem not in taken else f"{stem}-{one.offset:x}"
            taken.add(name)
        parts.append(Part(name, one.offset, one.data, encrypted=one.encrypted))
    return parts


def safe_name(text: str) -> str:
    """Return *text* as a part name: each run of other characters than letters, digits, `_` and `-` becomes one `-`."""
    return _UNSAFE.sub("-", text[:_LONGEST_NAME]).strip("-") or "part"


def _assign(placed: list[Placed], role: str, fits: Callable[[Placed], bool]) -> list[Placed]:
    """Return *placed* with *role* for the first file without one that *fits*."""
    first = next((one for one in placed if one.role is None and fits(one)), None)
    return [replace(one, role=role) if one is first else one for one in placed]


def _is_bootloader(one: Placed, chip: Chip | None) -> bool:
    built_for = image_chip(one.data)
    return built_for is not None and one.offset == (chip or built_for).bootloader_offset
