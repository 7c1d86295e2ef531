"""What is not an NVS image, by its content: the neighbours of NVS partitions in flash, and files given by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from rmfab.nvs.pages import CRC_SEED, PageReader, is_page
from rmfab.nvs.table import ENTRIES_OFFSET, ENTRIES_PER_PAGE, ENTRY_SIZE, PAGE_SIZE, PageState

_KEYS_SIZE = 64
"""An XTS key of two times 32 bytes, followed by its CRC32 (nvs_api.cpp, `nvs_flash_read_security_cfg`)."""

_SECURE_CERT_MAGIC = (0xBA5EBA11).to_bytes(4, "little")
"""Of each element of esp_secure_cert (esp_secure_cert_mgr, esp_secure_cert_tlv_private.h)."""

_OTHERS = ((b"\xe9", "an ESP app image"), (b"\xaa\x50", "a partition table"))
_LEAST_VARIETY = 20
"""The least number of different bytes in an encrypted entry. Of 32 random bytes 30 differ on average, and fewer than
21 in less than one entry of a million."""


def foreign_kind(data: bytes) -> str | None:
    """Return what *data* is if it is not an NVS image, such as `an NVS key partition`; None if it may be one."""
    if _is_keys(data):
        return "an NVS key partition"
    if data.startswith(_SECURE_CERT_MAGIC):
        return "a secure certificate partition (esp_secure_cert)"
    pages = (data[start : start + PAGE_SIZE] for start in range(0, len(data), PAGE_SIZE))
    if any(is_page(page) for page in pages):
        return None
    for magic, kind in _OTHERS:
        if data.startswith(magic):
            return kind
    return "something else: it has no NVS page" if len(data) >= PAGE_SIZE else None


def _is_keys(data: bytes) -> bool:
    keys, crc, rest = data[:_KEYS_SIZE], data[_KEYS_SIZE : _KEYS_SIZE + 4], data[_KEYS_SIZE + 4 :]
    return len(crc) == 4 and crc32(keys, CRC_SEED) == int.from_bytes(crc, "little") and not rest.strip(b"\xff")


def is_encrypted(image: bytes) -> bool:
    """Return whether the entries of an NVS image are encrypted: several are written, none has the right CRC, all look
    random. Headers and states of entries are never encrypted (nvs_encrypted_partition.cpp)."""
    written = list(_written_entries(image))
    return len(written) > 1 and all(len(set(entry)) > _LEAST_VARIETY and not _has_crc(entry) for entry in written)


def _written_entries(image: bytes) -> Iterator[bytes]:
    reader = PageReader()
    for number, start in enumerate(range(0, len(image), PAGE_SIZE)):
        data = image[start : start + PAGE_SIZE]
        if reader.load(number, data).state in (PageState.UNINITIALIZED, PageState.CORRUPT):
            continue
        for index in range(ENTRIES_PER_PAGE):
            if data[ENTRY_SIZE + index // 4] >> index % 4 * 2 & 3 == 0b10:
                at = ENTRIES_OFFSET + index * ENTRY_SIZE
                yield data[at : at + ENTRY_SIZE]


def _has_crc(entry: bytes) -> bool:
    return crc32(entry[8:], crc32(entry[:4], CRC_SEED)) == int.from_bytes(entry[4:8], "little")
