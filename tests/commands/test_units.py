"""`rmfab units`: the list of units, its filters and forms."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from rmfab.commands.unit_table import print_units
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.line.shifts import LocalTime
from rmfab.report.units import COLUMNS, ListedUnit
from rmfab.workspace.workspace import open_workspace
from tests.terminal import Terminal

TS = "2026-03-01T12:00:{:02d}.000Z"
DIGEST = "ab" * 32


@pytest.fixture
def lamp3(terminal: Terminal, lamp: Path) -> Path:
    """Three units: one verified, one that panicked on a different slot, one that only an error met."""
    with open_workspace(lamp).ledger as ledger:
        for number, (slot, outcome, cause) in enumerate(
            [("A1", Outcome.PASS, None), ("A2", Outcome.FAIL, "panic"), ("A2", Outcome.ERROR, "no-answer")]
        ):
            mac = f"24:0a:c4:00:00:0{number}"
            serial = ledger.claim(mac, Wish(_product(ledger)), station="bench", ts=TS.format(number), slot=slot)
            name = serial.identity.serial
            release = {"release": {"version": "1.4.0", "digest": DIGEST, "signers": []}}
            at = {"serial": name, "slot": slot}
            flash = Event(TS.format(10), EventKind.STEP, step="flash", outcome=Outcome.PASS, details=release, **at)
            state = {Outcome.PASS: State.FLASHED, Outcome.FAIL: State.FAILED}.get(outcome)
            last = Event(
                TS.format(20 + number), EventKind.STEP, step="boot", outcome=outcome, state=state, cause=cause, **at
            )
            unit = Event(TS.format(30 + number), EventKind.UNIT, outcome=outcome, cause=cause, seconds=9.5, **at)
            ledger.record("bench", [flash, last, unit])
    return lamp


def _product(ledger: Ledger) -> str:
    return ledger.batches()[0].product


def listed(terminal: Terminal, lamp: Path, *words: str) -> list[str]:
    """The serials that the command lists."""
    return [one["serial"] for one in json.loads(terminal.well("-C", lamp, "units", *words, "--json"))]


def test_the_table(terminal: Terminal, lamp3: Path) -> None:
    """A line per unit: state, verdict, cause, slot, tries and local time; an ERROR is no try."""
    said = terminal("-C", str(lamp3), "units")
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["serial", "state", "verdict", "cause", "slot", "tries", "time"]
    assert lines[1][:6] == ["LMP-000001", "flashed", "PASS", "A1", "1", "03-01"]
    assert lines[2][:6] == ["LMP-000002", "failed", "FAIL", "panic", "A2", "1"]
    assert lines[3][:6] == ["LMP-000003", "claimed", "ERROR", "no-answer", "A2", "0"]
    assert "3 units" in said.err


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--state", "failed"], [2]),
        (["--state", "failed", "--state", "flashed"], [1, 2]),
        (["--slot", "A2"], [2, 3]),
        (["--cause", "panic"], [2]),
        (["--release", "1.4.0"], [1, 2, 3]),
        (["--release", DIGEST[:12].upper()], [1, 2, 3]),
        (["--release", "1.4"], []),
        (["--since", "2026-03-01T12:00:32Z"], [3]),
        (["--since", "2099-01-01"], []),
        (["lamp-0001", "--slot", "A1"], [1]),
        (["--state", "generated"], []),
    ],
)
def test_filters(terminal: Terminal, lamp3: Path, words: list[str], numbers: list[int]) -> None:
    """Each filter keeps the units that fit; several must all fit."""
    assert listed(terminal, lamp3, *words) == [f"LMP-{n:06d}" for n in numbers]


def test_csv_and_json_are_the_same(terminal: Terminal, lamp3: Path) -> None:
    """Both have the same columns and values; JSON calls the cause `class`."""
    text = terminal("-C", str(lamp3), "units", "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    units = json.loads(terminal("-C", str(lamp3), "units", "--json").out)
    assert tuple(rows[0]) == COLUMNS
    for row, unit in zip(rows, units, strict=True):
        assert row.pop("cause") == (unit.pop("class") or "")
        assert row == {name: "" if value is None else str(value) for name, value in unit.items()}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["nope"], 3), (["--csv", "--json"], 2), (["--since", "soon"], 3), (["--state", "good"], 2), (["--slot", ""], 2)],
)
def test_slips(terminal: Terminal, lamp3: Path, words: list[str], code: int) -> None:
    """An unknown batch, two forms, a bad time, a bad state and an empty filter are refused, and nothing is listed."""
    said = terminal("-C", str(lamp3), "units", *words)
    assert said.code == code
    assert "serial," not in said.out


def test_no_units(terminal: Terminal, lamp: Path) -> None:
    """Without units there is no table, and the JSON is an empty list; so too for CSV below its head."""
    said = terminal("-C", str(lamp), "units")
    assert (said.code, said.out) == (0, "")
    assert "no units" in said.err
    assert json.loads(terminal("-C", str(lamp), "units", "--json").out) == []
    assert terminal("-C", str(lamp), "units", "--csv").out.splitlines() == [",".join(COLUMNS)]


def test_it_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, long serials, causes and ports are cut so that each unit has one line of at most 80 columns."""
    monkeypatch.setattr("rmfab.commands.unit_table.width_of", lambda _: 80)
    unit = dict.fromkeys(COLUMNS) | {"state": "quarantined", "verdict": "ABORTED", "attempts": 12, "time": TS.format(1)}
    names = {
        "serial": "WERK-2026-灯-00000000001",
        "cause": "provisioning-timed-out",
        "slot": "rfc2217://10.0.0.1:45123",
    }
    assert print_units([ListedUnit(**(unit | names))] * 2, LocalTime()) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert "45123" in lines[1]


