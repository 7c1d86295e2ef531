"""Any bytes of a flash image end in a value or in rmfab's own error: NVS, partition table, app, bootloader, merged.

    python -m fuzz.images fuzz/corpus/images -max_total_time=60

The first byte of an input selects the reader of the rest. What has checksums has two readers: of the input as
it is, and of the input with its checksums repaired, so that mutations reach what is behind them.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib

from fuzz.harness import Reader, fuzz, judge_shown, read_one
from rmfab.errors import InputError
from rmfab.nvs import listing
from rmfab.nvs.reader import Image, read_image
from rmfab.release.app_image import AppImage, xor_checksum
from rmfab.release.app_strings import AppStrings
from rmfab.release.merged_image import looks_merged, read_merged
from rmfab.release.partition_table import PartitionTable
from rmfab.release.signature_blocks import signature_blocks

_PAGE, _ENTRY, _FIRST_ENTRY = 4096, 32, 64
_MOST_PAGES = 8
_ROW = 32
_HEADER, _SEGMENT = 24, 8
_CRC_SEED = 0xFFFFFFFF


def nvs(data: bytes) -> None:
    """Read an NVS image, filled up to whole pages, and show it."""
    whole = data[: _MOST_PAGES * _PAGE]
    _show_nvs(read_image(whole + b"\xff" * (-len(whole) % _PAGE)))


def nvs_repaired(data: bytes) -> None:
    """Read an NVS image with right checksums of its pages, entries and values."""
    whole = bytearray(data[: _MOST_PAGES * _PAGE])
    whole += b"\xff" * (-len(whole) % _PAGE)
    for start in range(0, len(whole), _PAGE):
        page = memoryview(whole)[start : start + _PAGE]
        page[28:32] = _crc(page[4:28])
        for at in range(_FIRST_ENTRY, _PAGE, _ENTRY):
            _repair_entry(page, at)
    _show_nvs(read_image(bytes(whole)))


def _repair_entry(page: memoryview, at: int) -> None:
    kind, (length,) = page[at + 1], struct.unpack_from("<H", page, at + 24)
    if kind in (0x21, 0x41, 0x42):
        page[at + 28 : at + 32] = _crc(page[at + _ENTRY : at + _ENTRY + length])
    page[at + 4 : at + 8] = _crc(bytes(page[at : at + 4]) + bytes(page[at + 8 : at + 32]))


def _crc(data: bytes | memoryview) -> bytes:
    return struct.pack("<I", zlib.crc32(data, _CRC_SEED))


def _show_nvs(image: Image) -> None:
    for reveal in (False, True):
        json.dumps(listing.document(image, reveal=reveal))
        judge_shown("\n".join(listing.lines(image, reveal=reveal)))
    for finding in image.findings:
        str(finding)


def table(data: bytes) -> None:
    """Read a partition table; one that is accepted says the same after it is written again."""
    read = PartitionTable.parse(data, "table")
    if PartitionTable.parse(read.encode(), "table") != read:
        raise AssertionError("a table changes when it is written")


def table_repaired(data: bytes) -> None:
    """Read the rows of a partition table, with the MD5 row that they need."""
    rows = data[: len(data) // _ROW * _ROW]
    md5 = b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows, usedforsecurity=False).digest()
    table((rows + md5).ljust(0xC00, b"\xff"))


def app(data: bytes) -> None:
    """Read an app or bootloader image, and the signature behind it."""
    read = AppImage.parse(data, "image")
    _ = read.chip, read.flash_size, read.flash_mode, read.flash_freq
    AppStrings.find(data)
    signature_blocks(data, read.length, "image")


def app_repaired(data: bytes) -> None:
    """Read an image with the right checksum and digest."""
    app(_repaired(data))


def _repaired(data: bytes) -> bytes:
    """Return the image at the start of *data* with the checksum and digest that its segments need."""
    at, seed = _HEADER, 0xEF
    for _ in range(min(data[1] if len(data) >= _HEADER else 0, 16)):
        if at + _SEGMENT > len(data):
            return data
        (size,) = struct.unpack_from("<I", data, at + 4)
        seed = xor_checksum(data[at + _SEGMENT : at + _SEGMENT + size], seed)
        at += _SEGMENT + size
    image = data[:at] + bytes(15 - at % 16) + bytes([seed])
    return image + hashlib.sha256(image).digest() + data[at + 48 - at % 16 :]


def merged(data: bytes) -> None:
    """Take apart a merged image of a bootloader, a table and an app, each with right checksums.

    The input: two bytes of length, then the bootloader; two of length, then the rows of the table; then the app.
    """
    boot, rest = _counted(data)
    rows, rest = _counted(rest)
    try:
        start = PartitionTable.parse(rows.ljust(0xC00, b"\xff"), "").apps()[0].offset
    except (InputError, IndexError):
        start = 0x10000
    whole = _repaired(boot)[:0x8000].ljust(0x8000, b"\xff") + rows[:0xC00].ljust(0x1000, b"\xff")
    whole = whole.ljust(min(start, 0x40000), b"\xff") + _repaired(rest)
    if looks_merged(whole):
        read_merged(whole, "image")


def _counted(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:2], "big")
    return data[2 : 2 + size], data[2 + size :]


TARGETS: tuple[Reader, ...] = (nvs, nvs_repaired, table, table_repaired, app, app_repaired, merged)


def one_input(data: bytes) -> None:
    """Read one input."""
    read_one(TARGETS, data)


if __name__ == "__main__":
    fuzz(one_input)
