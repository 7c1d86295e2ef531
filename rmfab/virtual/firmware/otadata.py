"""The partition `otadata`: two entries with a state each; the one in force names the app slot to boot.

Sources: ESP-IDF 5.5 `bootloader_common.c`, `bootloader_utility.c`, `esp_ota_ops.c` (facts only). Only `read` and
`write` access a flash.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum, unique

from rmfab.release.partition_table import DataSubtype, Partition, PartitionTable
from rmfab.virtual.chip.flash import SECTOR, Flash

_ENTRY = struct.Struct("<I20sII")
_BLANK = 0xFFFFFFFF


@unique
class OtaState(IntEnum):
    """esp_ota_img_states_t."""

    NEW = 0
    PENDING_VERIFY = 1
    VALID = 2
    INVALID = 3
    ABORTED = 4
    UNDEFINED = _BLANK

    @property
    def word(self) -> str:
        """The state in words, such as pending-verify."""
        return self.name.lower().replace("_", "-")


_UNUSABLE = (OtaState.INVALID, OtaState.ABORTED)


@dataclass(frozen=True)
class OtaDataEntry:
    """esp_ota_select_entry_t; the default is an erased sector. *state* may be a number that is not an OtaState."""

    sequence: int = _BLANK
    state: int = OtaState.UNDEFINED
    crc: int = _BLANK
    label: bytes = b"\xff" * 20

    @classmethod
    def of(cls, sequence: int, state: OtaState) -> OtaDataEntry:
        """Return an entry with the matching checksum."""
        return cls(sequence, state, _crc(sequence))

    @classmethod
    def decode(cls, data: bytes) -> OtaDataEntry:
        """Return the entry at the start of a sector."""
        sequence, label, state, crc = _ENTRY.unpack_from(data)
        return cls(sequence, state, crc, label)

    def encode(self) -> bytes:
        """Return the 32 bytes for the flash."""
        return _ENTRY.pack(self.sequence, self.label, self.state, self.crc)

    @property
    def is_sound(self) -> bool:
        """Whether the checksum is valid; it covers only the sequence number."""
        return self.crc == _crc(self.sequence)

    @property
    def is_unusable(self) -> bool:
        """Whether the entry is blank, invalid or aborted; its checksum does not matter here."""
        return self.sequence == _BLANK or self.state in _UNUSABLE

    @property
    def is_usable(self) -> bool:
        """Whether the entry may choose the app."""
        return self.is_sound and not self.is_unusable

    @property
    def word(self) -> str:
        """The state in words; an unknown number counts as undefined."""
        return next((state.word for state in OtaState if state == self.state), OtaState.UNDEFINED.word)

    def slot(self, slots: int) -> int:
        """Return the app slot that the entry names, of *slots*."""
        return (self.sequence - 1) % (1 << 32) % slots


Pair = tuple[OtaDataEntry, OtaDataEntry]


def partition(table: PartitionTable) -> Partition | None:
    """Return the otadata partition; None if the table has none."""
    return next(iter(table.data(DataSubtype.OTA)), None)


def in_force(pair: Pair) -> int | None:
    """Return the index of the entry that chooses the app: the usable one with the higher number, the first if equal."""
    usable = [number for number in (0, 1) if pair[number].is_usable]
    return max(usable, key=lambda number: pair[number].sequence, default=None)


def is_initial(pair: Pair) -> bool:
    """Whether the partition is as the factory left it: no entry was ever completely written."""
    return all(entry.is_unusable and (entry.sequence == _BLANK or not entry.is_sound) for entry in pair)


def with_aborted(pair: Pair) -> Pair:
    """Return the pair after a rollback bootloader's first step: a started but unconfirmed update is aborted."""
    first, second = (
        replace(entry, state=OtaState.ABORTED) if entry.state == OtaState.PENDING_VERIFY else entry for entry in pair
    )
    return first, second


def with_started(pair: Pair) -> Pair:
    """Return the pair after a rollback bootloader's last step: a new app in force gets one start to confirm itself."""
    number = in_force(pair)
    is_new = number is not None and pair[number].state == OtaState.NEW
    return _with_entry(pair, number, state=OtaState.PENDING_VERIFY) if is_new else pair


def with_verdict(pair: Pair, state: OtaState) -> Pair:
    """Return the pair after the app in force has marked itself valid or invalid."""
    return _with_entry(pair, in_force(pair), state=state)


def with_slot(pair: Pair, slot: int, slots: int, state: OtaState) -> Pair:
    """Return the pair after esp_ota_set_boot_partition().

    It writes the next number that leads to *slot*, into the entry that is not in force.
    """
    number = in_force(pair)
    if number is None:
        return _with_entry(pair, 0, sequence=slot + 1, crc=_crc(slot + 1), state=state)
    present = pair[number]
    if present.slot(slots) == slot:
        return _with_entry(pair, number, state=state)
    base = (slot + 1) % slots
    sequence = base + -(-max(present.sequence - base, 0) // slots) * slots
    return _with_entry(pair, 1 - number, sequence=sequence, crc=_crc(sequence), state=state)


def without_other(pair: Pair, running: int | None, slots: int) -> Pair:
    """Return the pair after esp_ota_begin() with rollback compiled in: the entry of the slot to overwrite is erased."""
    number = in_force(pair)
    if number is None:
        return pair
    other = pair[1 - number]
    named = other.is_sound and other.sequence != _BLANK and other.slot(slots) != running
    return _put(pair, 1 - number, OtaDataEntry()) if named else pair


def state_of(pair: Pair, slot: int, slots: int) -> int | None:
    """Return the state of *slot* as esp_ota_get_state_partition() does; None if no entry names it."""
    return next((entry.state for entry in pair if entry.is_sound and entry.slot(slots) == slot), None)


def fallback(pair: Pair) -> OtaDataEntry | None:
    """Return the usable entry that is not in force; None if there is nothing to roll back to."""
    number = in_force(pair)
    other = None if number is None else pair[1 - number]
    return other if other is not None and other.is_usable else None


def read(flash: Flash, partition: Partition) -> Pair:
    """Return the two entries as the CPU sees them."""
    first, second = (OtaDataEntry.decode(flash.seen(partition.offset + at, _ENTRY.size)) for at in (0, SECTOR))
    return first, second


def write(flash: Flash, partition: Partition, pair: Pair) -> None:
    """Erase and write only the sectors with a changed entry."""
    for number, entry in enumerate(pair):
        if entry != read(flash, partition)[number]:
            at = partition.offset + number * SECTOR
            flash.erase(at, SECTOR)
            flash.program(at, entry.encode())


def _with_entry(pair: Pair, number: int | None, **changes: int) -> Pair:
    if number is None:
        return pair
    return _put(pair, number, replace(pair[number], **changes))  # type: ignore[arg-type]


def _put(pair: Pair, number: int, entry: OtaDataEntry) -> Pair:
    return (entry, pair[1]) if number == 0 else (pair[0], entry)


def _crc(sequence: int) -> int:
    return zlib.crc32(sequence.to_bytes(4, "little"), 0xFFFFFFFF)
