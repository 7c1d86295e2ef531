"""Partition tables, binary and CSV."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.release.partition_table import AppSubtype, DataSubtype, Partition, PartitionTable, PartitionType
from tests.release.partition_csv import table_from_csv

RAINMAKER = """\
# Name,   Type, SubType, Offset,  Size, Flags

esp_secure_cert,  0x3F,          ,    0xD000,     0x2000, encrypted
nvs_key,  data, nvs_keys, 0xF000, 0x1000, encrypted
nvs,      data, nvs,     0x10000,   0x6000,
otadata,  data, ota,     ,          0x2000
phy_init, data, phy,     ,          0x1000,
ota_0,    app,  ota_0,   0x20000,   1600K,
ota_1,    app,  ota_1,   ,          1600k,
fctry,    data, nvs,     0x340000,  24K
"""
# SHA-256 of the output of ESP-IDF's gen_esp32part.py for the text above (--offset 0xC000), and for OTHER (0x8000).
RAINMAKER_SHA256 = "f17c3c9535d315ac7225ddf6d2a7d087e038bbf811bf0edc155011fccb4b6c4b"
OTHER = """\
nvs, data, nvs, , 24K
phy_init,data,phy,,0x1000,
factory,app,factory,,1M
a,app,ota_0,,1M,readonly:encrypted
st,data,littlefs,,-0x400000
"""
OTHER_BINARY = (
    "aa50010200900000006000006e76730000000000000000000000000000000000"
    "aa50010100f00000001000007068795f696e6974000000000000000000000000"
    "aa5000000000010000001000666163746f727900000000000000000000000000"
    "aa50001000001100000010006100000000000000000000000000000003000000"
    "aa5001830000210000001f007374000000000000000000000000000000000000"
    "ebebffffffffffffffffffffffffffff3c84eedf02eda01de9316615cf2c31b4"
)


def test_csv_gives_the_bytes_of_the_reference_tool():
    """Omitted offsets, K and M, flags and sizes up to an offset give the bytes of gen_esp32part.py."""
    table = table_from_csv(OTHER, 0x8000, "other.csv")
    assert table.encode() == bytes.fromhex(OTHER_BINARY).ljust(0xC00, b"\xff")
    rainmaker = table_from_csv(RAINMAKER, 0xC000, "rainmaker.csv").encode()
    assert hashlib.sha256(rainmaker).hexdigest() == RAINMAKER_SHA256


def test_csv_fills_in_offsets():
    """Data is placed at the next 4 KB, apps at the next 64 KB; an empty subtype is `undefined`."""
    table = table_from_csv(RAINMAKER, 0xC000, "rainmaker.csv")
    offsets = {row.label: row.offset for row in table.partitions}
    assert offsets["otadata"] == 0x16000
    assert offsets["phy_init"] == 0x18000
    assert offsets["ota_1"] == 0x1B0000
    assert table.required("esp_secure_cert").subtype == DataSubtype.UNDEFINED
    assert table.required("esp_secure_cert").encrypted
    assert table.end == 0x346000


@pytest.mark.parametrize(
    ("kind", "subtype", "usage"),
    [
        (PartitionType.APP, AppSubtype.FACTORY, "factory app"),
        (PartitionType.APP, AppSubtype.TEST, "test app"),
        (PartitionType.APP, 0x13, "OTA app"),
        (PartitionType.APP, 0x30, "Unknown app"),
        (PartitionType.DATA, DataSubtype.OTA, "OTA data"),
        (PartitionType.DATA, DataSubtype.PHY, "RF data"),
        (PartitionType.DATA, DataSubtype.NVS, "WiFi data"),
        (PartitionType.DATA, DataSubtype.NVS_KEYS, "NVS keys"),
        (PartitionType.DATA, DataSubtype.EFUSE, "efuse"),
        (PartitionType.DATA, DataSubtype.SPIFFS, "Unknown data"),
        (0x3F, 0x06, "unknown"),
    ],
)
def test_usage_is_what_the_bootloader_prints(kind: int, subtype: int, usage: str):
    """Usages are the words in the bootloader's list of partitions."""
    assert Partition("x", kind, subtype, 0x20000, 0x1000).usage == usage


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nvs,data,nvs,0x9001,0x6000", "not a multiple of 0x1000"),
        ("app,app,factory,0x11000,0x10000", "not a multiple of 0x10000"),
        ("app,app,factory,0x10000,0x10001", "size 0x10001"),
        ("app,app,,0x10000,1M", "needs a subtype"),
        ("nvs,data,nvs,0x9000,", "size is empty"),
        ("nvs,data,nvs,0x8000,0x1000", "starts before 0x9000"),
        ("nvs,data,novs,0x9000,0x6000", '"novs" is not a subtype'),
        ("nvs,date,nvs,0x9000,0x6000", '"date" is not a type'),
        ("nvs,data,nvs,0x9000,6000Q", "is not a size"),
        ("nvs,data,nvs,0x9000,0x6000,secret", 'unknown flag "secret"'),
        ("a_label_of_17_chars,data,nvs,0x9000,0x6000", "1 to 16"),
        (",data,nvs,0x9000,0x6000", "1 to 16"),
        ("nvs,,nvs,0x9000,0x6000", "type is empty"),
        ("nvs,0xff,0,0x9000,0x6000", "0x00 to 0xFE"),
        ("nvs,data,nvs,0x9000,0", "not a range"),
    ],
)
def test_csv_faults_name_file_and_line(line: str, reason: str):
    """Each bad row is rejected with its line and the reason."""
    with pytest.raises(InputError) as caught:
        table_from_csv(f"# table\n\n{line}\n", 0x8000, "p.csv")
    assert caught.value.where == "p.csv:3"
    assert reason in caught.value.what


