"""Tests of `rmfab nvs`: data on stdout, messages on stderr, errors in rmfab's form."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from esp_idf_nvs_partition_gen import nvs_partition_gen

from rmfab.commands.nvs import command
from rmfab.errors import InputError, IntegrityError
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind, PageVersion
from rmfab.release.partition_table import DataSubtype, Partition, PartitionTable, PartitionType


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.csv").write_text("ns,namespace,\nid,data,string\nn,data,u8\n")
    Path("values.csv").write_text("serial,id,n\nA-1,x,1\nA-2,y,2\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=True)


def generate(*options: str) -> Result:
    return run("generate", "config.csv", "values.csv", "Fan", "0x3000", *options)


def test_generate(folder):
    """Images are made; the folder is printed on stdout, the count on stderr."""
    result = generate("--outdir", "out")
    assert result.exit_code == 0
    assert result.stdout == f"{Path('out/bin')}\n"
    assert result.stderr == "rmfab: 2 images\n"
    assert read_image(Path("out/bin/Fan-2.bin").read_bytes()).value("ns", "id") == "y"


def test_generate_here(folder):
    """Without --outdir the folders are made in the current folder, as mfg_gen.py does."""
    assert generate().exit_code == 0
    assert Path("bin/Fan-1.bin").exists()
    assert Path("csv/Fan-1.csv").exists()


@pytest.mark.parametrize("spelling", ["--prefix_num", "--prefix-num"])
def test_names(folder, spelling):
    """Both spellings of the running number work, together with the fileid column."""
    assert generate(spelling, "7", "3", "--fileid", "serial").exit_code == 0
    assert sorted(path.name for path in Path("bin").iterdir()) == ["Fan-007-A-1.bin", "Fan-008-A-2.bin"]


def test_version(folder):
    """--version 1 makes pages of format 1."""
    assert generate("--version", "1").exit_code == 0
    assert Path("bin/Fan-1.bin").read_bytes()[8] == PageVersion.V1


def test_warnings(folder):
    """Cells that a spreadsheet program may have changed are warned about, before the count."""
    Path("values.csv").write_text("serial,id,n\nA-1,0017,1\nA-2,18,2\n#A-3,0019,3\n")
    result = generate()
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == (
        'rmfab: warning: values.csv:3: column "id": this cell may have lost leading zeros, which others have'
    )
    assert result.stderr.endswith("rmfab: 3 images\n")


def test_files_outside(folder):
    """Files outside of the folder of the values file are refused with their line, unless their folder is allowed."""
    Path("in").mkdir()
    Path("keys").mkdir()
    Path("keys/k").write_bytes(b"key")
    Path("config.csv").write_text("ns,namespace,\nk,file,binary\n")
    Path("in/values.csv").write_text("k\nkeys/k\n/etc/hostname\n")
    arguments = ("generate", "config.csv", "in/values.csv", "Fan", "0x3000")
    error = run(*arguments).exception
    assert isinstance(error, InputError)
    assert [one.where for one in error.complaints] == ["in/values.csv:2", "in/values.csv:3"]
    assert error.cause == "file-outside"
    assert not Path("bin").exists()
    assert [one.where for one in run(*arguments, "--allow-files", "keys").exception.complaints] == ["in/values.csv:3"]
    assert run(*arguments, "--allow-files", "keys", "--allow-files", "/etc").exit_code == 0
    assert read_image(Path("bin/Fan-1.bin").read_bytes()).value("ns", "k") == b"key"


def test_force(folder):
    """A different file is kept; --force replaces it."""
    generate()
    Path("bin/Fan-1.bin").write_bytes(b"other")
    assert isinstance(generate().exception, InputError)
    assert generate("--force").exit_code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--keygen"],
        ["--keyfile", "k"],
        ["--inputkey", "k"],
        ["--key_protect_hmac"],
        ["--kp_hmac_keygen"],
        ["--kp_hmac_keyfile", "k"],
        ["--kp_hmac_inputkey", "k"],
    ],
)
def test_encryption_is_refused(folder, options):
    """mfg_gen.py's encryption options are recognised and rejected with an error."""
    error = generate(*options).exception
    assert isinstance(error, InputError)
    assert "not supported yet" in str(error)
    assert not Path("bin").exists()


def test_bad_size(folder):
    """A size that is not a number is an input error, not exit 0."""
    assert isinstance(run("generate", "config.csv", "values.csv", "Fan", "big").exception, InputError)


def test_missing_config(folder):
    """A missing config is an input error, not exit 0."""
    error = run("generate", "absent.csv", "values.csv", "Fan", "0x3000").exception
    assert isinstance(error, InputError)
    assert error.where == "absent.csv"