def test_a_slot_that_is_meant_otherwise(terminal: Terminal, lamp: Path) -> None:
    """A slot without units that station.toml does not have is a warning, with the one that may be meant."""
    slots = "".join(f'[[slot]]\nname = "{name}"\nport = "COM{n}"\n' for n, name in enumerate(("left", "right")))
    (lamp / "station.toml").write_text(slots)
    said = terminal("-C", lamp, "units", "--slot", "rigth")
    assert (said.code, "no slot rigth; station.toml has left, right" in said.err) == (0, True)
    assert "did you mean right?" in said.err
    assert "warning" not in terminal("-C", lamp, "units", "--slot", "right").err
    (lamp / "station.toml").unlink()
    assert "warning" not in terminal("-C", lamp, "units", "--slot", "rigth").err


def test_a_measurement_with_the_name_of_a_detail(terminal: Terminal, lamp3: Path) -> None:
    """A user's own step may measure a "release" or a "log": the trace shows those of the unit."""
    with open_workspace(lamp3).ledger as ledger:
        measured = {"release": "7.0.0", "log": "x" * 3000}
        step = Event(
            TS.format(40), EventKind.STEP, step="tester", serial="LMP-000001", outcome=Outcome.PASS, details=measured
        )
        ledger.record("bench", [step])
    said = terminal.well("-C", lamp3, "trace", "LMP-000001")
    assert "release 1.4.0" in said
    assert "7.0.0" not in said
    shown = terminal.well("-C", lamp3, "trace", "LMP-000001", "--json")
    (found,) = [one["details"] for one in json.loads(shown)["events"] if one["step"] == "tester"]
    assert measured.items() <= found.items()


def test_a_station_file_that_is_too_large(terminal: Terminal, lamp3: Path) -> None:
    """A station.toml of a terabyte, which takes no room on the disk, is not read into memory."""
    with (lamp3 / "station.toml").open("wb") as stream:
        stream.truncate(1 << 40)
    said = terminal("-C", lamp3, "status")
    assert said.code == 3, said.err
    assert "station.toml: too large" in said.err
