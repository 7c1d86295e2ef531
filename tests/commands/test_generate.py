"""Tests of `rmfab generate`: counts, names, values files, errors; nothing is created if anything is wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rmfab.workspace.workspace import Workspace, open_workspace
from tests.terminal import Terminal, files


def batches(folder: Path) -> dict[str, int]:
    """Return the size of each batch in the ledger; no batch is left open."""
    ledger = open_workspace(folder).ledger
    assert all(batch.closed for batch in ledger.batches())
    return {batch.name: batch.size for batch in ledger.batches()}


def serials(folder: Path, batch: str) -> list[str]:
    return [one.serial for one in open_workspace(folder).ledger.identities(batch)]


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "product.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_counts_go_on(terminal: Terminal, lamp: Path) -> None:
    """stdout is the batch's name; numbers and names continue from batch to batch."""
    said = terminal("-C", lamp, "generate", "--count", "2")
    assert (said.code, said.out) == (0, "lamp-0002\n")
    assert said.err == "rmfab: batch lamp-0002: 2 identities made; lamp-0001 still has 3 unused\n"
    assert terminal.well("-C", lamp, "generate", "--count", "1", "--batch", "special") == "special\n"
    assert serials(lamp, "lamp-0002") == ["LMP-000004", "LMP-000005"]
    assert serials(lamp, "special") == ["LMP-000006"]


def test_unused_identities_are_mentioned(terminal: Terminal, lamp: Path) -> None:
    """The message counts what other batches still have, and mentions no batch that is used up."""
    for serial in serials(lamp, "lamp-0001"):
        terminal.well("-C", lamp, "void", serial, "--reason", "used")
    assert "unused" not in terminal("-C", lamp, "generate", "--count", "2").err
    assert "made; lamp-0002 still has 2 unused" in terminal("-C", lamp, "generate", "--count", "1").err
    assert "made; 2 other batches still have 3 unused" in terminal("-C", lamp, "generate", "--count", "1").err


def test_a_made_batch_is_made(terminal: Terminal, lamp: Path) -> None:
    """The same command on a complete batch reports that; a different size or policy under its name is rejected."""
    assert terminal.well("-C", lamp, "generate", "--count", "3", "--batch", "lamp-0001") == "lamp-0001\n"
    terminal("-C", lamp, "generate", "--count", "4", "--batch", "lamp-0001").refused(3, "with 3 identities, not 4")
    edit(lamp, 'key = "ecdsa-p256"', 'key = "ecdsa-p384"')
    terminal("-C", lamp, "generate", "--count", "3", "--batch", "lamp-0001").refused(3, "[identity] key")
    assert batches(lamp) == {"lamp-0001": 3}


@pytest.mark.parametrize("name", ["../x", "", "a b", ".x", "x" * 65, "a/b"])
def test_batch_names(terminal: Terminal, lamp: Path, name: str) -> None:
    """Every batch name is a safe file name."""
    terminal("-C", lamp, "generate", "--count", "1", "--batch", name).refused(3, "not a batch name")
    assert batches(lamp) == {"lamp-0001": 3}


def test_what_is_missing(terminal: Terminal, lamp: Path) -> None:
    """A missing count, CA, MQTT host, recipient or uniqueness key is an error with a hint."""
    terminal("-C", lamp, "generate").refused(2, "missing --count or --values", "for example --count 5")
    terminal("init", "w")
    terminal("-C", "w", "generate", "--count", "1").refused(3, "mqtt_host", "placeholder")
    terminal("init", "v", "--mqtt-host", "a.example")
    terminal("-C", "v", "generate", "--count", "1").refused(
        3, "no CA here", "the owner's workspace", "`rmfab ca create`"
    )
    assert not Path("v/ledger.db").exists()
    text = (lamp / "product.toml").read_text()
    (lamp / "product.toml").write_text(text[: text.index("[recipients]")])
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "[recipients]", "`rmfab station key`")
    (lamp / "product.toml").write_text(text)
    (lamp / "keys" / "unique.key").unlink()
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "unique.key")
    (lamp / "keys" / "unique.key").write_text("00" * 32 + "\n")
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "not the uniqueness key")
    assert batches(lamp) == {"lamp-0001": 3}


