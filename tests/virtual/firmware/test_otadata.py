"""Which app a board starts: `otadata`, a bootloader with rollback, and the app's own verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry as NvsEntry
from rmfab.nvs.table import EntryKind
from rmfab.product.vocabulary import Chip
from rmfab.release.partition_table import DataSubtype, Partition, PartitionTable, PartitionType
from rmfab.virtual.build.build_folder import make_app, make_bootloader
from rmfab.virtual.firmware import otadata
from rmfab.virtual.firmware.markers import BootloaderFacts, FirmwareFacts
from rmfab.virtual.firmware.otadata import OtaDataEntry, OtaState
from tests.virtual.rig import APP, FCTRY, NVS, OTADATA, TABLE, Rig, build_folder, factory_image, parts, plain

BLANK = OtaDataEntry()
NEW, PENDING, VALID, INVALID, ABORTED, UNDEFINED = OtaState
OTHER_SLOT = 0x200000


def _entry(sequence, state=VALID):
    return OtaDataEntry.of(sequence, state)


def _broken(sequence):
    return replace(_entry(sequence), crc=0x12345678)


SELECTION = {
    "both blank": (BLANK, BLANK, None),
    "the first alone": (_entry(1), BLANK, 0),
    "the second alone": (BLANK, _entry(2), 1),
    "the higher number": (_entry(5), _entry(4), 0),
    "the higher number in the second": (_entry(1), _entry(2), 1),
    "equal numbers": (_entry(3), _entry(3, NEW), 0),
    "the higher one invalid": (_entry(1), _entry(2, INVALID), 0),
    "the higher one aborted": (_entry(1), _entry(2, ABORTED), 0),
    "the higher one torn": (_entry(1), _broken(2), 0),
    "new": (_entry(1), _entry(2, NEW), 1),
    "not confirmed": (_entry(1), _entry(2, PENDING), 1),
    "without a state": (_entry(1), _entry(2, UNDEFINED), 1),
    "both taken back": (_entry(1, INVALID), _entry(2, ABORTED), None),
    "both torn": (_broken(1), _broken(2), None),
}


@pytest.mark.parametrize("case", SELECTION)
def test_which_entry_is_in_force(case):
    """The usable entry with the higher number is in force; one that was rolled back or has a wrong checksum is not."""
    first, second, expected = SELECTION[case]
    assert expected == otadata.in_force((first, second))


def test_an_entry_is_what_esp_idf_writes():
    """An entry is sequence, label, state and the checksum over the sequence alone, as in the flash of real chips."""
    first = b"\1\0\0\0" + b"\xff" * 20 + b"\2\0\0\0" + bytes.fromhex("9a984347")
    second = b"\2\0\0\0" + b"\xff" * 24 + bytes.fromhex("7437f655")
    assert first == _entry(1).encode()
    assert second == _entry(2, UNDEFINED).encode()
    assert OtaDataEntry.decode(first) == _entry(1)
    assert OtaDataEntry.decode(b"\xff" * 32) == BLANK
    assert not BLANK.is_sound


@pytest.mark.parametrize(("sequence", "slots", "slot"), [(1, 2, 0), (2, 2, 1), (3, 2, 0), (5, 3, 1), (0, 2, 1)])
def test_which_slot_an_entry_names(sequence, slots, slot):
    """The sequence number counts round the slots."""
    assert slot == _entry(sequence).slot(slots)


INITIAL = {
    "both blank": (BLANK, BLANK, True),
    "torn and taken back": (replace(_broken(2), state=ABORTED), BLANK, True),
    "taken back": (_entry(1, ABORTED), BLANK, False),
    "torn": (_broken(1), BLANK, False),
    "in force": (_entry(1), BLANK, False),
}


@pytest.mark.parametrize("case", INITIAL)
def test_what_counts_as_never_written(case):
    """Once an entry was completely written, otadata is not initial any more, even if the entry was rolled back."""
    first, second, expected = INITIAL[case]
    assert expected is otadata.is_initial((first, second))


NEXT = {
    "never written": ((BLANK, BLANK), 1, 2, (_entry(2, NEW), BLANK)),
    "the other slot": ((_entry(1), BLANK), 1, 2, (_entry(1), _entry(2, NEW))),
    "and back": ((_entry(1), _entry(2)), 0, 2, (_entry(3, NEW), _entry(2))),
    "the slot in force": ((_entry(1), _entry(2)), 1, 2, (_entry(1), _entry(2, NEW))),
    "one of three": ((_entry(4), _entry(2)), 2, 3, (_entry(4), _entry(6, NEW))),
    "over one taken back": ((_entry(1), _entry(2, ABORTED)), 1, 2, (_entry(1), _entry(2, NEW))),
}


@pytest.mark.parametrize("case", NEXT)
def test_what_an_update_writes(case):
    """An update writes the next number for its slot into the entry that is not in force; the other entry stays."""
    pair, slot, slots, expected = NEXT[case]
    assert expected == otadata.with_slot(pair, slot, slots, NEW)
    number = otadata.in_force(expected)
    assert slot == expected[number].slot(slots)


def test_what_a_bootloader_with_rollback_writes():
    """Every unconfirmed entry is aborted; a new entry in force gets its one start."""
    assert otadata.with_aborted((_entry(2, PENDING), _entry(1, PENDING))) == (_entry(2, ABORTED), _entry(1, ABORTED))
    assert otadata.with_aborted((_entry(1), _entry(2, NEW))) == (_entry(1), _entry(2, NEW))
    assert otadata.with_started((_entry(1, NEW), _entry(2, NEW))) == (_entry(1, NEW), _entry(2, PENDING))
    assert otadata.with_started((_entry(3), _entry(2, NEW))) == (_entry(3), _entry(2, NEW))


def test_states_have_words():
    """A state is printed in lower case; a number that is not a state counts as undefined."""
    words = ["new", "pending-verify", "valid", "invalid", "aborted", "undefined"]
    assert words == [_entry(1, state).word for state in OtaState]
    assert replace(_entry(1), state=7).word == "undefined"


# Boards.


def _network():
    """Return the partition `nvs` of a board with the factory's network."""
    ssid = b"rmfab-factory"
    values = {"sta.ssid": len(ssid).to_bytes(4, "little") + ssid.ljust(32, b"\0"), "sta.pswd": b"factory-floor"}
    return NVS, pack([NvsEntry("nvs.net80211", key, EntryKind.BLOB, value) for key, value in values.items()], 0x6000)


