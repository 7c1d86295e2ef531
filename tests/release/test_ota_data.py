"""otadata as the host reads it, against what the virtual boards' own code writes."""

from __future__ import annotations

import pytest

from rmfab.release.ota_data import OTA_DATA_SIZE, SECTOR, SelectedSlot, selected_slot
from rmfab.virtual.firmware.otadata import OtaDataEntry, OtaState, with_slot, with_verdict

SLOTS = 2


def written(*entries: OtaDataEntry) -> bytes:
    """The partition with these entries."""
    return b"".join(entry.encode().ljust(SECTOR, b"\xff") for entry in entries)


def test_a_blank_partition_selects_nothing() -> None:
    """As the factory leaves it, the bootloader takes its default."""
    assert selected_slot(b"\xff" * OTA_DATA_SIZE, SLOTS) is None


def test_updates_take_turns() -> None:
    """Each update selects the other slot, unconfirmed until the app marks itself valid."""
    pair = (OtaDataEntry(), OtaDataEntry())
    for slot in (1, 0, 1, 1, 0):
        pair = with_slot(pair, slot, SLOTS, OtaState.NEW)
        assert selected_slot(written(*pair), SLOTS) == SelectedSlot(slot, False)
        pair = with_verdict(pair, OtaState.VALID)
        assert selected_slot(written(*pair), SLOTS) == SelectedSlot(slot, True)


@pytest.mark.parametrize("state", [OtaState.INVALID, OtaState.ABORTED])
def test_what_was_rolled_back_is_skipped(state: OtaState) -> None:
    """An entry that was rolled back, or whose checksum is wrong, selects nothing."""
    good, bad = OtaDataEntry.of(1, OtaState.VALID), OtaDataEntry.of(2, state)
    assert selected_slot(written(good, bad), SLOTS) == SelectedSlot(0, True)
    assert selected_slot(written(good, OtaDataEntry(2, OtaState.VALID, 0)), SLOTS) == SelectedSlot(0, True)


def test_without_rollback_there_is_no_state() -> None:
    """Firmware without rollback writes no state: its app counts as confirmed."""
    assert selected_slot(written(OtaDataEntry.of(2, OtaState.UNDEFINED), OtaDataEntry()), SLOTS) == SelectedSlot(
        1, True
    )
