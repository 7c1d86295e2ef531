"""Images from CSVs: the bytes of the reference generator, rows checked first, repeatable, parallel."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.nvs import mass_mfg
from rmfab.nvs.grammar import parse_config, read_values
from rmfab.nvs.mass_mfg import MassMfgStage, Numbering, Progress
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import PageVersion

CONFIG = "ns,namespace,\nid,data,string\nn,data,u16\nfixed,data,i32,REPEAT\n"
VALUES = "serial,id,n,fixed\nA-1,x,1,-5\nA-2,y,2,\nA-3,z,3,\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(config=CONFIG, values=VALUES, size=0x3000, out="out", workers=1, **options) -> list[Progress]:
    Path("config.csv").write_text(config, newline="")
    Path("values.csv").write_text(values, newline="")
    values_file = read_values(parse_config(Path("config.csv")), Path("values.csv"))
    order = mass_mfg.MassMfgRequest(values_file, "Fan", size, Path(out), **options)
    return list(mass_mfg.generate(order, workers))


def names(out="out") -> list[str]:
    return sorted(str(path.relative_to(out)) for path in Path(out).rglob("*") if path.is_file())


def regenerate(path: Path, size: int, version: int = 2) -> bytes:
    """Return the real generator's image of one of our intermediate CSVs."""
    folder = path.parent.parent / "again"
    nvs_partition_gen.generate(
        SimpleNamespace(input=str(path), output="again.bin", size=hex(size), version=version, outdir=str(folder))
    )
    return (folder / "again.bin").read_bytes()


def test_files_and_progress(folder):
    """Each row becomes a csv and a bin with its number in the name; the progress counts the rows of both stages."""
    progress = run()
    assert names() == [f"{kind}/Fan-{n}.{kind}" for kind in ("bin", "csv") for n in (1, 2, 3)]
    assert progress[-1] == Progress(MassMfgStage.WRITE, 3, 3)
    assert Progress(MassMfgStage.CHECK, 3, None) in progress
    image = read_image(Path("out/bin/Fan-2.bin").read_bytes())
    assert (image.value("ns", "id"), image.value("ns", "n"), image.value("ns", "fixed")) == ("y", 2, -5)


def test_intermediate_csv(folder):
    """The csv is the generator's input: CRLF, minimal quoting, REPEAT filled in."""
    run(values='id,n,fixed\n"a,""b""\nc",1,-5\n')
    assert Path("out/csv/Fan-1.csv").read_bytes() == (
        b'key,type,encoding,value\r\nns,namespace,,\r\nid,data,string,"a,""b""\nc"\r\nn,data,u16,1\r\nfixed,data,i32,-5\r\n'
    )


def test_modes(folder):
    """Images and CSVs contain secrets: files are 0600 in 0700 folders."""
    run()
    assert Path("out/bin").stat().st_mode & 0o777 == 0o700
    assert Path("out/csv").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path("out").rglob("*.*")} == {0o600}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fileid": "serial"}, ["A-1", "A-2", "A-3"]),
        ({"fileid": "n"}, ["1", "2", "3"]),
        ({"numbering": Numbering(9, 4)}, ["0009-1", "0010-2", "0011-3"]),
        ({"numbering": Numbering(0, 1), "fileid": "serial"}, ["0-A-1", "1-A-2", "2-A-3"]),
    ],
)
def test_names(folder, options, expected):
    """File names have the running number and the cell of the fileid column, which may be a key or not."""
    run(**options)
    assert [path.stem for path in sorted(Path("out/bin").iterdir())] == [f"Fan-{name}" for name in expected]


def test_order_of_the_generator_is_kept(folder):
    """An existing folder is used, and its other files are kept."""
    Path("out/bin").mkdir(parents=True)
    Path("out/bin/other").write_text("mine")
    run()
    assert "bin/other" in names()


BAD = [
    ({"values": "id,n,fixed\nx,1,1\ny,70000,\n"}, "values.csv:3"),
    ({"values": "id,n,fixed\nx,1,1\ny,2\n"}, "values.csv:3"),
    ({"values": "serial,id,n,fixed\na,x,1,1\na,y,2,\n", "fileid": "serial"}, "values.csv:3"),
    ({"values": "serial,id,n,fixed\n../a,x,1,1\n", "fileid": "serial"}, "values.csv:2"),
    ({"values": "serial,id,n,fixed\n.a,x,1,1\n", "fileid": "serial"}, "values.csv:2"),
    ({"values": "serial,id,n,fixed\n,x,1,1\n", "fileid": "serial"}, "values.csv:2"),
    ({"fileid": "cereal"}, "values.csv:1"),
    ({"size": 0x2000}, None),
    ({"size": 0x3100}, None),
    ({"config": "ns,namespace,\nid,data,string\nn,file,binary\nfixed,data,i32\n"}, "values.csv:2"),
]


@pytest.mark.parametrize(("options", "where"), BAD)
def test_nothing_is_made_when_any_row_is_wrong(folder, options, where):
    """If a row, id or option is wrong, the error names it and nothing is created."""
    with pytest.raises(InputError) as caught:
        run(**options)
    assert caught.value.where == where
    assert not Path("out").exists()


