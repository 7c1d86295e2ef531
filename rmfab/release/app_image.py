"""An app or bootloader image: header, segments, checksum and digest, and the descriptor inside.

Format: ESP-IDF `esp_app_format.h` (esp_image_header_t, esp_image_segment_header_t), `esp_app_desc.h`,
`esp_bootloader_desc.h`; the programming guide, "App Image Format".
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip

IMAGE_MAGIC = 0xE9
CHECKSUM_SEED = 0xEF
MOST_SEGMENTS = 16
HEADER = struct.Struct("<BBBBIB3sHBHH4sB")
"""esp_image_header_t: magic, segments, SPI mode, speed and size nibbles, entry, WP pin, drive, chip id, revisions."""
SEGMENT_HEADER = struct.Struct("<II")
APP_DESCRIPTOR = struct.Struct("<II8s32s32s16s16s32s32sHHB3s72s")
APP_DESCRIPTOR_MAGIC = 0xABCD5432
BOOTLOADER_DESCRIPTOR = struct.Struct("<B3sI32s24s16s")
BOOTLOADER_DESCRIPTOR_MAGIC = 0x50
DIGEST_SIZE = 32
NO_MAX_REVISION = 0xFFFF

_MIB = 1 << 20
_MODES = {0: "qio", 1: "qout", 2: "dio", 3: "dout", 4: "fast_read", 5: "slow_read"}
_FREQUENCIES = {0x0: "40m", 0x1: "26m", 0x2: "20m", 0xF: "80m"}
# Source: FLASH_FREQUENCY of esptool 5.6 targets, for chips that differ. On the C6 the nibble of 40 MHz means 80 MHz.
_FREQUENCIES_OF = {
    Chip.ESP32C2: {0x0: "30m", 0x1: "20m", 0x2: "15m", 0xF: "60m"},
    Chip.ESP32C6: {0x0: "80m", 0x2: "20m", 0xF: "80m"},
    Chip.ESP32H2: {0x0: "24m", 0x1: "16m", 0x2: "12m", 0xF: "48m"},
}


@dataclass(frozen=True)
class Segment:
    """*length* bytes at *file_offset* of the image that are loaded or mapped at *load_address*."""

    load_address: int
    file_offset: int
    length: int


@dataclass(frozen=True)
class AppDescriptor:
    """esp_app_desc_t: how the app describes itself. *elf_sha256* in hex."""

    project: str
    version: str
    idf_version: str
    elf_sha256: str
    secure_version: int
    date: str
    time: str


@dataclass(frozen=True)
class BootloaderDescriptor:
    """esp_bootloader_desc_t, which bootloaders contain since ESP-IDF 5.2."""

    version: int
    idf_version: str
    compiled: str


@dataclass(frozen=True)
class AppImage:
    """An image with a valid checksum and digest; *length* in bytes.

    Chip revisions are major * 100 + minor; *max_revision* is 0xFFFF if the image sets none.
    """

    chip_id: int
    entry: int
    spi_mode: int
    spi_speed: int
    spi_size: int
    min_revision: int
    max_revision: int
    segments: tuple[Segment, ...]
    length: int
    digest: bytes | None = field(repr=False)
    descriptor: AppDescriptor | None = None
    bootloader: BootloaderDescriptor | None = None

    @classmethod
    def parse(cls, data: bytes, where: str) -> AppImage:
        """Parse and check the image at the start of *data*, which may be longer (padding, signature, partition).

        Raise InputError with the `cause` image-magic, image-short, image-checksum or image-digest.
        """
        (magic, count, mode, speed_size, entry, _, _, chip_id, old_low, low, high, _, hashed) = _header(data, where)
        if magic != IMAGE_MAGIC or not 1 <= count <= MOST_SEGMENTS or hashed > 1:
            raise InputError(
                "not an app or bootloader image: no image header",
                where=where,
                cause="image-magic",
            )
        segments, end = _segments(data, count, where)
        length = _judge_checksum(data, segments, end, where)
        digest = _judge_digest(data, length, where) if hashed else None
        return cls(
            chip_id=chip_id,
            entry=entry,
            spi_mode=mode,
            spi_speed=speed_size & 0xF,
            spi_size=speed_size >> 4,
            min_revision=_min_revision(chip_id, old_low, low, high),
            max_revision=high or NO_MAX_REVISION,
            segments=segments,
            length=length + (DIGEST_SIZE if hashed else 0),
            digest=digest,
            descriptor=_app_descriptor(data, segments[0]),
            bootloader=_bootloader_descriptor(data, segments[0]),
        )

    @property
    def chip(self) -> Chip | None:
        """The chip that the image is for, None if rmfab does not support it."""
        return Chip.from_image_id(self.chip_id)

    @property
    def flash_size(self) -> int | None:
        """The flash size in bytes from the header, None for an undefined value."""
        return _MIB << self.spi_size if self.spi_size <= 7 else None

    @property
    def flash_mode(self) -> str:
        """The SPI mode of the flash: dio, qio, …; the bare number if it has no name."""
        return _MODES.get(self.spi_mode, str(self.spi_mode))

    @property
    def flash_freq(self) -> str:
        """The flash frequency in esptool's spelling, such as 80m; the bare number if it has no name."""
        chip = self.chip
        names = _FREQUENCIES_OF.get(chip, _FREQUENCIES) if chip else _FREQUENCIES
        return names.get(self.spi_speed, str(self.spi_speed))