def _rig(first, second, *, rollback=True, confirms=True, online=False, more=()):
    """Return a board with version 1.0.0 in slot 0, 2.0.0 in slot 1, and these entries."""
    facts = FirmwareFacts(confirms=confirms)
    newer = make_app(Chip.ESP32C3, "rmfab-demo", "2.0.0", facts, app_size=128 * 1024)
    content = [*parts(rollback=rollback), (OTHER_SLOT, newer), *([_network()] if online else [])]
    entries = [(OTADATA, first.encode()), (OTADATA + 0x1000, second.encode())]
    return Rig(parts=[*content, *entries, *more])


def _pair(rig):
    return tuple(OtaDataEntry.decode(rig.board.flash.read(OTADATA + at, 32)) for at in (0, 0x1000))


def _version(text):
    return plain(text).rpartition("App version:")[2].split()[0]


def test_a_board_starts_the_slot_that_otadata_names():
    """The entry in force selects one of two valid apps, and nothing is written."""
    for first, second, version in ((_entry(1), BLANK, "1.0.0"), (_entry(1), _entry(2), "2.0.0")):
        rig = _rig(first, second)
        assert version == _version(rig.boot())
        assert (first, second) == _pair(rig)


def test_a_new_app_is_started_once_and_confirms_itself():
    """A new app is unconfirmed until it reaches its broker; then it is valid, also after restarts."""
    rig = _rig(_entry(1), _entry(2, NEW), online=True)
    text = rig.boot(0.1)
    assert _version(text) == "2.0.0"
    assert "esp_rmaker_ota: OTA state = 1\n" in text
    assert "esp_rmaker_ota: First Boot after an OTA\n" in text
    assert _pair(rig) == (_entry(1), _entry(2, PENDING))
    rig.timeline.run(1.0)
    assert "Reporting success: OTA Upgrade finished and verified successfully" in rig.text
    assert _pair(rig) == (_entry(1), _entry(2, VALID))
    text = rig.boot(300)
    assert _version(text) == "2.0.0"
    assert "OTA state = 2" in text
    assert "Rolling back" not in text


