"""The checks of an app image that ESP-IDF runs in the bootloader and in an app that receives an update.

Sources: ESP-IDF `components/bootloader_support/src` (esp_image_format.c, bootloader_common.c).
"""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import InputError
from rmfab.release.app_image import AppImage, Segment
from rmfab.release.partition_table import Partition
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.firmware.image_walk import FlashImage
from rmfab.virtual.firmware.log import Log
from rmfab.virtual.firmware.secure_boot import trusted
from rmfab.virtual.spec import BoardSpec

_LONGEST_SEGMENT = 16 << 20  # SIXTEEN_MB of esp_image_format.c


class NotBootable(Exception):
    """This app cannot be started; *tag* and *line* are the log output about it.

    *segments*: those that were read before, each with a line of its own.
    """

    def __init__(self, tag: str, line: str, segments: tuple[Segment, ...] = ()) -> None:
        super().__init__(line)
        self.tag = tag
        self.line = line
        self.segments = segments


def verified(spec: BoardSpec, flash: Flash, part: Partition) -> AppImage:
    """Return the app in *part*. Raise NotBootable if it fails a check."""
    data = flash.seen(part.offset, part.size)
    try:
        image = AppImage.parse(data, part.label)
    except InputError as error:
        raise _broken(error.cause, part, FlashImage.walk(data)) from None
    revision, chip_id = spec.chip_revision, spec.model.chip.image_id
    if image.chip_id != chip_id:
        raise NotBootable("boot_comm", f"mismatch chip ID, expected {chip_id}, found {image.chip_id}")
    if revision < image.min_revision:
        need, have = _revision(image.min_revision), _revision(revision)
        raise NotBootable("boot_comm", f"chip revision check failed. Required >= {need}, found {have}.")
    if image.max_revision not in (0, 0xFFFF) and revision > image.max_revision:
        need, have = _revision(image.max_revision), _revision(revision)
        raise NotBootable("boot_comm", f"chip revision check failed. Required <= {need}, found {have}.")
    if spec.security.secure_boot and not trusted(spec.security, data, image.length):
        raise NotBootable("secure_boot_v2", "Secure Boot V2 verification failed.", image.segments)
    return image


def segment_lines(
    log: Log, model: ChipModel, part: Partition, segments: tuple[Segment, ...], *, loading: bool
) -> Iterator[str]:
    """Return one line per segment; a RAM segment is reported as loaded only if *loading*."""
    for number, segment in enumerate(segments):
        in_ram = any(low <= segment.load_address < high for low, high in model.ram)
        how = ("load" if loading else "") if in_ram else "map"
        yield log(
            "esp_image",
            f"segment {number}: paddr={part.offset + segment.file_offset:08x} vaddr={segment.load_address:08x} "
            f"size={segment.length:05x}h ({segment.length:6d}) {how}",
            after=1 + segment.length // 8000,
        )


def _broken(cause: str, part: Partition, image: FlashImage) -> NotBootable:
    """Return what the check reports about an image that is not whole; *cause* is that of `AppImage.parse`."""
    segments = image.segments
    if cause == "image-magic":
        return NotBootable("esp_image", f"image at 0x{part.offset:x} has invalid magic byte (nothing flashed here?)")
    if cause == "image-checksum":
        calculated, stored = image.checksums
        words = f"Checksum failed. Calculated 0x{calculated:x} read 0x{stored:x}"
        return NotBootable("esp_image", words, segments)
    if cause == "image-digest":
        return NotBootable("esp_image", "Image hash failed - image is corrupt", segments)
    last = segments[-1]
    if last.length % 4 or last.length >= _LONGEST_SEGMENT:
        return NotBootable("esp_image", f"invalid segment length 0x{last.length:x}", segments[:-1])
    needed = last.file_offset + last.length
    return NotBootable("esp_image", f"Image length {needed} doesn't fit in partition length {part.size}", segments)


def _revision(number: int) -> str:
    return f"v{number // 100}.{number % 100}"