def xor_checksum(data: bytes, seed: int = CHECKSUM_SEED) -> int:
    """Return the exclusive or of all bytes and *seed*, computed by folding the data as one number."""
    value, width = int.from_bytes(data, "little"), len(data)
    while width > 1:
        half = (width + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        width = half
    return value ^ seed


def spi_speed(chip: Chip, freq: str) -> int:
    """Return the header's speed nibble for *freq* in esptool's spelling.

    Raise ValueError for a frequency that the chip does not have.
    """
    for number, name in sorted(_FREQUENCIES_OF.get(chip, _FREQUENCIES).items()):
        if name == freq:
            return number
    raise ValueError(f"{chip.value} has no flash frequency {freq}")


def _short(where: str) -> InputError:
    return InputError(
        "the image is truncated", where=where, hint="build it again, or copy the whole file", cause="image-short"
    )


def _min_revision(chip_id: int, old: int, full: int, high: int) -> int:
    """Return the oldest revision, also of an image from before ESP-IDF 5.0, which has the field *old* only.

    *old* is the minor revision on the ESP32-C3 and the major one on all other chips. Source: esptool 5.6, cmds.py
    (_get_image_incompatibility).
    """
    if high not in (0, NO_MAX_REVISION) or full or not old:
        return full
    return old if chip_id == Chip.ESP32C3.image_id else old * 100


def _header(data: bytes, where: str) -> tuple[int, ...]:
    if data[:1] == bytes((IMAGE_MAGIC,)) and len(data) < HEADER.size:
        raise _short(where)
    return HEADER.unpack(data[: HEADER.size].ljust(HEADER.size, b"\0"))


def _segments(data: bytes, count: int, where: str) -> tuple[tuple[Segment, ...], int]:
    at, segments = HEADER.size, []
    for _ in range(count):
        if at + SEGMENT_HEADER.size > len(data):
            raise _short(where)
        address, length = SEGMENT_HEADER.unpack_from(data, at)
        at += SEGMENT_HEADER.size
        segments.append(Segment(address, at, length))
        at += length
    if at > len(data):
        raise _short(where)
    return tuple(segments), at


def _judge_checksum(data: bytes, segments: tuple[Segment, ...], end: int, where: str) -> int:
    """Return the length including the checksum, which is the last byte of a multiple of 16."""
    length = (end + 16) // 16 * 16
    if length > len(data):
        raise _short(where)
    checksum = CHECKSUM_SEED
    for segment in segments:
        checksum = xor_checksum(data[segment.file_offset : segment.file_offset + segment.length], checksum)
    if data[length - 1] != checksum:
        raise InputError(
            f"image checksum is 0x{data[length - 1]:02x}, expected 0x{checksum:02x}",
            where=where,
            cause="image-checksum",
        )
    return length


def _judge_digest(data: bytes, length: int, where: str) -> bytes:
    stored = data[length : length + DIGEST_SIZE]
    if len(stored) < DIGEST_SIZE:
        raise _short(where)
    if hashlib.sha256(data[:length]).digest() != stored:
        raise InputError("the image does not match its SHA-256", where=where, cause="image-digest")
    return stored


def _text(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0].decode("utf-8", "replace")


def _app_descriptor(data: bytes, first: Segment) -> AppDescriptor | None:
    if first.length < APP_DESCRIPTOR.size:
        return None
    fields = APP_DESCRIPTOR.unpack_from(data, first.file_offset)
    if fields[0] != APP_DESCRIPTOR_MAGIC:
        return None
    _, secure_version, _, version, project, time, date, idf, elf_sha256, *_ = fields
    return AppDescriptor(
        project=_text(project),
        version=_text(version),
        idf_version=_text(idf),
        elf_sha256=elf_sha256.hex(),
        secure_version=secure_version,
        date=_text(date),
        time=_text(time),
    )


def _bootloader_descriptor(data: bytes, first: Segment) -> BootloaderDescriptor | None:
    if first.length < BOOTLOADER_DESCRIPTOR.size:
        return None
    magic, _, version, idf, compiled, _ = BOOTLOADER_DESCRIPTOR.unpack_from(data, first.file_offset)
    if magic != BOOTLOADER_DESCRIPTOR_MAGIC or not _text(idf).startswith("v"):
        return None
    return BootloaderDescriptor(version, _text(idf), _text(compiled))
