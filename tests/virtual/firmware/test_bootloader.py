"""The output of a board for what is in its flash: ROM, bootloader, app."""

from __future__ import annotations

import hashlib
import json
import re
import zlib

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.virtual.build.build_folder import FirmwareFacts, make_app, make_bootloader, rainmaker_table
from rmfab.virtual.chip.command import checksum
from tests.virtual.rig import APP, FCTRY, NVS, OTADATA, TABLE, Rig, build_folder, factory_image, parts

CHIPS = pytest.mark.parametrize("chip", list(Chip), ids=lambda chip: chip.value)


@CHIPS
def test_a_whole_release_boots(chip):
    """Every chip starts its own firmware: reset line, bootloader, table, app description, node, provisioning."""
    rig = Rig(chip, parts=parts(chip))
    text = rig.boot()
    facts = AppImage.parse((build_folder(chip) / "rmfab-demo.bin").read_bytes(), "app").descriptor
    assert len(re.findall(r"^rst:0x1 \(POWERON", text, re.MULTILINE)) == 1
    assert f"boot.{chip.value}: SPI Flash Size : 4MB" in text
    assert " 8 fctry            WiFi data        01 02 003fa000 00006000" in text
    assert "boot: Loaded app from partition at offset 0x20000" in text
    assert "app_init: Project name:     rmfab-demo\n" in text
    assert "app_init: App version:      1.0.0\n" in text
    assert f"app_init: ELF file SHA256:  {facts.elf_sha256[:9]}...\n" in text
    assert "app_init: ESP-IDF:          v5.5.1\n" in text
    assert "esp_rmaker_node: Node ID ----- NodeOfThisVeryTest\n" in text
    assert "Provisioning started with service name : PROV_3d3e3f \n" in text


@CHIPS
def test_download_mode_says_so(chip):
    """Strapped for download, the ROM prints its boot mode and waits."""
    text = Rig(chip).text
    assert re.search(r"boot:0x[0-9a-f]+ \(DOWNLOAD.*\)\r\n.*waiting for download", text, re.DOTALL)


def _without(offset):
    return [part for part in parts() if part[0] != offset]


def _changed(offset, at, value):
    return [(o, d if o != offset else d[:at] + value + d[at + len(value) :]) for o, d in parts()]


def _table(table):
    return [*_without(TABLE), (TABLE, table)]


def _row(label, kind, subtype, offset, size):
    return (
        b"\xaa\x50"
        + bytes((kind, subtype))
        + offset.to_bytes(4, "little")
        + size.to_bytes(4, "little")
        + label.ljust(16, b"\0")
        + bytes(4)
    )


def _own_table(*rows):
    data = b"".join(rows)
    return (data + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(data).digest()).ljust(0xC00, b"\xff")


