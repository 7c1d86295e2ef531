"""The CSV of a single device: what nvs_partition_gen takes, with all complaints at once."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen

from rmfab.errors import InputError
from rmfab.nvs.device_csv import read_device_csv
from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind, Namespace, PageVersion

CSV = """\
key,type,encoding,value
# made by hand
first,namespace,,
small,data,u8,255
text,data,string,"with, comma

and lines"
bytes,data,hex2bin,00ff10
more,data,base64,MTIzYWJj
from,file,binary,blob.bin

nvs.net80211,namespace,,
sta.ssid,data,binary,my net
big,file,hex2bin,blob.hex
last,data,i16,-300
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("blob.bin").write_bytes(bytes(range(256)) * 3)
    Path("blob.hex").write_text("ab" * 900)
    return tmp_path


def read(text: str, *allow: Path):
    Path("device.csv").write_text(text)
    return read_device_csv(Path("device.csv"), allow)


def complaints(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(text)
    return [str(one) for one in caught.value.complaints]


@pytest.mark.parametrize("version", PageVersion)
def test_bytes_are_the_generators(folder, version, capsys):
    """The image is the one that the generator makes of the same CSV."""
    items = read(CSV)
    number = 2 if version is PageVersion.V2 else 1
    nvs_partition_gen.generate(
        SimpleNamespace(input="device.csv", output="it.bin", size="0x5000", version=number, outdir=".")
    )
    assert pack(items, 0x5000, version) == Path("it.bin").read_bytes()


def test_items(folder):
    """Items are in order; comments and blank lines are skipped, but not inside of quotes."""
    items = read('key,type,encoding,value\n#x\na,namespace,,\n\nk,data,string,"#1\n\n#2"\nb,namespace\nn,data,u8, 7\n')
    assert items == [
        Namespace("a"),
        Entry("a", "k", EntryKind.STRING, "#1\n\n#2"),
        Namespace("b"),
        Entry("b", "n", EntryKind.U8, 7),
    ]


HEAD = "key,type,encoding,value\nns,namespace,,\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["device.csv:1: the header is not key,type,encoding,value"]),
        ("ns,namespace,,\nk,data,u8,1\n", ["device.csv:1: the header is not key,type,encoding,value"]),
        ("key,type,encoding,value\n", ["device.csv:1: the CSV has no entries"]),
        ("key,type,encoding,value\nk,data,u8,1\n", ['device.csv:2: key "k" has no namespace']),
        (HEAD + "k,data,u8,256\nl,data,u9,1\nk,data,u8,1\n", ["device.csv:3", "device.csv:4", "device.csv:5"]),
        (HEAD + "k,data,u8,1,2\nlone\n", ["device.csv:3: 5 cells", "device.csv:4: 1 cells"]),
        (HEAD + "other,namespace,,value\n", ["device.csv:3: a namespace has no value"]),
        (HEAD + "k,file,binary,/etc/hostname\n", ['device.csv:3: column "k": "/etc/hostname" is outside']),
    ],
)
def test_complaints(folder, text, found):
    """Every complaint has its line; all are raised at once."""
    told = complaints(text)
    assert len(told) == len(found)
    assert all(one.startswith(start) for one, start in zip(told, found, strict=True)), told


def test_allowed_files(folder):
    """Files outside of the CSV's folder are read if their folder is allowed."""
    Path("keys").mkdir()
    Path("keys/k").write_bytes(b"key")
    Path("in").mkdir()
    Path("in/device.csv").write_text(HEAD + "k,file,binary,keys/k\n")
    with pytest.raises(InputError, match="outside"):
        read_device_csv(Path("in/device.csv"))
    assert read_device_csv(Path("in/device.csv"), [Path("keys")])[1] == Entry("ns", "k", EntryKind.BLOB, b"key")
