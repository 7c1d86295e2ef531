"""The checks of an app image that ESP-IDF runs in the bootloader and in an app that receives an update.

Sources: ESP-IDF `components/bootloader_support/src` (esp_image_format.c, bootloader_common.c).
"""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import InputError
from rmfab.release.app_image import AppImage
from rmfab.release.partition_table import Partition
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.firmware.log import Log
from rmfab.virtual.firmware.secure_boot import trusted
from rmfab.virtual.spec import BoardSpec


class NotBootable(Exception):
    """This app cannot be started; *tag* and *line* are the log output about it."""

    def __init__(self, tag: str, line: str) -> None:
        super().__init__(line)
        self.tag = tag
        self.line = line


def verified(spec: BoardSpec, flash: Flash, part: Partition) -> AppImage:
    """Return the app in *part*. Raise NotBootable if it fails a check."""
    try:
        image = AppImage.parse(flash.seen(part.offset, part.size), part.label)
    except InputError as error:
        raise NotBootable("esp_image", _complaint(error.cause, part)) from None
    if spec.security.secure_boot and not trusted(spec.security, flash.seen(part.offset, part.size), image.length):
        raise NotBootable("secure_boot_v2", "Secure Boot V2 verification failed.")
    revision, chip_id = spec.chip_revision, spec.model.chip.image_id
    if image.chip_id != chip_id:
        raise NotBootable("boot_comm", f"mismatch chip ID, expected {chip_id}, found {image.chip_id}")
    if revision < image.min_revision:
        need, have = _revision(image.min_revision), _revision(revision)
        raise NotBootable("boot_comm", f"chip revision check failed. Required >= {need}, found {have}.")
    if image.max_revision not in (0, 0xFFFF) and revision > image.max_revision:
        need, have = _revision(image.max_revision), _revision(revision)
        raise NotBootable("boot_comm", f"chip revision check failed. Required <= {need}, found {have}.")
    return image


def segment_lines(log: Log, model: ChipModel, part: Partition, image: AppImage, *, loading: bool) -> Iterator[str]:
    """Return one line per segment; a RAM segment is reported as loaded only if *loading*."""
    for number, segment in enumerate(image.segments):
        in_ram = any(low <= segment.load_address < high for low, high in model.ram)
        how = ("load" if loading else "") if in_ram else "map"
        yield log(
            "esp_image",
            f"segment {number}: paddr={part.offset + segment.file_offset:08x} vaddr={segment.load_address:08x} "
            f"size={segment.length:05x}h ({segment.length:6d}) {how}",
            after=1 + segment.length // 8000,
        )


def _complaint(cause: str, part: Partition) -> str:
    return {
        "image-magic": f"image at 0x{part.offset:x} has invalid magic byte (nothing flashed here?)",
        "image-short": f"image at 0x{part.offset:x}: partition size 0x{part.size:x} is too small for the image",
        "image-checksum": "Checksum failed. Calculated 0x5a read 0xa5",
        "image-digest": "Image hash failed - image is corrupt",
    }.get(cause, "image is corrupt")


def _revision(number: int) -> str:
    return f"v{number // 100}.{number % 100}"
