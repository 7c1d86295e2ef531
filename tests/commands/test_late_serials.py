"""Commands on a batch whose identities get their serials with their boards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rmfab.identity.factory_image import factory_image
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.nvs.reader import read_image
from rmfab.workspace.workspace import open_workspace
from tests.terminal import Terminal

MAC, TS = "24:0a:c4:00:00:01", "2026-01-01T00:00:00.000Z"


@pytest.fixture
def late(terminal: Terminal, lamp: Path) -> Path:
    """The workspace `lamp` with a second batch, lamp-0002, of two identities whose serials are scanned."""
    edit(lamp, 'serial = "LMP-{n:06d}"', 'serial = "{scan}"')
    assert terminal.well("-C", lamp, "generate", "--count", "2") == "lamp-0002\n"
    return lamp


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "product.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def claimed(lamp: Path, serial: str = "SN-7") -> None:
    """Claim an identity of lamp-0002 with this serial."""
    with open_workspace(lamp).ledger as ledger:
        wish = Wish("lamp", "lamp-0002", gives=True, given=serial)
        ledger.claim(MAC, wish, station="t", ts=TS)


def test_before_a_board(terminal: Terminal, late: Path) -> None:
    """Without a board there is a name in the pool, and neither a serial, a label nor an image."""
    for argv in (("label", "lamp-0002", "-o", "l.pdf"), ("label", "lamp-0002#1"), ("build", "lamp-0002", "-o", "out")):
        terminal("-C", late, *argv).refused(3, "lamp-0002", "serial yet", "with its board")
    assert not Path("l.pdf").exists()
    assert not Path("out").exists()
    (identity,) = json.loads(terminal.well("-C", late, "trace", "lamp-0002#2", "--json"))["identities"]
    assert (identity["serial"], identity["name"], identity["state"]) == (None, "lamp-0002#2", "generated")
    assert terminal.well("-C", late, "trace", identity["node_id"]).startswith("lamp-0002#2  generated")
    terminal.well("-C", late, "void", "lamp-0002#2", "--reason", "x")
    assert terminal.well("-C", late, "generate", "--batch", "lamp-0002", "--replace-void") == "lamp-0002.r1\n"
    assert [one.name for one in open_workspace(late).ledger.identities("lamp-0002.r1")] == ["lamp-0002.r1#1"]
    terminal.well("-C", late, "ledger", "check")


def test_no_number_after_a_loss(terminal: Terminal, late: Path) -> None:
    """Serials that come with the boards are not counted: no first number is taken, and a loss requires none."""
    count = ("-C", late, "generate", "--count", "1")
    terminal(*count, "--first-serial", "9").refused(2, "--first-serial", "each board brings its serial")
    with open_workspace(late).ledger as ledger:
        ledger.adopt(AdoptionReason.LOSS, station="t", ts=TS)
    made = terminal(*count)
    assert (made.code, made.out, "lost" in made.err) == (0, "lamp-0003\n", False)


def test_from_the_claim_on(terminal: Terminal, late: Path) -> None:
    """With a board, label, image, trace and void go by the serial; those that have none are skipped with a message."""
    claimed(late)
    said = terminal("-C", late, "label", "lamp-0002", "-o", "labels", "--format", "png")
    assert (said.code, "skipped 1 identity that has no serial yet" in said.err) == (0, True)
    said = terminal("-C", late, "build", "lamp-0002", "-o", "out")
    assert (said.code, "skipped 1 identity that has no serial yet" in said.err) == (0, True)
    assert [path.name for path in Path("labels").iterdir()] == ["SN-7.png"]
    assert [path.name for path in Path("out/bin").iterdir()] == ["SN-7.bin"]
    text = terminal.well("-C", late, "trace", "SN-7")
    assert text.startswith("SN-7  claimed  batch lamp-0002\n  pool name     lamp-0002#1\n")
    document = json.loads(terminal.well("-C", late, "trace", "SN-7", "--json"))
    assert {event["serial"] for event in document["events"]} == {"SN-7"}
    terminal("-C", late, "void", "SN-7", "--reason", "x").refused(3, "SN-7: the unit is claimed", "label printed once")
    (gone,) = json.loads(terminal.well("-C", late, "void", "SN-7", "--reason", "x", "--yes", "--json"))
    assert (gone["serial"], gone["state"]) == ("SN-7", "void")
    terminal.well("-C", late, "ledger", "check")


def test_values_with_the_serial(terminal: Terminal, late: Path) -> None:
    """`{serial}` in an extra value is the serial once there is one; a column of serials is refused."""
    (late / "config.csv").write_text("app,namespace,\nprinted,data,string\n")
    edit(late, '# config = "csv/config.csv"', 'config = "config.csv"')
    (late / "values.csv").write_text("printed\nNo. {serial}\n")
    (late / "serials.csv").write_text("serial,printed\nSN-1,x\n")
    argv = ("-C", late, "generate", "--values")
    terminal(*argv, late / "serials.csv").refused(3, "serials.csv:1", "serials", "{serial}")
    assert terminal.well(*argv, late / "values.csv", "--batch", "more") == "more\n"
    workspace = open_workspace(late)
    with workspace.ledger as ledger:
        claim = ledger.claim(MAC, Wish("lamp", "more", gives=True, given="SN-9"), station="t", ts=TS)
        image = factory_image(workspace.open_identity(claim.identity), workspace.product)
    assert read_image(image).value("app", "printed") == "No. SN-9"


def test_names_that_leave_no_room(terminal: Terminal, late: Path) -> None:
    """A batch whose name leaves no room for the numbers of its identities is refused before it is begun."""
    terminal("-C", late, "generate", "--count", "10", "--batch", "x" * 62).refused(3, "too long", "61 characters")
    terminal.well("-C", late, "generate", "--count", "10", "--batch", "x" * 61)
    assert [batch.name for batch in open_workspace(late).ledger.batches()][2:] == ["x" * 61]