@pytest.fixture
def image(folder):
    path = Path("image.bin")
    path.write_bytes(pack([Entry("ns", "pop", EntryKind.STRING, "hunter2"), Entry("ns", "n", EntryKind.U8, 7)], 0x3000))
    return path


def test_show(image):
    """`show` prints a table without secrets; --reveal prints them."""
    result = run("show", str(image))
    assert result.exit_code == 0
    assert "<redacted, 8 bytes>" in result.stdout
    assert "hunter2" not in result.output
    assert "hunter2" in run("show", "--reveal", str(image)).stdout


def test_show_json(image):
    """`show --json` prints one document, without secrets."""
    result = run("show", "--json", str(image))
    assert [entry["key"] for entry in json.loads(result.stdout)["entries"]] == ["pop", "n"]
    assert "hunter2" not in result.output


def test_show_findings(image):
    """`show` reports findings on stderr."""
    data = bytearray(image.read_bytes())
    data[64 + 96] ^= 1
    image.write_bytes(data)
    result = run("show", str(image))
    assert result.exit_code == 0
    assert result.stderr.startswith("rmfab: error: page 0 entry ")


def test_check(image):
    """`check` prints nothing on stdout for a sound image, and raises an integrity error for a damaged one."""
    assert run("check", str(image)).stdout == ""
    Path("bad.bin").write_bytes(image.read_bytes()[:4095] + b"\0" + b"\xff" * 8191 + b"\0")
    result = run("check", str(image), "bad.bin")
    assert isinstance(result.exception, IntegrityError)
    assert "1 of 2 images" in str(result.exception)
    assert result.stdout.startswith("bad.bin: page 2: error: ")


def test_warnings_are_no_failure(image):
    """Warnings are printed, but only errors make `check` fail."""
    data = bytearray(image.read_bytes())
    used = read_image(bytes(data)).pages[0].written
    data[64 + 32 * used] = 0
    image.write_bytes(data)
    result = run("check", str(image))
    assert result.exit_code == 0
    assert "warning: was half written" in result.stdout


@pytest.mark.parametrize("content", [b"", b"short", bytes(5000)])
def test_not_an_image(folder, content):
    """A file whose size is not that of an NVS image is an input error with its path."""
    Path("odd.bin").write_bytes(content)
    for verb in ("show", "check"):
        error = run(verb, "odd.bin").exception
        assert isinstance(error, InputError)
        assert error.where == "odd.bin"


def test_pack(folder):
    """`pack` makes the image that `generate` made of the same row, in a file of mode 0600, and keeps what exists."""
    generate()
    assert run("pack", "csv/Fan-2.csv", "one.bin", "0x3000").stderr == "rmfab: one.bin: 2 entries\n"
    assert Path("one.bin").read_bytes() == Path("bin/Fan-2.bin").read_bytes()
    assert Path("one.bin").stat().st_mode & 0o777 == 0o600
    assert run("pack", "csv/Fan-2.csv", "one.bin", "0x3000").exit_code == 0
    assert run("pack", "csv/Fan-1.csv", "one.bin", "0x3000").exception.cause == "exists"
    assert run("pack", "csv/Fan-1.csv", "one.bin", "0x3000", "--force", "--page-version", "1").exit_code == 0
    assert Path("one.bin").read_bytes()[8] == PageVersion.V1


def test_pack_errors(folder):
    """A wrong CSV, size or fit is an input error, and makes no file."""
    Path("d.csv").write_text("key,type,encoding,value\nns,namespace,,\nk,data,hex2bin," + "00" * 9000 + "\n")
    for arguments, what in [
        (("config.csv", "o.bin", "0x3000"), "the header is not"),
        (("d.csv", "o.bin", "0x2000"), "cannot pack"),
        (("d.csv", "o.bin", "big"), "big"),
        (("d.csv", "o.bin", "0x3000"), "d.csv: the entries need a partition of 0x4000 bytes"),
    ]:
        error = run("pack", *arguments).exception
        assert isinstance(error, InputError)
        assert what in str(error)
    assert not Path("o.bin").exists()