def test_too_big_is_found_before_writing(folder):
    """A row that does not fit the partition is reported with its line before anything is written."""
    Path("big").write_bytes(bytes(9000))
    Path("small").write_bytes(bytes(10))
    config = "ns,namespace,\nb,file,binary\n"
    with pytest.raises(InputError, match="need a partition of 0x4000 bytes, it has 0x3000") as caught:
        run(config, "b\nsmall\nbig\n")
    assert caught.value.where == "values.csv:3"
    assert not Path("out").exists()
    assert run(config, "b\nsmall\nbig\n", size=0x4000)[-1].done == 2


def test_every_complaint_at_once(folder):
    """Complaints about rows, cells and names are raised together, sorted by line."""
    values = "serial,id,n,fixed\na,x,1,1\n/b,y,x,\nc,z,70000,\na,z,1,\n"
    with pytest.raises(InputError) as caught:
        run(values=values, fileid="serial")
    assert [error.where for error in caught.value.complaints] == [f"values.csv:{line}" for line in (3, 3, 4, 5)]


@pytest.mark.parametrize("prefix", ["", "../Fan", ".Fan", "Fan 1", "a" * 65, "Fan/x"])
def test_unsafe_prefix(folder, prefix):
    """A prefix that is not safe in a file name is rejected."""
    Path("config.csv").write_text(CONFIG)
    Path("values.csv").write_text(VALUES)
    values = read_values(parse_config(Path("config.csv")), Path("values.csv"))
    with pytest.raises(InputError, match="prefix"):
        mass_mfg.MassMfgRequest(values, prefix, 0x3000, Path("out"))


@pytest.mark.parametrize(("start", "length"), [(-1, 4), (0, -1), (0, 33)])
def test_numbering_limits(start, length):
    """A running number is rejected if its start is negative, or its length negative or above 32."""
    with pytest.raises(InputError):
        Numbering(start, length)


def test_repeated_run_changes_nothing(folder):
    """A second run keeps existing files and writes missing ones again."""
    run()
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")}
    Path("out/bin/Fan-2.bin").unlink()
    run()
    after = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")}
    assert after.keys() == before.keys()
    assert [path.name for path in before if before[path] != after[path]] == ["Fan-2.bin"]


def test_different_file_is_refused_without_force(folder):
    """A file with different content is rejected without force and replaced with it; no temporary file is left."""
    run()
    Path("out/bin/Fan-2.bin").write_bytes(b"other")
    with pytest.raises(InputError, match="different content"):
        run()
    assert Path("out/bin/Fan-2.bin").read_bytes() == b"other"
    run(force=True)
    assert read_image(Path("out/bin/Fan-2.bin").read_bytes()).value("ns", "id") == "y"
    assert not [name for name in names() if ".rmfab-tmp" in name]


def test_outdir_that_is_a_file(folder):
    """An outdir that is a file is an input error."""
    Path("out").write_text("file")
    with pytest.raises(InputError, match="folder"):
        run()


def test_parallel_equals_inline(folder, monkeypatch):
    """Several processes write the same bytes as one."""
    monkeypatch.setattr(mass_mfg, "INLINE_ROWS", 10)
    values = "serial,id,n,fixed\n" + "".join(f"A-{n},x{n},{n},{7 if not n else ''}\n" for n in range(150))
    run(values=values, out="one", workers=1, fileid="serial")
    progress = run(values=values, out="two", workers=2, fileid="serial")
    assert progress[-1] == Progress(MassMfgStage.WRITE, 150, 150)
    assert names("one") == names("two")
    assert all(Path("one", name).read_bytes() == Path("two", name).read_bytes() for name in names("one"))


def test_errors_cross_processes(folder, monkeypatch):
    """A complaint of a worker process keeps its place and hint, and nothing is written."""
    monkeypatch.setattr(mass_mfg, "INLINE_ROWS", 10)
    values = "id,n,fixed\n" + "".join(f"x,{n if n != 120 else 'zz'},{'' if n else 1}\n" for n in range(150))
    with pytest.raises(InputError, match="not an integer") as caught:
        run(values=values, workers=2)
    assert caught.value.where == "values.csv:122"
    assert not Path("out").exists()


@pytest.mark.parametrize("version", [1, 2])
def test_bytes_are_the_generators(folder, version, capsys):
    """The real generator packs the same bytes from our per-device CSV, for every type and encoding."""
    Path("text").write_text("from a file ä")
    Path("hex").write_text("00ff10\n")
    Path("b64").write_text("MTIzYWJj\n")
    Path("blob").write_bytes(bytes(range(256)) * 7)
    kinds = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "string", "binary", "hex2bin", "base64"]
    files = {"string": "text", "binary": "blob", "hex2bin": "hex", "base64": "b64"}
    config = "first,namespace,\n" + "".join(f"d_{kind},data,{kind}\n" for kind in kinds)
    config += "second,namespace,\nthird,namespace,\n" + "".join(f"f_{kind},file,{kind}\n" for kind in files)
    header = [f"d_{kind}" for kind in kinds] + [f"f_{kind}" for kind in files]
    row = ["1", "-1", "2", "-2", "3", "-3", "4", "-4", "text, with ä", "plain", "00ff", "MTIz", *files.values()]
    stream = io.StringIO()
    csv.writer(stream).writerows([header, row])
    run(config, stream.getvalue(), 0x8000, version=PageVersion[f"V{version}"])
    assert regenerate(Path("out/csv/Fan-1.csv"), 0x8000, version) == Path("out/bin/Fan-1.bin").read_bytes()