@pytest.mark.parametrize(
    ("csv", "reason"),
    [
        ("a,data,nvs,0x9000,0x6000\na,data,phy,,0x1000", 'duplicate label "a"'),
        ("a,data,ota,0x9000,0x2000\nb,data,ota,,0x2000", "both OTA data"),
        ("a,data,ota,0x9000,0x1000", "expected 0x2000"),
    ],
)
def test_tables_that_cannot_be(csv: str, reason: str):
    """Labels are unique, and there is at most one OTA data partition, of two sectors."""
    with pytest.raises(InputError, match=reason):
        table_from_csv(csv, 0x8000, "p.csv")


def test_rows_may_not_overlap():
    """Partitions that share bytes are rejected, in any order of rows."""
    rows = (Partition("b", 1, 2, 0xA000, 0x2000), Partition("a", 1, 6, 0x9000, 0x2000))
    with pytest.raises(InputError, match='"b" at 0xa000 overlaps "a"'):
        PartitionTable(rows)


def test_a_table_holds_94_rows():
    """A table has 96 rows less the MD5 row and the end marker."""
    rows = tuple(Partition(f"p{n}", 0x40, 0, 0x10000 + n * 0x1000, 0x1000) for n in range(95))
    assert PartitionTable.parse(PartitionTable(rows[:94]).encode(), "t").partitions == rows[:94]
    with pytest.raises(InputError, match="do not fit"):
        PartitionTable(rows)


def _binary() -> bytearray:
    return bytearray(table_from_csv(OTHER, 0x8000, "o").encode())


def _without_md5() -> bytes:
    data = _binary()
    data[5 * 32 : 6 * 32] = b"\xff" * 32
    return bytes(data)


def _row(**changes: int) -> bytes:
    fields = {"type": 1, "subtype": 2, "offset": 0x9000, "size": 0x6000, "flags": 0, **changes}
    row = struct.pack("<2sBBLL16sL", b"\xaa\x50", *list(fields.values())[:4], b"nvs", fields["flags"])
    return row + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(row).digest() + b"\xff" * 32