def test_a_clock_before_the_ca(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host's clock is before the CA's notBefore, nothing is made."""
    monkeypatch.setattr("rmfab.workspace.workspace.now", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "clock")
    assert batches(lamp) == {"lamp-0001": 3}


def test_the_serial_pattern_runs_out(terminal: Terminal, lamp: Path) -> None:
    """More units than the counter has numbers are rejected before anything is made."""
    edit(lamp, "{n:06d}", "{n:02d}")
    terminal("-C", lamp, "generate", "--count", "200").refused(3, "does not fit the serial pattern")
    assert batches(lamp) == {"lamp-0001": 3}


GOOD = {
    "bom": b"\xef\xbb\xbfserial\nA-1\nA-2\n",
    "crlf": b"serial\r\nA-1\r\nA-2\r\n",
    "blank lines": b"serial\n\nA-1\n\n  \nA-2\n\n",
    "quoted": b'"serial"\n"A-1"\n"A-2"\n',
    "no end": b"serial\nA-1\nA-2",
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD.keys())
def test_values_files_that_are_good(terminal: Terminal, lamp: Path, content: bytes) -> None:
    """A BOM, CRLF, blank lines and quotes change nothing."""
    Path("v.csv").write_bytes(content)
    assert terminal.well("-C", lamp, "generate", "--values", "v.csv") == "lamp-0002\n"
    assert serials(lamp, "lamp-0002") == ["A-1", "A-2"]


BAD = {
    "semicolons": (b"serial;node_id\nA-1;n1\n", "v.csv:1", "semicolons"),
    "duplicate serial": (b"serial\nA-1\nA-2\nA-1\n", 'v.csv:4: column "serial"', "line 2"),
    "duplicate node id": (b"serial,node_id\nA-1,n1\nA-2,n1\n", 'v.csv:3: column "node_id"', "line 2"),
    "quoted comma": (b'serial\n"A,1"\n', 'v.csv:2: column "serial"', "A,1"),
    "walks out": (b"serial\n../../etc/x\n", "v.csv:2", "is not a valid serial"),
    "absolute": (b"serial\n/abs\n", "v.csv:2", "is not a valid serial"),
    "hidden": (b"serial\n.hid\n", "v.csv:2", "is not a valid serial"),
    "taken": (b"serial\nA-1\nLMP-000002\n", "v.csv:3", 'serial "LMP-000002" is already in batch lamp-0001'),
    "unknown column": (b"serail\nA-1\n", "v.csv:1", 'did you mean "serial"?'),
    "column twice": (b"serial,serial\nA-1,A-2\n", "v.csv:1", "2 times"),
    "too short": (b"serial,node_id\nA-1\n", "v.csv:2", "1 cells"),
    "too long": (b"serial\nA-1,x\n", "v.csv:2", "2 cells"),
    "open quote": (b'serial\n"A-1\n', "v.csv:2", "not valid CSV"),
    "blank cell": (b'serial,node_id\nA-1,""\n', 'v.csv:2: column "node_id"', "blank"),
    "latin-1": (b"serial\nA\xe9\n", "v.csv", "not UTF-8"),
    "empty": (b"", "v.csv", "empty"),
    "only a header": (b"serial\n", "v.csv:1", "no row"),
}


@pytest.mark.parametrize(("content", "place", "told"), BAD.values(), ids=BAD.keys())
def test_values_files_that_are_bad(terminal: Terminal, lamp: Path, content: bytes, place: str, told: str) -> None:
    """Every error names file, line and column; nothing is created and no file is changed."""
    Path("v.csv").write_bytes(content)
    before = files(lamp)["product.toml"]
    terminal("-C", lamp, "generate", "--values", "v.csv").refused(3, place, told)
    assert batches(lamp) == {"lamp-0001": 3}
    assert files(lamp)["product.toml"] == before


def test_values_that_are_missing_or_other(terminal: Terminal, lamp: Path) -> None:
    """A missing file, a folder, and a count other than the number of rows are errors."""
    terminal("-C", lamp, "generate", "--values", "v.csv").refused(3, "v.csv: cannot read the values file")
    Path("v.csv").mkdir()
    terminal("-C", lamp, "generate", "--values", "v.csv").refused(3, "v.csv")
    Path("w.csv").write_text("serial\nA-1\n")
    terminal("-C", lamp, "generate", "--values", "w.csv", "--count", "2").refused(3, "--count is 2", "1 row")


def test_many_taken_serials_come_by_line(terminal: Terminal, lamp: Path) -> None:
    """If many serials are taken, the first twenty are reported, in the order of the file."""
    rows = [f"A-{number}" for number in range(700)]
    Path("v.csv").write_text("\n".join(["serial", *rows]))
    terminal.well("-C", lamp, "generate", "--values", "v.csv", "--batch", "first")
    Path("w.csv").write_text("\n".join(["serial", "B-1", *reversed(rows)]))
    said = terminal("-C", lamp, "generate", "--values", "w.csv")
    said.refused(3, 'w.csv:3: serial "A-699" is already in batch first')
    assert said.err.count("rmfab: error:") == 20
    assert batches(lamp) == {"lamp-0001": 3, "first": 700}


def test_a_values_file_again(terminal: Terminal, lamp: Path) -> None:
    """The same file under the same batch name is complete already; without the name each serial is taken."""
    Path("v.csv").write_text("serial\nA-1\nA-2\n")
    terminal.well("-C", lamp, "generate", "--values", "v.csv", "--batch", "b")
    assert terminal.well("-C", lamp, "generate", "--values", "v.csv", "--batch", "b") == "b\n"
    terminal("-C", lamp, "generate", "--values", "v.csv").refused(3, "v.csv:2", "v.csv:3")
    terminal("-C", lamp, "generate", "--values", "v.csv", "--batch", "c").refused(3, "v.csv:2")
    assert batches(lamp) == {"lamp-0001": 3, "b": 2}


def test_extra_columns_keep_their_pairing(terminal: Terminal, lamp: Path) -> None:
    """Rows keep their order and pairing, with columns in any order, quoted commas and the content of files."""
    edit(lamp, "# config =", "config =")
    config = "app,namespace,\nhw,data,u8\ncolour,data,string\nblob,file,hex2bin\n"
    (lamp / "csv" / "config.csv").write_text(config)
    lines = ["colour,node_id,blob,serial,hw"]
    for number in range(40):
        (lamp / "csv" / f"{number}.hex").write_text(f"{number:02x}" * 4)
        lines.append(f'"warm, no. {number}",node{number:03d},{number}.hex,X-{number:03d},{number}')
    Path("v.csv").write_text("\n".join(lines))
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "[factory] config", "hw, colour, blob")
    terminal.well("-C", lamp, "generate", "--values", "v.csv", "--batch", "b")
    workspace = open_workspace(lamp)
    for number, bound in enumerate(workspace.ledger.identities("b")):
        identity = workspace.open_identity(bound)
        assert (identity.serial, identity.node_id) == (f"X-{number:03d}", f"node{number:03d}")
        extra = {key: secret.reveal() for key, secret in identity.extra.items()}
        assert extra["app", "hw"] == str(number)
        assert extra["app", "colour"] == f"warm, no. {number}"
        assert f"{number:02x}" * 4 in extra["app", "blob"]


def test_extra_values_that_do_not_fit(terminal: Terminal, lamp: Path) -> None:
    """A value out of its type's range and a missing file are reported with their line."""
    edit(lamp, "# config =", "config =")
    (lamp / "csv" / "config.csv").write_text("app,namespace,\nhw,data,u8\nblob,file,binary\n")
    Path("v.csv").write_text("hw,blob\n300,none.bin\n")
    terminal("-C", lamp, "generate", "--values", "v.csv").refused(3, "v.csv:2", "none.bin")
    assert batches(lamp) == {"lamp-0001": 3}


def test_new_keys_for_given_node_ids(terminal: Terminal, lamp: Path) -> None:
    """That given node ids get new keys is a warning, unless the batch is complete already."""
    Path("v.csv").write_text("node_id\nn-1\nn-2\n")
    said = terminal("-C", lamp, "generate", "--values", "v.csv", "--batch", "given")
    assert said.code == 0
    assert "warning: v.csv: new keys and certificates are made for 2 node ids of this file" in said.err
    assert "register the new one in its place" in said.err
    assert "warning" not in terminal("-C", lamp, "generate", "--values", "v.csv", "--batch", "given").err
    Path("v.csv").write_text("serial\nS-1\n")
    assert "warning" not in terminal("-C", lamp, "generate", "--values", "v.csv").err


def test_node_ids_from_values(terminal: Terminal, lamp: Path) -> None:
    """With node_id = "values" a count alone is rejected, and so is a file without the column."""
    edit(lamp, 'node_id = "shortuuid"', 'node_id = "values"')
    terminal("-C", lamp, "generate", "--count", "2").refused(3, "--values FILE", "node_id")
    Path("v.csv").write_text("serial\nA-1\n")
    terminal("-C", lamp, "generate", "--values", "v.csv").refused(3, 'missing column "node_id"')
    Path("v.csv").write_text("node_id\nabc\ndef\n")
    terminal.well("-C", lamp, "generate", "--values", "v.csv")
    assert [one.node_id for one in open_workspace(lamp).ledger.identities("lamp-0002")] == ["abc", "def"]
    Path("w.csv").write_text("node_id\nxyz\nabc\n")
    terminal("-C", lamp, "generate", "--values", "w.csv").refused(3, "w.csv:3", 'node_id "abc"')


def test_claim_products_need_no_ca(terminal: Terminal, fan: Path) -> None:
    """With credentials = "claim" identities have only random and sec2; a column of node ids is rejected."""
    terminal.well("-C", fan, "generate", "--count", "2")
    workspace: Workspace = open_workspace(fan)
    for bound in workspace.ledger.identities("fan-0001"):
        identity = workspace.open_identity(bound)
        assert (identity.node_id, identity.certificate_pem, identity.private_key_pem) == (None, None, None)
        assert len(identity.random.reveal()) == 64
    Path("v.csv").write_text("node_id\nabc\n")
    terminal("-C", fan, "generate", "--values", "v.csv").refused(3, "claiming assigns them")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('username = "wifiprov"', 'username = "other"', "[provisioning] username"),
        ("security = 2", "security = 1", "[provisioning] security"),
        ('mqtt_host = "mqtt.example.org"', 'mqtt_host = "else.example.org"', "[identity] mqtt_host"),
        ("size = 0x6000", "size = 0x8000", "[factory] size"),
        ('qr = "json"', 'qr = "compact"', "[provisioning] qr"),
    ],
    ids=["username", "security", "mqtt", "size", "qr"],
)
def test_another_product_toml(terminal: Terminal, lamp: Path, old: str, new: str, key: str) -> None:
    """A batch of a different product.toml is not built, labelled or flashed; the error names the key that differs."""
    edit(lamp, old, new)
    build = terminal("-C", lamp, "build", "lamp-0001", "-o", "out")
    build.refused(3, "batch lamp-0001 was made for a different product.toml", key)
    assert not Path("out").exists()
    terminal("-C", lamp, "label", "lamp-0001", "-o", "l.pdf").refused(3, key)
    terminal("-C", lamp, "label", "LMP-000001").refused(3, key)
    assert not Path("l.pdf").exists()


