"""Tests of `rmfab export`: its units, what the ledger remembers, and files that come whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmfab.cloud.registration_files import ExportForm, RowForm, row_form
from rmfab.commands.export import FORMS, STATES
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.states import State
from rmfab.operations import export_units
from rmfab.workspace.workspace import open_workspace
from tests.terminal import Terminal


def exports(folder: Path) -> list[dict[str, object]]:
    """Return the details of the exports that the ledger remembers, oldest first."""
    with sqlite3.connect(folder / "ledger.db") as connection:
        found = connection.execute("SELECT details FROM event WHERE kind = 'export' ORDER BY id").fetchall()
    connection.close()
    details = [json.loads(text) for (text,) in found]
    assert all(one.pop("operator") for one in details)
    return details


def serials(file: str) -> list[str]:
    with Path(file).open(newline="") as stream:
        return [row["serial"] for row in csv.DictReader(stream)]


def test_a_batch(terminal: Terminal, lamp: Path) -> None:
    """All units of a batch are written, verified or not; the ledger remembers count and digest; the same command again
    leaves the file alone."""
    said = terminal("-C", lamp, "export", "rainmaker", "lamp-0001", "-o", "node_certs.csv")
    assert (said.code, said.err) == (0, "rmfab: 3 units in node_certs.csv\n")
    data = Path("node_certs.csv").read_bytes()
    with open_workspace(lamp).ledger as ledger:
        nodes = [one.node_id for one in ledger.identities("lamp-0001")]
    assert [row["node_id"] for row in csv.DictReader(data.decode().splitlines(keepends=True))] == nodes
    terminal.well("-C", lamp, "export", "rainmaker", "lamp-0001", "-o", "node_certs.csv")
    assert Path("node_certs.csv").read_bytes() == data
    file = {"path": "node_certs.csv", "units": 3, "sha256": hashlib.sha256(data).hexdigest()}
    assert exports(lamp) == [{"form": "rainmaker", "units": {"lamp-0001": 3}, "files": [file]}] * 2
    assert terminal("-C", lamp, "ledger", "check").code == 0


def test_units_that_are_left_out(terminal: Terminal, lamp: Path) -> None:
    """A void unit of a batch is left out and counted; one that is named is refused; --state narrows."""
    terminal.well("-C", lamp, "void", "LMP-000002", "--reason", "torn", "--yes")
    said = terminal("-C", lamp, "export", "csv", "lamp-0001", "LMP-000001", "-o", "u.csv")
    assert said.err == "rmfab: left out 1 unit: void\nrmfab: 2 units in u.csv\n"
    assert serials("u.csv") == ["LMP-000001", "LMP-000003"]
    terminal("-C", lamp, "export", "csv", "LMP-000002", "-o", "v.csv").refused(3, "LMP-000002", "the unit is void")
    terminal("-C", lamp, "export", "csv", "lamp-0001", "--state", "verified", "-o", "v.csv").refused(
        3, "no unit here can be exported"
    )
    workspace = open_workspace(lamp)
    with workspace.ledger as ledger:
        ledger.claim("24:0a:c4:00:01:10", Wish("lamp"), station="s", ts="2026-11-29T00:00:00.000Z")
    terminal.well("-C", lamp, "export", "csv", "lamp-0001", "--state", "claimed", "-o", "v.csv")
    assert serials("v.csv") == ["LMP-000001"]
    assert not list(Path().glob(".*rmfab-tmp"))


def test_units_by_serial(terminal: Terminal, lamp: Path) -> None:
    """Units are written once each, in the order in which they are named; an unknown name is refused with a hint."""
    terminal.well("-C", lamp, "export", "csv", "LMP-000003", "LMP-000001", "LMP-000003", "-o", "u.csv")
    assert serials("u.csv") == ["LMP-000003", "LMP-000001"]
    terminal("-C", lamp, "export", "csv", "lamp-0002", "-o", "v.csv").refused(3, "lamp-0002", "hint: ")


@pytest.mark.parametrize("target", [".", "..", "/", "lamp"])
def test_a_folder_is_no_file(terminal: Terminal, lamp: Path, target: str) -> None:
    """A folder in place of the file is refused, whatever it is called."""
    terminal("-C", lamp, "export", "csv", "lamp-0001", "-o", target).refused(3, "is a directory, expected a file")


def test_a_late_serial(terminal: Terminal, lamp: Path) -> None:
    """A unit that has no serial yet is written without one: it can be registered before it has a board."""
    product = lamp / "product.toml"
    product.write_text(product.read_text().replace('serial = "LMP-{n:06d}"', 'serial = "LMP-{mac}"'))
    terminal.well("-C", lamp, "generate", "--count", "2", "--batch", "late")
    terminal.well("-C", lamp, "export", "csv", "late", "-o", "u.csv")
    assert serials("u.csv") == ["", ""]


def test_with_qrcode(terminal: Terminal, lamp: Path) -> None:
    """--with-qrcode writes the payload of the label, and warns; no other form has such a column."""
    said = terminal("-C", lamp, "export", "rainmaker", "LMP-000001", "--with-qrcode", "-o", "n.csv")
    assert "uploads every one" in said.err
    with Path("n.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    workspace = open_workspace(lamp)
    identity = workspace.ledger.identity_by_serial("LMP-000001")
    assert identity is not None
    assert json.loads(row["qrcode"])["pop"] == workspace.open_identity(identity).pop.reveal()
    assert Path("n.csv").stat().st_mode & 0o777 == 0o600
    terminal("-C", lamp, "export", "neo", "LMP-000001", "--with-qrcode", "-o", "m.csv").refused(2, "only the form")


def test_products_that_claim(terminal: Terminal, fan: Path) -> None:
    """A unit that gets its certificate by claiming has nothing to be registered."""
    terminal.well("-C", fan, "generate", "--count", "1")
    terminal("-C", fan, "export", "rainmaker", "fan-0001", "-o", "n.csv").refused(3, "gets it by claiming")
    assert not Path("n.csv").exists()


def test_aws_bulk(terminal: Terminal, lamp: Path) -> None:
    """The folder has five files; with the certificate of a different CA nothing is written, not even the folder."""
    terminal.well("-C", lamp, "export", "aws-bulk", "lamp-0001", "-o", "aws")
    assert sorted(path.name for path in Path("aws").iterdir()) == [
        "README.md", "ca.pem", "nodes.jsonl", "policy.json", "template.json"
    ]  # fmt: skip
    assert len(Path("aws/nodes.jsonl").read_text().splitlines()) == 3
    terminal.well("init", "other", "--mqtt-host", "mqtt.example.org")
    terminal.well("-C", "other", "ca", "create", "--no-passphrase")
    argv = ("export", "aws-bulk", "lamp-0001", "--ca", "other/ca/ca.crt", "-o", "no")
    terminal("-C", lamp, *argv).refused(3, "a different CA signed", "--ca")
    assert not Path("no").exists()
    assert len(exports(lamp)) == 1


def test_more_rows_than_a_request_takes(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that do not fit in one file are written to further ones, each with its header, none of them empty."""
    assert row_form(ExportForm.RAINMAKER).most == 50_000
    whole = row_form(ExportForm.RAINMAKER)
    monkeypatch.setattr(export_units, "row_form", lambda form, **_: RowForm(whole.head, whole.row, 2))
    said = terminal("-C", lamp, "export", "rainmaker", "lamp-0001", "-o", "n.csv")
    assert said.err == "rmfab: 2 units in n.csv\nrmfab: 1 unit in n-2.csv\n"
    assert {Path(name).read_text().partition("\n")[0] for name in ("n.csv", "n-2.csv")} == {"node_id,certs"}
    terminal.well("-C", lamp, "export", "rainmaker", "LMP-000001", "LMP-000002", "-o", "m.csv")
    assert not Path("m-2.csv").exists()