def test_an_app_that_never_confirms_is_taken_back_at_the_next_restart():
    """An unconfirmed app runs until a restart; then the bootloader aborts it and starts the previous one for good."""
    rig = _rig(_entry(1), _entry(2, NEW), confirms=False, online=True)
    identity = rig.board.flash.read(FCTRY, 0x6000)
    assert _version(rig.boot(600)) == "2.0.0"
    assert _pair(rig) == (_entry(1), _entry(2, PENDING))
    for _ in range(2):
        assert _version(rig.boot()) == "1.0.0"
        assert _pair(rig) == (_entry(1), _entry(2, ABORTED))
    assert identity == rig.board.flash.read(FCTRY, 0x6000)


def test_an_app_without_a_broker_takes_itself_back():
    """Firmware that confirms but is not provisioned waits, marks itself invalid and restarts into the previous app."""
    rig = _rig(_entry(1), _entry(2, NEW))
    text = rig.boot(1.0)
    assert "Provisioning started with service name" in text
    assert _pair(rig) == (_entry(1), _entry(2, PENDING))
    rig.timeline.run(10.0)
    assert "Could not verify firmware even after 90 seconds since boot-up. Rolling back." in rig.text
    assert "esp_ota_ops: Rollback to previously worked partition." in rig.text
    assert "rst:0xc (RTC_SW_CPU_RST)" in rig.text
    assert _version(rig.text) == "1.0.0"
    assert _pair(rig) == (_entry(1), _entry(2, INVALID))


def test_a_paced_board_waits_as_long_as_a_real_one():
    """On a paced board the wait is RainMaker's 90 seconds."""
    rig = _rig(_entry(1), _entry(2, NEW))
    rig.board.spec = replace(rig.board.spec, paced=0)
    rig.boot(80)
    assert _pair(rig) == (_entry(1), _entry(2, PENDING))
    rig.timeline.run(20)
    assert _pair(rig) == (_entry(1), _entry(2, INVALID))


def test_there_may_be_nothing_to_go_back_to():
    """Without a second valid app, the new one keeps running unconfirmed and prints a message after each wait."""
    rig = _rig(_entry(1), _entry(2, NEW), more=[(APP, b"\xff" * 0x1000)])
    text = rig.boot(25)
    assert text.count("Rollback is not possible, do not have any suitable apps in slots") >= 2
    assert "2.0.0" in text
    assert _pair(rig) == (_entry(1), _entry(2, PENDING))


@pytest.mark.parametrize("state", [NEW, PENDING])
def test_a_bootloader_without_rollback_takes_nothing_back(state):
    """A bootloader without rollback always starts the app in force and leaves the states unchanged."""
    rig = _rig(_entry(1), _entry(2, state), rollback=False, confirms=False)
    for _ in range(3):
        assert _version(rig.boot()) == "2.0.0"
        assert _pair(rig) == (_entry(1), _entry(2, state))


def test_a_bootloader_of_others_has_no_rollback():
    """A bootloader without a marker block has ESP-IDF's defaults."""
    stock = make_bootloader(Chip.ESP32C3, 4 << 20, BootloaderFacts(rollback=False))
    assert b"RMFABVBL" in stock
    rig = _rig(_entry(1), _entry(2, NEW), more=[(0, _unmarked(stock))])
    rig.boot()
    assert _pair(rig) == (_entry(1), _entry(2, NEW))


def _unmarked(bootloader):
    """Return an image without its marker: same checksum, a different digest, which the ROM does not check."""
    return bootloader.replace(b"RMFABVBL", b"RMFABVLB")


def test_an_app_that_panics_at_its_first_start_is_taken_back():
    """A panic restarts the chip before the app is confirmed, so the bootloader rolls back."""
    facts = FirmwareFacts(claim=False)
    dying = make_app(Chip.ESP32C3, "rmfab-demo", "3.0.0", facts, app_size=128 * 1024)
    blank = factory_image(node_id=None)
    rig = _rig(_entry(1), _entry(2, NEW), more=[(OTHER_SLOT, dying), (FCTRY, blank)])
    text = rig.boot(20)
    assert text.count("App version:      3.0.0") == 1
    assert "abort() was called" in text
    assert _version(text) == "1.0.0"
    assert _pair(rig) == (_entry(1), _entry(2, ABORTED))


def test_both_taken_back():
    """Without a usable entry, slot 0 is tried, and otadata is not written as if it were new."""
    pair = _entry(1, ABORTED), _entry(2, INVALID)
    rig = _rig(*pair)
    text = rig.boot()
    assert "boot: No factory image, trying OTA 0" in text
    assert "ota_seq" not in text
    assert pair == _pair(rig)