FOREIGN = {
    "keys": (bytes(range(64)) + (0x9A7C5245).to_bytes(4, "little")).ljust(4096, b"\xff"),
    "secure-cert": b"\x11\xba\x5e\xba".ljust(8192, b"\xff"),
    "app": b"\xe9" + bytes(8191),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_files(image, content):
    """What is not an NVS image is named as what it is, not as damaged; the other images are checked all the same."""
    Path("odd.bin").write_bytes(content)
    for arguments in (("show", "odd.bin"), ("check", "odd.bin"), ("check", "odd.bin", str(image))):
        result = run(*arguments)
        assert isinstance(result.exception, InputError)
        assert result.exception.cause == "not-nvs"
        assert result.exception.where == "odd.bin"
    assert "image.bin: sound, 2 entries" in result.stderr
    verdicts = json.loads(run("check", "--json", "odd.bin", str(image)).stdout)
    assert [verdict["sound"] for verdict in verdicts] == [None, True]


def test_foreign_and_damaged(image):
    """If an image is damaged too, that decides the exit code, and the other file is a warning."""
    Path("odd.bin").write_bytes(FOREIGN["app"])
    Path("bad.bin").write_bytes(b"\0" + image.read_bytes()[1:4096] + b"\xff" * 8191 + b"\0")
    result = run("check", "odd.bin", "bad.bin")
    assert isinstance(result.exception, IntegrityError)
    assert "odd.bin: this is not an NVS image but an ESP app image" in result.stderr


def test_encrypted_image(folder):
    """An encrypted image is named so by `show` and `check`."""
    stream = io.BytesIO()
    with nvs_partition_gen.nvs_open(stream, 0x3000, version=0xFE, is_encrypt=True, key=bytes(range(64))) as nvs:
        nvs.write_namespace("ns")
        nvs.write_entry("cert", bytes(500), "binary", 1)
    Path("enc.bin").write_bytes(stream.getvalue())
    for verb in ("show", "check"):
        error = run(verb, "enc.bin").exception
        assert isinstance(error, InputError)
        assert error.cause == "nvs-encrypted"


@pytest.fixture
def dump(image):
    """A dump of a flash with a partition table, an NVS partition, keys and an encrypted app."""
    rows = (
        Partition("nvs", PartitionType.DATA, DataSubtype.NVS, 0x9000, 0x3000),
        Partition("nvs_key", PartitionType.DATA, DataSubtype.NVS_KEYS, 0xC000, 0x1000),
        Partition("fctry", PartitionType.DATA, DataSubtype.NVS, 0xD000, 0x3000),
        Partition("app", PartitionType.APP, 0x00, 0x10000, 0x10000),
    )
    data = bytearray(b"\xff" * 0x20000)
    for offset, part in [
        (0x1000, b"\xe9" + bytes(0x2000)),
        (0x8000, PartitionTable(rows).encode()),
        (0xC000, FOREIGN["keys"]),
        (0xD000, image.read_bytes()),
    ]:
        data[offset : offset + len(part)] = part
    path = Path("dump.bin")
    path.write_bytes(data)
    return path


def test_flash_dump(dump):
    """A flash dump is named, with its NVS partitions; --partition shows and checks one of them."""
    for verb in ("show", "check"):
        error = run(verb, str(dump)).exception
        assert isinstance(error, InputError)
        assert str(error) == "dump.bin: this is a dump of a whole flash; NVS partitions: nvs, fctry"
        assert "--partition" in (error.hint or "")
    assert "<redacted, 8 bytes>" in run("show", str(dump), "--partition", "fctry").stdout
    assert "2 entries" in run("check", str(dump), "--partition", "fctry").stderr
    assert "0 entries" in run("check", str(dump), "--partition", "nvs").stderr


@pytest.mark.parametrize(
    ("partition", "what"),
    [
        ("nvs_key", 'the partition "nvs_key" is not of type data, subtype nvs'),
        ("app", "is not of type data"),
        ("absent", "absent"),
    ],
)
def test_other_partitions_of_a_dump(dump, partition, what):
    """A partition that is not NVS, or not there, is an input error."""
    error = run("show", str(dump), "--partition", partition).exception
    assert isinstance(error, InputError)
    assert what in str(error)


def test_partition_of_what_is_no_dump(image, dump):
    """--partition needs a dump, and one that is long enough."""
    assert "no partition table" in str(run("show", str(image), "--partition", "nvs").exception)
    dump.write_bytes(dump.read_bytes()[:0xE000])
    assert "the dump ends at 0xe000" in str(run("show", str(dump), "--partition", "fctry").exception)


def test_image_with_a_table_inside(folder):
    """An NVS image that contains a partition table as a value is no dump."""
    table = PartitionTable((Partition("nvs", PartitionType.DATA, DataSubtype.NVS, 0x9000, 0x3000),)).encode()
    data = bytearray(pack([Entry("ns", "n", EntryKind.U8, 1)], 0x4000))
    data[0x1000 : 0x1000 + len(table)] = table
    Path("image.bin").write_bytes(data)
    assert run("show", "image.bin").stdout.startswith("NAMESPACE")