def test_a_file_that_differs(terminal: Terminal, lamp: Path) -> None:
    """A file with different content stays, and the ledger remembers nothing, unless --force is given."""
    Path("u.csv").write_text("mine")
    terminal("-C", lamp, "export", "csv", "lamp-0001", "-o", "u.csv").refused(3, "already exists", "--force")
    assert Path("u.csv").read_text() == "mine"
    assert exports(lamp) == []
    terminal.well("-C", lamp, "export", "csv", "lamp-0001", "-o", "u.csv", "--force")
    assert serials("u.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_a_full_disk(terminal: Terminal, lamp: Path) -> None:
    """With any limit on the size of files there are the file and its record, or neither, and no rest."""
    ends = set()
    for limit in (0, 1000, 40_000, 10_000_000):
        before = len(exports(lamp))
        with _largest_file(limit):
            said = terminal("-C", lamp, "export", "rainmaker", "lamp-0001", "-o", "n.csv")
        ends.add(said.code)
        found = [path.name for path in Path().iterdir() if "n.csv" in path.name]
        assert (found, len(exports(lamp)) - before) == ((["n.csv"], 1) if said.code == 0 else ([], 0)), said.err
        Path("n.csv").unlink(missing_ok=True)
    assert ends == {0, 4}


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond *size* bytes (setrlimit(2), RLIMIT_FSIZE)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_the_trace_names_the_certificate(terminal: Terminal, lamp: Path) -> None:
    """`trace` shows the id that the cloud gives the certificate, before it is registered."""
    terminal.well("-C", lamp, "export", "jsonl", "LMP-000001", "-o", "u.jsonl")
    listed = json.loads(Path("u.jsonl").read_text())
    assert f"  certificate   {listed['certificate_id']}\n" in terminal.well("-C", lamp, "trace", "LMP-000001")


def test_words_of_the_command() -> None:
    """The command offers every form, and every state of a unit that is this ledger's. They are written out there, since
    `--help` imports nothing."""
    assert list(FORMS) == [form.value for form in ExportForm]
    assert list(STATES) == [state.value for state in State if state.ours]
