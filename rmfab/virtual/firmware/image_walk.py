"""An image as a loader meets it in flash: segment after segment, before it knows whether the image is whole.

Format: ESP-IDF `esp_app_format.h`. `rmfab.release.app_image` judges whole images; a loader that fails halfway prints
what it has read so far.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from rmfab.release.app_image import DIGEST_SIZE, HEADER, MOST_SEGMENTS, SEGMENT_HEADER, Segment
from rmfab.virtual.chip.command import checksum

# Bootloaders from before ESP-IDF 5.2 have no descriptor: IDF_VER and the line "compile time …" are plain texts.
_VERSION = re.compile(rb"(?<![ -~])(v[1-9]\d?\.\d{1,2}(?:[.-][0-9A-Za-z.+_-]{1,24})?)\0")
_COMPILED = re.compile(rb"compile time ((?:[A-Z][a-z]{2} [ \d]\d \d{4} )?\d\d:\d\d:\d\d)")


@dataclass(frozen=True)
class FlashImage:
    """The image at the start of *data*, which ends with its partition or region.

    *segments* are those whose header a loader reads. *astray*: the image does not end within *data*.
    """

    data: bytes
    segments: tuple[Segment, ...]
    astray: bool

    @classmethod
    def walk(cls, data: bytes) -> FlashImage:
        """Read the segment headers until one leads out of *data*."""
        at = HEADER.size
        segments: list[Segment] = []
        for _ in range(min(data[1], MOST_SEGMENTS)):
            if at + SEGMENT_HEADER.size > len(data):
                return cls(data, tuple(segments), True)
            address, length = SEGMENT_HEADER.unpack_from(data, at)
            segments.append(Segment(address, at + SEGMENT_HEADER.size, length))
            at += SEGMENT_HEADER.size + length
            if at > len(data):
                return cls(data, tuple(segments), True)
        return cls(data, tuple(segments), at // 16 * 16 + 16 > len(data))

    @property
    def _end(self) -> int:
        """Offset after the checksum byte, the last one of a multiple of 16."""
        last = self.segments[-1] if self.segments else Segment(0, HEADER.size, 0)
        return (last.file_offset + last.length) // 16 * 16 + 16

    @cached_property
    def checksums(self) -> tuple[int, int]:
        """The checksum of the segments, and the one in the image. Not for an image that is astray."""
        loaded = b"".join(self.data[s.file_offset : s.file_offset + s.length] for s in self.segments)
        return checksum(loaded), self.data[self._end - 1]

    @cached_property
    def digests(self) -> tuple[bytes, bytes] | None:
        """The SHA-256 of the image, and the one appended to it; None if its header announces none."""
        if self.data[HEADER.size - 1] != 1:
            return None
        return hashlib.sha256(self.data[: self._end]).digest(), self.data[self._end : self._end + DIGEST_SIZE]


def named_version(bootloader: bytes) -> str | None:
    """Return the ESP-IDF version among the texts of a bootloader, such as `v5.0.3`; None if there is none."""
    found = _VERSION.search(bootloader)
    return None if found is None else found[1].decode()


def named_compile_time(bootloader: bytes) -> str | None:
    """Return when a bootloader was compiled, from its texts; None if they do not contain it."""
    found = _COMPILED.search(bootloader)
    return None if found is None else found[1].decode()