def test_a_table_without_md5_row():
    """CONFIG_PARTITION_TABLE_MD5 may be off: bootloaders accept such tables."""
    whole = PartitionTable.parse(bytes(_binary()), "t")
    assert PartitionTable.parse(_without_md5(), "t") == whole


@pytest.mark.parametrize(
    "changes", [{"flags": 4}, {"flags": 0x80000003}, {"subtype": 0xFF}, {"subtype": 0xFF, "flags": 8}]
)
def test_what_the_reference_accepts_in_a_row(changes: dict[str, int]):
    """Unknown flags and subtype 0xff are kept as they are: gen_esp32part.py warns of flags and accepts both."""
    (row,) = PartitionTable.parse(_row(**changes), "t").partitions
    assert (row.subtype, row.other_flags) == (changes.get("subtype", 2), changes.get("flags", 0) & ~3)
    assert row.encode() == _row(**changes)[:32]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "table-end"),
        (b"\xff" * 0xC00, "table-md5"),
        (bytes(0xC00), "table-magic"),
        (bytes(_binary()[:32]), "table-end"),
        (bytes(_binary()[: 6 * 32]), "table-end"),
        (_row(offset=0x9004), "table-row"),
        (_row(size=0), "table-row"),
    ],
)
def test_bad_binaries_name_their_cause(data: bytes, cause: str):
    """Blank, truncated, misaligned, empty: each has its own cause, and the place."""
    with pytest.raises(InputError) as caught:
        PartitionTable.parse(data, "flash at 0x8000")
    assert (caught.value.cause, caught.value.where) == (cause, "flash at 0x8000")


def test_every_changed_byte_of_the_rows_is_noticed():
    """The MD5 row protects the rows and itself."""
    whole = _binary()
    for at in range(6 * 32):
        changed = whole.copy()
        changed[at] ^= 0x10
        with pytest.raises(InputError):
            PartitionTable.parse(bytes(changed), "t")


def test_what_follows_the_end_marker_is_not_looked_at():
    """A signature after the table, or the rest of its sector, is ignored."""
    assert PartitionTable.parse(bytes(_binary()) + b"signature", "t").find("factory") is not None


def test_required_names_what_there_is():
    """The error for a missing partition lists the existing ones."""
    table = table_from_csv(OTHER, 0x8000, "o")
    assert table.find("fctry") is None
    with pytest.raises(InputError) as caught:
        table.required("fctry")
    assert "nvs, phy_init, factory" in str(caught.value.hint)


@st.composite
def _tables(draw: st.DrawFn) -> PartitionTable:
    rows, at = [], draw(st.integers(9, 32)) * 0x1000
    texts = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=16)
    for label in draw(st.lists(texts, max_size=12, unique=True)):
        kind, subtype = draw(st.sampled_from([(0, 0x10), (0, 0), (1, 2), (1, 4), (0x3F, 6), (0xFE, 0xFE)]))
        at = -(-at // 0x10000) * 0x10000 if kind == 0 else at
        size = draw(st.integers(1, 64)) * 0x1000
        rows.append(Partition(label, kind, subtype, at, size, draw(st.booleans()), draw(st.booleans())))
        at += size + draw(st.integers(0, 3)) * 0x1000
    return PartitionTable(tuple(draw(st.permutations(rows))))


@given(_tables())
def test_a_table_reads_back_as_it_was_written(table: PartitionTable):
    """Parsing an encoded table gives the same table and the same bytes again."""
    data = table.encode()
    assert len(data) == 0xC00
    assert PartitionTable.parse(data, "t") == table
    assert PartitionTable.parse(data, "t").encode() == data


@given(st.binary(max_size=256))
def test_any_bytes_are_a_table_or_an_input_error(data: bytes):
    """Any bytes parse as a table or raise InputError."""
    for candidate in (data, b"\xaa\x50" + data):
        with pytest.raises(InputError):
            PartitionTable.parse(candidate, "t")
