"""What a device says reaches no terminal, file or program as anything but text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest

from rmfab.cli import main
from rmfab.commands.line_view import JsonView, LiveView, PlainView, View
from rmfab.commands.live_table import SlotRow
from rmfab.commands.show_line import show_events
from rmfab.errors import CloneError, PortError, RmfabError
from rmfab.ledger.events import Outcome
from rmfab.line.events import LineEvent, Message, SlotWaiting, Step, StepEnded, Summary, UnitEnded
from rmfab.report.junit import LineReport

HOSTILE = {
    "clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "title": "\x1b]0;PASS\x1b\\",
    "clear screen": "\x1b[2J\x1b[H",
    "C1 introducer": "\x9b2J",
    "bidi": "\u202eSSAP\u202c",
    "isolate": "\u2066x\u2069",
    "invisible": "\u200b\u2060",
    "separators": "a\u2028b\u2029c\x85d",
    "backspaces": "FAIL\b\b\b\bPASS",
    "carriage return": "FAIL\rPASS",
    "another line": "x\nLMP-000099  boot PASS 1.0s   PASS",
    "half a surrogate pair": "\ud800",
    "markup": "[red]x[/red] [/nothing]",
}
ORIGIN = ("2026-01-01T00:00:00Z", "bench", "A1", "LMP-000001", None)


def events(text: str) -> tuple[StepEnded, Message, UnitEnded]:
    """Return the events of a unit that failed with *text* of its console in the reason."""
    return (
        StepEnded(*ORIGIN, Step.BOOT, Outcome.FAIL, "panic", f"the firmware panicked: {text}", 1.0, {"project": text}),
        Message(*ORIGIN, "info", f"it prints {text}"),
        UnitEnded(*ORIGIN, Outcome.FAIL, "panic", f"the firmware panicked: {text}", 1.0, None),
    )


def harmless(text: str) -> bool:
    """Whether *text* is visible characters and line ends."""
    return all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", [PlainView, JsonView])
def test_views(capsys: pytest.CaptureFixture[str], kind: type[View], text: str) -> None:
    """The plain view and the JSON show hostile text escaped, and it cannot pass for another unit's line."""
    view = kind()
    for event in events(text):
        view.show(event)
    view.close(Summary())
    out, err = capsys.readouterr()
    assert harmless(out)
    assert harmless(err)
    assert not any(line.startswith("LMP-000099") for line in (out + err).splitlines())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_json_keeps_the_text(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """The JSON contains the device's text, whole, in JSON's own escapes."""
    view = JsonView()
    for event in events(text):
        view.show(event)
    step = json.loads(capsys.readouterr().out.splitlines()[0])
    assert step["measurements"] == {"project": text}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_live_view(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The live view shows hostile text escaped, and reads no markup in it."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    view = LiveView(("A1",))
    for event in events(text):
        view.show(event)
    view.close(Summary())
    out, err = capsys.readouterr()
    assert harmless(out + err)
    assert text != HOSTILE["markup"] or "[red]x[/red] [/nothing]" in err


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_report(tmp_path: Path, text: str) -> None:
    """The JUnit report is XML, with the text escaped."""
    report, path = LineReport(), tmp_path / "report.xml"
    for event in events(text):
        report.take(event)
    report.write(path)
    messages = [element.get("message", "") for element in ET.parse(path).iter("failure")]
    assert messages
    assert all(harmless(message) for message in messages)


@pytest.mark.parametrize("where", ["show", "close"])
def test_a_line_that_nobody_reads(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """If the reader of stdout goes away, a line ends with 130, not with 0: its units were aborted."""

    class Unread(PlainView):
        def show(self, event: LineEvent) -> None:
            if where == "show":
                raise BrokenPipeError

        def close(self, _: Summary, /) -> None:
            raise BrokenPipeError

    @click.command("status")
    def line() -> None:
        told = (event for event in events("x"))
        show_events(told, ("A1",), Summary, lambda: None)

    monkeypatch.setattr("rmfab.commands.line_view.make_view", lambda *_, **__: Unread())
    monkeypatch.setattr("rmfab.commands.status.command", line)
    assert main(["status"]) == 130


def test_a_waiting_slot_shows_no_verdict() -> None:
    """The row of a slot loses its unit's verdict when the board is taken out."""
    view = LiveView(("A1",))
    view.show(UnitEnded(*ORIGIN, Outcome.PASS, None, None, 1.0, None))
    view.show(SlotWaiting(*ORIGIN[:3], None, None, "waiting"))
    assert view._table._rows["A1"] == SlotRow("A1")
    view.close(Summary())


@pytest.mark.parametrize(("single", "times"), [(True, 0), (False, 1)])
@pytest.mark.parametrize(
    ("outcome", "error"), [(Outcome.ERROR, PortError("no answer")), (Outcome.FAIL, CloneError("a clone"))]
)
def test_one_unit_gives_its_reason_once(
    capsys: pytest.CaptureFixture[str], single: bool, times: int, outcome: Outcome, error: RmfabError
) -> None:
    """The line of a single unit leaves out the reason that the command ends with; with more units it has it."""
    view = PlainView(single=single)
    view.show(StepEnded(*ORIGIN, Step.DETECT, outcome, error.cause, error.what, 1.0))
    view.show(UnitEnded(*ORIGIN, outcome, error.cause, error.what, 1.0, None, error))
    out = capsys.readouterr().out
    assert (out.count(error.what), f"detect {outcome}" in out) == (times, True)


def test_one_failed_unit_keeps_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """A FAIL ends the command with a count, so its line has the reason."""
    view = PlainView(single=True)
    for event in events("x"):
        view.show(event)
    assert "the firmware panicked" in capsys.readouterr().out