def test_generator_command_agrees(folder):
    """The generator's command line packs the same bytes from our per-device CSV."""
    run()
    command = [
        sys.executable,
        "-m",
        "esp_idf_nvs_partition_gen",
        "generate",
        "out/csv/Fan-3.csv",
        "again.bin",
        "0x3000",
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert Path("again.bin").read_bytes() == Path("out/bin/Fan-3.bin").read_bytes()


@pytest.mark.parametrize(
    "keys",
    [
        ["sta.ssid", "sta.pswd"],
        ["x", "sta.pswd"],
        ["ap.ssid", "ap.passwd", "ap.authmode"],
        ["ap.authmode", "ap.ssid", "x", "ap.passwd"],
        ["ap.ssid", "ap.passwd"],
        ["sta.ssid", "ap.passwd", "sta.pswd", "ap.ssid", "ap.authmode"],
    ],
)
@pytest.mark.parametrize("authmode", ["0", "3"])
def test_wifi_companions(folder, keys, authmode, capsys):
    """The entries that the generator adds to Wi-Fi credentials are added, so the bytes are the same."""
    config = "nvs.net80211,namespace,\n" + "".join(
        f"{key},data,{'u8' if key == 'ap.authmode' else 'string'}\n" for key in keys
    )
    cells = {"ap.authmode": authmode, "ap.ssid": "my net", "ap.passwd": "12345678", "sta.ssid": "s", "sta.pswd": "p"}
    run(config, ",".join(keys) + "\n" + ",".join(cells.get(key, "x") for key in keys) + "\n")
    assert regenerate(Path("out/csv/Fan-1.csv"), 0x3000) == Path("out/bin/Fan-1.bin").read_bytes()


CELLS = {
    "string": st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=60),
    "binary": st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=60),
    "hex2bin": st.binary(max_size=2500).map(bytes.hex),
    "u8": st.integers(0, 255).map(str),
    "i16": st.integers(-32768, 32767).map(str),
    "u64": st.integers(0, 2**64 - 1).map(str),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=12), st.data())
def test_random_inputs_agree(folder, encodings, data):
    """The real generator packs the same bytes from our per-device CSV, for random configs and cells."""
    shutil.rmtree("out", ignore_errors=True)
    shutil.rmtree("again", ignore_errors=True)
    config = "".join(
        f"{f'ns{n},namespace,{chr(10)}' if n % 4 == 0 else ''}k{n},data,{e}\n" for n, e in enumerate(encodings)
    )
    cells = [data.draw(CELLS[encoding]) for encoding in encodings]
    # The generator drops lines that start with # inside quoted cells; we keep them.
    cells = [re.sub(r"\n#+", "\n", cell) for cell in cells]
    stream = io.StringIO()
    csv.writer(stream).writerows([["id", *(f"k{n}" for n in range(len(encodings)))], ["1", *cells]])
    run(config, stream.getvalue(), 0x10000)
    assert regenerate(Path("out/csv/Fan-1.csv"), 0x10000) == Path("out/bin/Fan-1.bin").read_bytes()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=1))
def test_quoting_is_that_of_the_csv_module(cells):
    """Cells are quoted exactly like those of csv.writer, which the reference tool uses."""
    stream = io.StringIO()
    csv.writer(stream).writerow(["k", *cells])
    assert f"k,{mass_mfg._quoted(cells[0])}\r\n" == stream.getvalue()


def test_sample_of_every_kind_of_file(folder):
    """A config like ESP-IDF's samples, with blank lines, file rows and a blob over pages, gives right images."""
    Path("multi").write_bytes(os.urandom(5120))
    config = (
        "dummyNamespace,namespace,\n\n\ndummyU8Key,data,u8\n\ndummyI32Key,data,i32,REPEAT\nbinFileKey,file,binary\n"
    )
    values = "id,dummyU8Key,dummyI32Key,binFileKey\n\n1,127,-2147483648,multi\n\n2,126,,multi\n"
    run(config, values, 0x6000, fileid="id")
    for number, small in (("1", 127), ("2", 126)):
        image = read_image(Path(f"out/bin/Fan-{number}.bin").read_bytes())
        assert image.value("dummyNamespace", "dummyU8Key") == small
        assert image.value("dummyNamespace", "dummyI32Key") == -(2**31)
        assert image.value("dummyNamespace", "binFileKey") == Path("multi").read_bytes()