FAILURES = {
    "table with a wrong MD5": (
        _changed(TABLE, 0x0C, b"\x02"),
        ["flash_parts: Incorrect MD5 checksum", "load partition table error!"],
    ),
    "table past the flash": (
        _table(_own_table(_row(b"ota_0", 0, 0x10, 0x20000, 0x400000))),
        ["partition 0 invalid - offset 0x20000 size 0x400000 exceeds flash chip size 0x400000"],
    ),
    "no app": (
        _without(APP),
        ["image at 0x20000 has invalid magic byte", "No bootable app partitions in the partition table"],
    ),
    "app hash": (_changed(APP, 128 * 1024 - 2, b"\0\0"), ["Image hash failed - image is corrupt"]),
    "app checksum": (
        _changed(APP, 0x200, b"\x12\x34\x56"),
        ["esp_image: Checksum failed", "OTA app partition slot 0 is not bootable"],
    ),
    "app of a different chip": (
        [*_without(APP), (APP, make_app(Chip.ESP32S3, "x", "1", FirmwareFacts(), app_size=128 * 1024))],
        ["boot_comm: mismatch chip ID, expected 5, found 9"],
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_does_not_boot_says_why(case):
    """The bootloader prints its own message for each reason not to boot, and the board restarts again and again."""
    content, lines = FAILURES[case]
    text = Rig(parts=content).boot(1.2)
    for line in lines:
        assert line in text
    assert "Project name" not in text
    assert text.count("rst:0x3 (RTC_SW_SYS_RST)") >= 2


def test_old_chip_is_refused():
    """A chip older than the image allows does not start it."""
    assert (
        "chip revision check failed. Required >= v0.3, found v0.0" in Rig(parts=parts(), faults=["old-revision"]).boot()
    )


def test_table_at_8000():
    """A table at 0x8000 is found if there is none at 0xC000."""
    content = [*_without(TABLE), (0x8000, rainmaker_table().encode())]
    assert "Project name:     rmfab-demo" in Rig(parts=content).boot()


def test_otadata_is_written_once_and_obeyed():
    """Without a factory app, the bootloader records slot 0 on the first boot; a later entry selects the other slot."""
    rig = Rig(parts=parts())
    assert "No factory image, trying OTA 0" in rig.boot()
    assert rig.board.flash.read(OTADATA, 4) == b"\1\0\0\0"
    assert "ota_seq" not in rig.boot()
    other = make_app(Chip.ESP32C3, "other", "2", FirmwareFacts(), app_size=128 * 1024)
    rig.board.flash.program(0x200000, other)
    rig.board.flash.program(OTADATA + 0x1000, b"\2\0\0\0" + b"\xff" * 24 + b"\0\1\2\3")
    assert "Project name:     rmfab-demo" in rig.boot()  # its checksum is wrong
    rig.board.flash.erase(OTADATA + 0x1000, 1)
    rig.board.flash.program(OTADATA + 0x1000, _otadata(2))
    assert "Project name:     other" in rig.boot()


def _otadata(sequence):
    return (
        sequence.to_bytes(4, "little")
        + b"\xff" * 24
        + zlib.crc32(sequence.to_bytes(4, "little"), 0xFFFFFFFF).to_bytes(4, "little")
    )


def test_second_slot_when_the_first_is_broken():
    """If the app in slot 0 is broken, a valid one in slot 1 is started."""
    good = (build_folder() / "rmfab-demo.bin").read_bytes()
    text = Rig(parts=[*_changed(APP, 0x200, b"\x12\x34\x56"), (0x200000, good)]).boot()
    assert "OTA app partition slot 0 is not bootable" in text
    assert "Loaded app from partition at offset 0x200000" in text


def test_nvs_differs_after_every_boot():
    """Each boot writes to `nvs`, and after the first one only to `nvs`."""
    rig = Rig(parts=parts())
    rig.boot()
    before = rig.board.flash.read(0, 4 << 20)
    rig.boot()
    after = rig.board.flash.read(0, 4 << 20)
    assert before[NVS : NVS + 0x6000] != after[NVS : NVS + 0x6000]
    assert before[:NVS] + before[NVS + 0x6000 :] == after[:NVS] + after[NVS + 0x6000 :]


@pytest.mark.parametrize(
    ("fault", "line", "reason"),
    [
        ("panic", "Guru Meditation Error: Core  0 panic'ed (Load access fault)", "rst:0xc (RTC_SW_CPU_RST)"),
        ("brownout", "Brownout detector was triggered", "rst:0xf (BROWNOUT_RST)"),
        ("small-flash", "Detected size(2048k) smaller than the size in the binary image header(4096k)", "rst:0xc"),
        ("secure-boot", "secure boot verification failed", "rst:0x7 (TG0WDT_SYS_RST)"),
        ("flash-encryption", "invalid header: 0xa6c1e49b", "rst:0x7 (TG0WDT_SYS_RST)"),
    ],
)
def test_faults_that_restart_the_board(fault, line, reason):
    """Each of these faults ends in a restart loop, and the ROM prints its reason."""
    limit = 2 << 20 if fault == "small-flash" else 4 << 20
    content = [part for part in parts() if part[0] < limit]
    text = Rig(parts=content, faults=[fault]).boot(1.5)
    assert line in text
    assert text.count(reason) >= 2


def test_silent_board():
    """A silent board prints nothing."""
    assert Rig(parts=parts(), faults=["silent"]).boot() == ""


def test_header_says_less_flash_than_the_table_needs():
    """A bootloader built for 2 MB rejects a table for 4 MB."""
    text = Rig(parts=[*_without(0), (0, make_bootloader(Chip.ESP32C3, 2 << 20))]).boot()
    assert "partition 6 invalid - offset 0x200000 size 0x1e0000 exceeds flash chip size 0x200000" in text


def test_json_of_the_rig():
    """The offsets in these tests are those of the build folder."""
    files = json.loads((build_folder() / "flasher_args.json").read_text())["flash_files"]
    assert {0, TABLE, APP, OTADATA} == {int(offset, 16) for offset in files}
    assert len(factory_image()) + FCTRY == 4 << 20


OLD_AND_NEW = ["v4.2", "v4.4.3", "v5.0.3", "v5.1.6", "v5.2", "v5.4.4", "v5.5", "v5.5.1", "v6.0", "v6.1-dev-399-gabc"]


def _with_bootloader(version, content=None):
    rest = [part for part in (parts() if content is None else content) if part[0] != 0]
    return [*rest, (0, make_bootloader(Chip.ESP32C3, 4 << 20, idf_version=version))]


@pytest.mark.parametrize("version", OLD_AND_NEW)
def test_a_bootloader_names_its_own_version(version):
    """The bootloader's ESP-IDF version is its own, not the app's; it also decides about colours."""
    rig = Rig(parts=_with_bootloader(version))
    text = rig.boot()
    assert f"boot: ESP-IDF {version} 2nd stage bootloader\n" in text
    assert "app_init: ESP-IDF:          v5.5.1\n" in text
    assert ("\x1b[0;32mI (20)" in rig.text.replace("I (23)", "I (20)")) is (version < "v6")
    dated = "compile time Jan  1 2026 00:00:00\n" if version >= "v5.2" else "compile time 00:00:00\n"
    assert dated in text


@pytest.mark.parametrize("version", OLD_AND_NEW)
def test_a_blank_table_reads_by_version(version):
    """Before ESP-IDF 5.5 a blank table is a table without rows; since then its first row is invalid."""
    text = Rig(parts=_with_bootloader(version, _without(TABLE))).boot()
    if version < "v5.5":
        assert "## Label            Usage          Type ST Offset   Length\nI" in text
        assert re.search(r"End of partition table\n.*No bootable app partitions in the partition table\n", text)
        assert "Failed to verify" not in text
    else:
        assert "flash_parts: partition 0 invalid magic number 0xffff\n" in text
        assert "boot: Failed to verify partition table\n" in text
        assert "load partition table error!\n" in text


TABLES = {
    "row with a wrong magic": (
        _row(b"nvs", 1, 2, 0x10000, 0x6000) + b"\xa0\x0a",
        "partition 1 invalid magic number 0xaa0",
    ),
    "erased in the middle": (
        _row(b"nvs", 1, 2, 0x10000, 0x6000) + b"\xff\xff\x01",
        "partition 1 invalid magic number 0xffff",
    ),
    "two MD5 rows": (
        (one := b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(b"").digest()) + one,
        "Only one MD5 checksum is allowed",
    ),
    "MD5 of something else": (b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(b"x").digest(), "Incorrect MD5 checksum"),
    "no end": (
        b"".join(_row(b"p%d" % n, 0x40, 0, 0x10000 + n, 1) for n in range(96)),
        "partition table has no terminating entry, not valid",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_broken_table_has_its_own_words(case):
    """The bootloader reports the first thing that is wrong with a table."""
    table, words = TABLES[case]
    text = Rig(parts=_table(table.ljust(0xC00, b"\xff"))).boot()
    assert f"flash_parts: {words}\n" in text
    assert "Partition Table:" not in text


def test_a_table_without_md5_is_fine():
    """The MD5 row is not required, and a row that overlaps a different one does not keep the others from booting."""
    rows = [
        _row(b"nvs", 1, 2, 0x10000, 0x6000),
        _row(b"odd", 0x40, 7, 0x11000, 0x1000),
        _row(b"ota_0", 0, 0x10, 0x20000, 0x1E0000),
        _row(b"fctry", 1, 2, 0x3FA000, 0x6000),
    ]
    text = Rig(parts=_table(b"".join(rows).ljust(0xC00, b"\xff"))).boot()
    assert "Loaded app from partition at offset 0x20000" in text


USES = [
    (0, 0x00, "factory app"),
    (0, 0x20, "test app"),
    (0, 0x1F, "OTA app"),
    (0, 0x30, "Unknown app"),
    (1, 0x00, "OTA data"),
    (1, 0x01, "RF data"),
    (1, 0x04, "NVS keys"),
    (1, 0x05, "efuse"),
    (1, 0x82, "Unknown data"),
    (0x3F, 6, "unknown"),
    (0x06, 6, "unknown"),
    (2, 0, "primary bootloader"),
    (2, 2, "recovery bootloader"),
    (2, 9, "unknown"),
    (3, 1, "ota partition_table"),
]


@pytest.mark.parametrize(("kind", "subtype", "use"), USES)
@pytest.mark.parametrize("version", ["v5.3.2", "v5.4"])
def test_what_the_bootloader_calls_a_row(kind, subtype, use, version):
    """A type that the bootloader does not know is `unknown`; it knows its own partitions since ESP-IDF 5.4."""
    size = 0x2000 if (kind, subtype) == (1, 0) else 0x10000
    text = Rig(parts=_with_bootloader(version, _table(_own_table(_row(b"this", kind, subtype, 0x20000, size))))).boot()
    known = use if version == "v5.4" or kind not in (2, 3) else "unknown"
    assert f"boot:  0 this             {known:<16} {kind:02x} {subtype:02x} 00020000 {size:08x}\n" in text


@pytest.mark.parametrize("flip", [1, 0x5A, 0x80])
def test_the_apps_checksum_is_computed(flip):
    """The two checksums of an app are those of its bytes, and its segments are listed before."""
    app = (build_folder() / "rmfab-demo.bin").read_bytes()
    length = AppImage.parse(app, "app").length
    stored = app[length - 33]
    bad = _changed(APP, 0x200, bytes([app[0x200] ^ flip]))
    text = Rig(parts=bad).boot()
    assert re.search(
        rf"segment 3: .*\n.*esp_image: Checksum failed. Calculated 0x{stored ^ flip:x} read 0x{stored:x}\n"
        r".*OTA app partition slot 0 is not bootable\n",
        text,
    )


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (0x8000, "Image length \\d+ doesn't fit in partition length 65536"),
        (None, "invalid segment length 0xffffffff"),
    ],
    ids=["small partition", "erased"],
)
def test_an_app_that_is_cut_short(kept, words):
    """An app longer than its partition, and one whose tail is erased, have their own messages."""
    app = (build_folder() / "rmfab-demo.bin").read_bytes()
    second = AppImage.parse(app, "app").segments[1].file_offset
    size = 0x10000 if kept else 0x1E0000
    table = _own_table(_row(b"nvs", 1, 2, 0x10000, 0x6000), _row(b"ota_0", 0, 0x10, APP, size))
    content = [part for part in _table(table) if part[0] != APP]
    text = Rig(parts=[*content, (APP, app if kept else app[: second - 8])]).boot()
    assert re.search(f"esp_image: {words}\n", text)


@pytest.mark.parametrize(("version", "tag"), [("v5.1.6", "cpu_start"), ("v5.2", "app_init")])
def test_the_tag_of_the_apps_own_lines(version, tag):
    """Before ESP-IDF 5.2 the app describes itself under the tag of the CPU start."""
    app = bytearray((build_folder() / "rmfab-demo.bin").read_bytes())
    image = AppImage.parse(bytes(app), "app")
    app[0x20 + 112 : 0x20 + 144] = version.encode().ljust(32, b"\0")
    end = image.length - 32
    app[end - 1] ^= checksum(version.encode()) ^ checksum(b"v5.5.1")
    app[end:] = hashlib.sha256(app[:end]).digest()
    text = Rig(parts=[*_without(APP), (APP, bytes(app))]).boot()
    assert f"{tag}: Project name:     rmfab-demo\n" in text
