"""What the flash of a unit proves after an update, and what must not pass for a proof."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from rmfab.cloud.node_watch import NodeWatch
from rmfab.errors import UnitFault
from rmfab.line.over_the_air import _await_fetch, _running_slot
from rmfab.release.parts import APP
from rmfab.release.release import Release
from rmfab.virtual.firmware.otadata import OtaDataEntry, OtaState
from tests.ota.conftest import a_release

BEFORE, AFTER = a_release("1.0.0"), a_release("2.0.0", 2)
OTA_0, OTA_1 = BEFORE.table.ota_slots
(OTADATA,) = (row for row in BEFORE.table.partitions if row.label == "otadata")


@dataclass
class Flash:
    """A loader that reads *cells*."""

    cells: bytearray

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.cells[offset : offset + size])

    def md5(self, offset: int, size: int) -> str:
        return hashlib.md5(self.read(offset, size), usedforsecurity=False).hexdigest()


def slot_of(first: Release | None, second: Release | None, *entries: OtaDataEntry) -> str:
    """Judge a flash with these apps in its slots, and these entries in otadata."""
    cells = bytearray(b"\xff" * 0x60000)
    for slot, release in ((OTA_0, first), (OTA_1, second)):
        if release is not None:
            data = release.part(APP).data
            cells[slot.offset : slot.offset + len(data)] = data
    for number, entry in enumerate(entries):
        at = OTADATA.offset + number * 0x1000
        cells[at : at + 32] = entry.encode()
    loader: Any = Flash(cells)
    return _running_slot(loader, AFTER, BEFORE)


def test_the_other_slot() -> None:
    """The slot that otadata selects holds the new app, confirmed; the app before is in the other one."""
    assert slot_of(BEFORE, AFTER, OtaDataEntry.of(2, OtaState.VALID)) == "ota_1"
    entries = OtaDataEntry.of(3, OtaState.VALID), OtaDataEntry.of(2, OtaState.VALID)
    assert slot_of(AFTER, BEFORE, *entries) == "ota_0"


@pytest.mark.parametrize(
    ("first", "second", "entry", "cause"),
    [
        (BEFORE, AFTER, OtaDataEntry(), "ota-other-slot"),
        (BEFORE, AFTER, OtaDataEntry.of(1, OtaState.VALID), "ota-other-slot"),
        (BEFORE, None, OtaDataEntry.of(2, OtaState.VALID), "ota-other-slot"),
        (None, AFTER, OtaDataEntry.of(2, OtaState.VALID), "ota-other-slot"),
        (BEFORE, AFTER, OtaDataEntry.of(2, OtaState.PENDING_VERIFY), "ota-unconfirmed"),
    ],
)
def test_flashes_that_prove_nothing(
    first: Release | None, second: Release | None, entry: OtaDataEntry, cause: str
) -> None:
    """A blank otadata, the wrong slot, a lost app, and an app that the next restart takes back."""
    with pytest.raises(UnitFault) as caught:
        slot_of(first, second, entry)
    assert caught.value.cause == cause


def test_a_unit_that_does_not_ask() -> None:
    """A unit that has not asked for updates since its start is told nothing; an old question does not count."""
    watch = NodeWatch("node-1", lambda _topic, _payload: None, lambda: None)
    watch.take("node/node-1/otafetch", b"{}")
    visit: Any = SimpleNamespace(keep_going=lambda: None, board=SimpleNamespace(hear=lambda: None), measured={})
    _await_fetch(visit, watch, time.monotonic(), float("-inf"))
    with pytest.raises(UnitFault) as caught:
        _await_fetch(visit, watch, time.monotonic(), time.monotonic())
    assert caught.value.cause == "ota-no-fetch"