def test_both_torn():
    """Entries with wrong checksums are reported, and every slot is tried."""
    rig = _rig(_broken(1), _broken(2))
    text = rig.boot()
    assert "boot: ota data partition invalid and no factory, will try all partitions" in text
    assert _version(text) == "1.0.0"


def test_first_boot_of_a_fresh_board_is_noted_as_valid():
    """Blank otadata becomes entry 1, valid, so that the first update can be rolled back."""
    rig = _rig(BLANK, BLANK)
    assert "Set actual ota_seq=1 in otadata[0]" in rig.boot()
    assert _pair(rig) == (_entry(1), BLANK)


def _table_with_factory():
    app, data = PartitionType.APP, PartitionType.DATA
    return PartitionTable(
        (
            Partition("nvs", data, DataSubtype.NVS, 0x10000, 0x6000),
            Partition("otadata", data, DataSubtype.OTA, OTADATA, 0x2000),
            Partition("factory", app, 0x00, 0x20000, 0x80000),
            Partition("ota_0", app, 0x10, 0x100000, 0x80000),
            Partition("ota_1", app, 0x11, OTHER_SLOT, 0x80000),
            Partition("ota_2", app, 0x12, 0x300000, 0x80000),
            Partition("fctry", data, DataSubtype.NVS, FCTRY, 0x6000),
        )
    )


def _factory_rig(pair, *places):
    """Return a board with a factory app and three slots, an app in each of *places*."""
    good = (build_folder() / "rmfab-demo.bin").read_bytes()
    content = [part for part in parts() if part[0] not in (APP, TABLE)]
    entries = [(OTADATA, pair[0].encode()), (OTADATA + 0x1000, pair[1].encode())]
    return Rig(parts=[*content, (TABLE, _table_with_factory().encode()), *((at, good) for at in places), *entries])


ORDER = {
    "the slots before, then the factory app": ((_entry(2), BLANK), (0x20000, 0x300000), [1, 0], 0x20000),
    "then the slots behind": ((_entry(2), BLANK), (0x300000,), [1, 0, -1], 0x300000),
    "the one below first": ((_entry(3), BLANK), (0x100000, OTHER_SLOT), [2], OTHER_SLOT),
    "blank otadata": ((BLANK, BLANK), (0x20000, 0x100000), [], 0x20000),
    "torn otadata": ((_broken(1), BLANK), (0x20000, 0x100000), [], 0x20000),
    "blank otadata, a blank factory app": ((BLANK, BLANK), (OTHER_SLOT,), [-1, 0], OTHER_SLOT),
}


@pytest.mark.parametrize("case", ORDER)
def test_where_the_chosen_app_does_not_load(case):
    """The bootloader tries the slots down to the factory app, then up, and reports each app that is not bootable."""
    pair, places, failures, loaded = ORDER[case]
    text = _factory_rig(pair, *places).boot()
    names = {-1: "Factory app partition", **{n: f"OTA app partition slot {n}" for n in range(3)}}
    said = [line.partition("boot: ")[2] for line in text.splitlines() if line.endswith(" is not bootable")]
    assert said == [f"{names[number]} is not bootable" for number in failures]
    assert f"Loaded app from partition at offset 0x{loaded:x}" in text


def test_without_otadata_the_factory_app_is_started_without_a_word():
    """Without otadata in the table, the factory app is started without a message about the choice."""
    table = PartitionTable(tuple(p for p in _table_with_factory().partitions if p.label != "otadata"))
    good = (build_folder() / "rmfab-demo.bin").read_bytes()
    content = [part for part in parts() if part[0] not in (APP, TABLE)]
    text = Rig(parts=[*content, (TABLE, table.encode()), (0x20000, good)]).boot()
    assert "Defaulting to factory image" not in text
    assert "Loaded app from partition at offset 0x20000" in text


def test_the_test_app_is_the_last_resort():
    """If neither factory app nor slot loads, a test app is started."""
    table = _table_with_factory()
    rows = [replace(p, label="test", subtype=0x20) if p.label == "ota_2" else p for p in table.partitions]
    good = (build_folder() / "rmfab-demo.bin").read_bytes()
    content = [part for part in parts() if part[0] not in (APP, TABLE)]
    text = Rig(parts=[*content, (TABLE, PartitionTable(tuple(rows)).encode()), (0x300000, good)]).boot()
    assert "boot: Falling back to test app as only bootable partition" in text
    assert "Project name:     rmfab-demo" in text
