"""A factory on a different machine, with virtual boards: handover, the line, return, merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rmfab.identity.factory_image import factory_image
from rmfab.ledger.states import State
from tests.exchange.sides import Side
from tests.line.floor import FCTRY, found, ports, serve, spec
from tests.terminal import Said, Terminal

pytestmark = pytest.mark.slow


def test_a_factory_on_a_different_machine(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: Side
) -> None:
    """Boards are flashed and proven at the factory with what the owner sealed, and are the owner's units in the end; a
    board that comes back to the owner keeps its identity, and a blank one there gets an identity of the owner's own."""
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "owner-state"))
    owner = Side(terminal, found(tmp_path / "lamp").root, tmp_path / "owner-state", monkeypatch)
    owner.well("release", "build", owner.folder / "build", "-o", "lamp.rmfab", "--seq", "1", "--no-sbom")
    path, fingerprint = factory.card()
    said = owner.well(
        *("handover", "lamp-0001", "--count", "3", "--to", path, "--fingerprint", fingerprint),
        *("--release", "lamp.rmfab", "-o", "1.handover"),
    )
    mine = said.err.split("`rmfab receive`: ")[1].strip()
    factory.well("receive", "1.handover", "--fingerprint", mine)
    release = ("--release", factory.folder / "lamp.rmfab")
    flash = tmp_path / "flash.bin"
    with serve([spec(flash_file=flash), spec(index=1, faults=("panic",))]) as boards:
        (factory.folder / "station.toml").write_text('[station]\nname = "line-1"\n')
        run = factory("run", *release, *ports(*(board.url for board in boards)), "--json")
        assert run.code == 1, run.err
        events = [json.loads(line) for line in run.out.splitlines()]
        units = {one["serial"]: one["outcome"] for one in events if one["event"] == "unit"}
        assert sorted(units) == ["LMP-000001", "LMP-000002"]
        assert sorted(units.values()) == ["FAIL", "PASS"]
        (good,) = (serial for serial, outcome in units.items() if outcome == "PASS")
        refused = owner("run", "--release", owner.folder / "build", *ports(boards[0].url), "--json")
        assert refused.code == 5
        assert "handed-over" in refused.out
        factory.well("return", "--unused", "-o", "1.return")
        assert owner.json("merge", "1.return")["units"] == 2
        assert owner.states() == {"generated": 6, "verified": 1, "failed": 1}
        owner.well("run", "--release", owner.folder / "build", *ports(boards[0].url))
    with owner.open() as workspace:
        bound = workspace.ledger.identity_by_serial(good)
        assert bound is not None
        image = factory_image(workspace.open_identity(bound), workspace.product)
    assert flash.read_bytes()[FCTRY : FCTRY + len(image)] == image
    assert owner.unit(good).state is State.VERIFIED
    assert owner.unit(good).attempts == 2
    trace = owner.json("trace", good)
    assert {"line-1"} < {one["station"] for one in trace["events"]}


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ('serial = "LMP-{mac}"', ()),
        ('serial = "SN{scan}"\nscan = { digits = 3, check = "luhn" }', ("--serial", "SN018")),
    ],
    ids=["mac", "scan"],
)
def test_serials_that_come_with_boards(
    terminal: Terminal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    factory: Side,
    pattern: str,
    code: tuple[str, ...],
) -> None:
    """A unit gets its serial at the factory, and is the owner's unit by it: history, labels, and the board itself."""
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "owner-state"))
    made = found(tmp_path / "lamp", units=3, edits=(('serial = "LMP-{n:06d}"', pattern),))
    owner = Side(terminal, made.root, tmp_path / "owner-state", monkeypatch)
    owner.well("release", "build", owner.folder / "build", "-o", "lamp.rmfab", "--seq", "1", "--no-sbom")
    owner.give(factory, "1.handover", "--count", "2", "--release", "lamp.rmfab")
    flash = tmp_path / "flash.bin"
    with serve([spec(flash_file=flash)]) as (board,):
        (factory.folder / "station.toml").write_text('[station]\nname = "line-1"\n')
        line = (*code, *ports(board.url), "--json")
        (unit,) = _units(factory.well("run", "--release", factory.folder / "lamp.rmfab", *line))
        serial = unit["serial"]
        assert serial == (code[-1] if code else "LMP-" + unit["mac"].replace(":", ""))
        factory.well("label", serial, "-o", "there.png")
        factory.well("return", "--unused", "-o", "1.return")
        merged = owner.json("merge", "1.return")
        assert (merged["units"], merged["given_back"]) == (1, 1)
        assert owner.states() == {"generated": 2, "verified": 1}
        (again,) = _units(owner.well("run", "--release", owner.folder / "build", "--again", *line))
        assert again["serial"] == serial
    with owner.open() as workspace:
        bound = workspace.ledger.identity_by_serial(serial)
        assert bound is not None
        assert bound.mac == unit["mac"]
        image = factory_image(workspace.open_identity(bound), workspace.product)
    assert flash.read_bytes()[FCTRY : FCTRY + len(image)] == image
    assert owner.unit(serial).attempts == 2
    owner.well("label", serial, "-o", "here.png")
    assert {"line-1"} < {one["station"] for one in owner.json("trace", serial)["events"]}


def _units(said: Said) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, said.out.splitlines()) if one["event"] == "unit"]
