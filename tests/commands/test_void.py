"""Tests of `rmfab void`, and of the batches that replace void identities."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from rmfab.errors import BatchUsedUp
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.states import State
from rmfab.workspace.workspace import open_workspace
from tests.ledger.tampering import begin_again
from tests.terminal import Terminal, dialogue

MAC, TS = "24:0a:c4:00:00:01", "2026-01-01T00:00:00.000Z"
WHY = ("--reason", "dead")


def states(lamp: Path, batch: str = "lamp-0001") -> str:
    """Return the first letters of the states of a batch, in order."""
    return "".join(one.state[0] for one in open_workspace(lamp).ledger.identities(batch))


def bound(lamp: Path, *after: State) -> None:
    """Claim the first identity for the board MAC, and bring it to each state of *after*."""
    with open_workspace(lamp).ledger as ledger:
        ledger.claim(MAC, Wish("lamp"), station="t", ts=TS)
        ledger.record("t", [Event(TS, EventKind.STEP, serial="LMP-000001", state=state) for state in after])


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_a_terminal_is_asked(terminal: Terminal, lamp: Path) -> None:
    """On a terminal, `void` shows state, board and label and asks, also for a unit that is only generated."""
    bound(lamp)
    terminal.well("-C", lamp, "label", "LMP-000001")
    answers = [("Void it for good?", "maybe"), ("warning: answer y or n\r\nVoid it for good?", "n")]
    code, screen = dialogue("void", "LMP-000001", *WHY, cwd=lamp, answers=answers)
    assert (code, "nothing was changed" in screen) == (3, True)
    assert f"LMP-000001: claimed, board {MAC}, label printed once" in screen
    code, screen = dialogue(
        "void", "LMP-000001", "LMP-000002", *WHY, cwd=lamp, answers=[("Void these 2 for good?", "y")]
    )
    assert "LMP-000002: generated, board none, label not printed" in screen
    assert (code, "LMP-000001: its label was printed once: destroy it" in screen) == (0, True)
    assert states(lamp) == "vvg"


@pytest.mark.parametrize(
    ("prepare", "shown"),
    [
        (lambda _, lamp: bound(lamp), "claimed, board 24:0a:c4:00:00:01, label not printed"),
        (lambda _, lamp: bound(lamp, State.FLASHED, State.VERIFIED), "verified, board 24:0a:c4:00:00:01"),
        (lambda _, lamp: bound(lamp, State.FAILED), "failed, board 24:0a:c4:00:00:01"),
        (lambda terminal, lamp: terminal.well("-C", lamp, "label", "LMP-000001"), "board none, label printed once"),
    ],
    ids=["claimed", "verified", "failed", "labelled"],
)
def test_without_a_terminal(terminal: Terminal, lamp: Path, prepare: object, shown: str) -> None:
    """Without a terminal, only a unit that is generated and has no label is voided; any other needs --yes."""
    assert callable(prepare)
    prepare(terminal, lamp)
    said = terminal("-C", lamp, "void", "LMP-000001", "LMP-000002", *WHY)
    said.refused(3, "LMP-000001: the unit is", shown, "--yes")
    assert states(lamp)[1] == "g"
    terminal.well("-C", lamp, "void", "LMP-000002", *WHY)
    said = terminal("-C", lamp, "void", "LMP-000001", *WHY, "--yes")
    assert (said.code, shown in said.err) == (0, True)
    assert states(lamp) == "vvg"


def test_a_list_of_units(terminal: Terminal, lamp: Path) -> None:
    """A file names one unit per line, by serial, node id or MAC, with any line ends; each gets one event."""
    bound(lamp)
    (node,) = (one.node_id for one in open_workspace(lamp).ledger.find("LMP-000002"))
    Path("list.txt").write_bytes(b"\xef\xbb\xbf" + f"{MAC}\r\n\r\n  {node} \r\nLMP-000001\n".encode())
    document = json.loads(terminal.well("-C", lamp, "void", "--file", "list.txt", *WHY, "--yes", "--json"))
    assert document == [
        {"serial": "LMP-000001", "state": "void", "before": "claimed", "mac": MAC, "labels": 0},
        {"serial": "LMP-000002", "state": "void", "before": "generated", "mac": None, "labels": 0},
    ]
    ledger = open_workspace(lamp).ledger
    for serial in ("LMP-000001", "LMP-000002"):
        assert [told.event.kind for told in ledger.history(serial)].count(EventKind.VOID) == 1
    assert ledger.check() == ()


def test_a_list_from_stdin(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--file -` reads the list from stdin, and its errors name line and reason."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"LMP-000002\nLMP-000003\n")))
    terminal.well("-C", lamp, "void", "--file", "-", *WHY)
    assert states(lamp) == "gvv"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"LMP-000001\nLMP-9\n")))
    terminal("-C", lamp, "void", "--file", "-", *WHY).refused(3, "stdin:2", '"LMP-9"')


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"LMP-000001\nLMP-000002 LMP-000003\n\nnope\n", ("list.txt:2", "list.txt:4", '"nope"')),
        (b"\n \n", ("list.txt", "names no unit")),
        (b"LMP-000001\n\xff\n", ("list.txt", "not UTF-8")),
        (None, ("list.txt", "cannot read")),
    ],
)
def test_a_list_is_taken_whole_or_not(
    terminal: Terminal, lamp: Path, data: bytes | None, told: tuple[str, ...]
) -> None:
    """A list with an error voids nothing; the errors name file and line, all at once."""
    if data is not None:
        Path("list.txt").write_bytes(data)
    terminal("-C", lamp, "void", "--file", "list.txt", *WHY, "--yes").refused(3, *told)
    assert states(lamp) == "ggg"


def test_a_unit_that_changed_meanwhile(lamp: Path) -> None:
    """A unit that a station claimed after it was shown is not voided, nor is any other of the same command."""
    with open_workspace(lamp).ledger as ledger:
        seen = {one.serial: one.standing for one in ledger.identities("lamp-0001")}
        ledger.claim(MAC, Wish("lamp"), station="t", ts=TS)
        with pytest.raises(Exception, match="changed meanwhile: it is claimed"):
            ledger.void("LMP-000002", "LMP-000001", reason="x", station="t", ts=TS, seen=seen)
    assert states(lamp) == "cgg"


def test_void_identities_are_replaced(terminal: Terminal, lamp: Path) -> None:
    """A batch is topped up for exactly what is void, once; a claim from the batch takes a replacement at the end."""
    top_up = ("-C", lamp, "generate", "--batch", "lamp-0001", "--replace-void")
    assert terminal.well(*top_up) == "lamp-0001\n"
    terminal.well("-C", lamp, "void", "LMP-000001", "LMP-000003", *WHY)
    assert terminal.well(*top_up) == "lamp-0001.r1\n"
    said = terminal(*top_up)
    assert (said.out, "replaced already" in said.err) == ("lamp-0001\n", True)
    assert states(lamp, "lamp-0001.r1") == "gg"
    terminal.well("-C", lamp, "void", "LMP-000004", *WHY)
    assert json.loads(terminal.well(*top_up, "--json")) == {
        "batch": "lamp-0001.r2", "size": 1, "product": "lamp", "replaces": "lamp-0001"
    }  # fmt: skip
    wish = Wish("lamp", "lamp-0001")
    with open_workspace(lamp).ledger as ledger:
        assert ledger.free("lamp", "lamp-0001") == 3
        claims = [ledger.claim(f"24:0a:c4:00:00:{n:02x}", wish, station="t", ts=TS) for n in range(3)]
        assert [one.identity.serial for one in claims] == ["LMP-000002", "LMP-000005", "LMP-000006"]
        assert not any(one.other_batch for one in claims)
        with pytest.raises(BatchUsedUp):
            ledger.claim("24:0a:c4:00:00:09", wish, station="t", ts=TS)
        assert ledger.check() == ()
    terminal(*top_up[:4], "lamp-0001.r1", "--replace-void").refused(3, "--batch lamp-0001")
    terminal(*top_up[:4], "nope", "--replace-void").refused(3, "no batch")


def test_an_interrupted_replacement_goes_on(terminal: Terminal, lamp: Path) -> None:
    """A replacement that was begun is finished first, then what became void since is replaced."""
    terminal.well("-C", lamp, "void", "LMP-000001", *WHY)
    terminal.well("-C", lamp, "generate", "--batch", "lamp-0001", "--replace-void")
    begin_again(lamp / "ledger.db", "lamp-0001.r1")
    terminal.well("-C", lamp, "void", "LMP-000002", *WHY)
    said = terminal("-C", lamp, "generate", "--batch", "lamp-0001", "--replace-void")
    assert (said.code, said.out) == (0, "lamp-0001.r2\n"), said.err
    with open_workspace(lamp).ledger as ledger:
        sizes = {batch.name: batch.size for batch in ledger.batches() if batch.closed}
    assert sizes == {"lamp-0001": 3, "lamp-0001.r1": 1, "lamp-0001.r2": 1}


@pytest.mark.parametrize("reason", ["torn\noff", "torn \x1b[2J", "torn \u202eoff", "\t"])
@pytest.mark.parametrize(
    "command",
    [
        ("void", "LMP-000001", "--yes"),
        ("label", "LMP-000001", "--print"),
        ("reidentify", "LMP-000001", "--port", "/dev/ttyUSB0", "--yes"),
        ("handover", "--lost", "1"),
    ],
    ids=lambda command: command[0],
)
def test_a_reason_is_one_line(terminal: Terminal, lamp: Path, command: tuple[str, ...], reason: str) -> None:
    """A reason of several lines, or with what a terminal obeys, is refused: no history shows a line that never was."""
    said = terminal("-C", lamp, *command, "--reason", reason)
    said.refused(2, "--reason must ", "hint: ")
    assert "torn" not in terminal.well("-C", lamp, "trace", "LMP-000001")


def test_a_reason_of_several_lines_from_elsewhere(terminal: Terminal, lamp: Path) -> None:
    """A reason that the ledger has all the same stays within its line of the history, and of the message."""
    with open_workspace(lamp).ledger as ledger:
        ledger.void("LMP-000001", reason="gone\nLMP-000002  verified", station="s", ts=TS)
    assert "(void: gone\\nLMP-000002  verified)" in terminal.well("-C", lamp, "trace", "LMP-000001")
    said = terminal("-C", lamp, "void", "LMP-000001", "--reason", "x", "--yes")
    assert "already void (gone\\nLMP-000002  verified)" in said.err
