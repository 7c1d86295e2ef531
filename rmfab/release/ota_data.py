"""The partition otadata as the bootloader reads it: which OTA slot it starts, and whether that app is confirmed.

Source: ESP-IDF 5.5, bootloader_common.c and esp_flash_partitions.h (esp_ota_select_entry_t).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SECTOR = 0x1000
OTA_DATA_SIZE = 2 * SECTOR
_ENTRY = struct.Struct("<I20sII")
_BLANK = 0xFFFFFFFF
_VALID, _INVALID, _ABORTED = 2, 3, 4  # esp_ota_img_states_t


@dataclass(frozen=True)
class SelectedSlot:
    """The OTA slot number *index* starts next. *confirmed*: its app has marked itself as valid, or need not."""

    index: int
    confirmed: bool


def selected_slot(data: bytes, slots: int) -> SelectedSlot | None:
    """Return which of *slots* OTA slots the two sectors in *data* select, None if they select none."""
    chosen: tuple[int, int] | None = None
    for start in (0, SECTOR):
        sequence, _, state, crc = _ENTRY.unpack_from(data, start)
        sound = crc == zlib.crc32(sequence.to_bytes(4, "little"), _BLANK)
        if sequence == _BLANK or not sound or state in (_INVALID, _ABORTED):
            continue
        if chosen is None or sequence > chosen[0]:
            chosen = sequence, state
    if chosen is None:
        return None
    return SelectedSlot((chosen[0] - 1) % slots, chosen[1] in (_VALID, _BLANK))