def test_for_a_station_that_is_not_a_recipient(terminal: Terminal, lamp: Path) -> None:
    """A host whose key product.toml does not have makes nothing that it could never open."""
    (lamp / "keys" / "station.key").unlink()
    own = terminal.well("-C", lamp, "station", "key").strip()
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "[recipients]", f"rmfab station admit {own}")
    (lamp / "keys" / "station.key").unlink()
    terminal.well("-C", lamp, "generate", "--count", "1")


def test_a_refused_generate_makes_no_ledger(terminal: Terminal, fan: Path) -> None:
    """What is missing is said before a ledger is made."""
    (fan / "keys" / "unique.key").unlink()
    for ending in ("", "-wal", "-shm"):
        (fan / f"ledger.db{ending}").unlink(missing_ok=True)
    terminal("-C", fan, "generate", "--count", "1").refused(3, "uniqueness key is missing")
    assert not (fan / "ledger.db").exists()


def test_another_config(terminal: Terminal, lamp: Path) -> None:
    """Of an additional config that differs the error shows the start of the digest, and no empty value."""
    edit(lamp, '# config = "csv/config.csv"', 'config = "csv/config.csv"')
    said = terminal("-C", lamp, "build", "lamp-0001", "-o", "out")
    said.refused(3, "[factory] config was no file, is a file with SHA-256 ", "…")
    assert re.search(r"[0-9a-f]{17}", said.err) is None
