"""A finished unit, verified and labelled, that is put back on a slot."""

from __future__ import annotations

import pytest

from rmfab.commands.live_table import COLOURS, SlotRow
from rmfab.ledger.events import Outcome
from rmfab.line.events import Summary, UnitEnded
from rmfab.report.junit import LineReport
from rmfab.report.trace import as_lines
from tests.line.floor import copied, found, serve, spec

pytestmark = pytest.mark.slow

TS = "2026-01-31T12:00:00.000Z"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A factory with one verified unit, and the flash file of its board."""
    folder = tmp_path_factory.mktemp("finished")
    factory, flash = found(folder / "ws", units=2), folder / "flash.bin"
    with serve([spec(flash_file=flash)]) as (board,):
        assert factory.run(board.url).verdict == ("PASS", None)
    return factory, flash


@pytest.fixture
def back(finished, tmp_path):
    """A copy of that factory, and a board with a copy of that flash."""
    factory, flash = finished
    copy = tmp_path / "flash.bin"
    copy.write_bytes(flash.read_bytes())
    return copied(factory, tmp_path / "ws"), spec(flash_file=copy)


def labelled(factory):
    with factory.ledger() as ledger:
        ledger.labelled(["LMP-000001"], station="bench", ts=TS)


@pytest.mark.parametrize("command", ["run", "flash"])
def test_a_finished_unit_is_seen(back, command):
    """Nothing is claimed or written; the unit counts as seen, stays verified, and runs; the exit code is 0."""
    factory, board_spec = back
    labelled(factory)
    with factory.ledger() as ledger:
        before = ledger.identity_by_serial("LMP-000001")
    with serve([board_spec]) as (board,):
        said = factory.run(board.url, command=command)
        restarts = board.state()["restarts"]
    assert said.code == 0, said.words
    assert said.steps() == {"detect": "PASS", "claim": "SEEN"}
    assert (said.verdict, said.unit["serial"]) == (("SEEN", None), "LMP-000001")
    assert "verified and labelled already" in said.unit["reason"]
    assert "--again" in said.unit["reason"]
    assert said.summary == {
        "event": "summary", "passed": 0, "failed": 0, "errors": 0, "aborted": 0, "seen": 1, "labels": {}
    }  # fmt: skip
    assert restarts >= 2  # into the loader, and back
    with factory.ledger() as ledger:
        assert ledger.identity_by_serial("LMP-000001") == before
        (count,) = ledger.counts()
        assert [number for number in count.states.values() if number] == [1, 1]
        told = ledger.history("LMP-000001")
        lines = list(as_lines([before], told))
    assert [line.split()[1:3] for line in lines[-2:]] == [["claim", "SEEN"], ["unit", "SEEN"]]
    factory.check()


def test_again(back):
    """With --again a finished unit is made again, with the same identity."""
    factory, board_spec = back
    labelled(factory)
    with serve([board_spec]) as (board,):
        said = factory.run(board.url, extra=("--again",))
    assert (said.code, said.verdict, said.unit["serial"]) == (0, ("PASS", None), "LMP-000001")
    assert said.step("claim")["measurements"]["again"] is True
    assert (said.summary["passed"], said.summary["seen"]) == (1, 0)


def test_what_is_not_finished_is_made_again(back):
    """A verified unit without a label, and a labelled one that failed since, run without --again."""
    factory, board_spec = back
    with serve([board_spec]) as (board,):
        assert factory.run(board.url).verdict == ("PASS", None)
    labelled(factory)
    with serve([spec(flash_file=board_spec.flash_file, faults=("panic",))]) as (board,):
        assert factory.run(board.url, extra=("--again",)).unit["outcome"] == "FAIL"
    with serve([board_spec]) as (board,):
        assert factory.run(board.url).verdict == ("PASS", None)


def test_a_finished_unit_with_the_wrong_serial(back):
    """A finished board that is not the requested unit is an error, not seen."""
    factory, board_spec = back
    labelled(factory)
    with serve([board_spec]) as (board,):
        said = factory.run(board.url, extra=("--serial", "LMP-000002"))
    assert said.verdict == ("ERROR", "serial-mismatch")


def test_seen_is_no_pass_in_reports():
    """A unit that was seen is skipped in JUnit, counts as seen, and is not in the way of slots that failed."""
    ended = UnitEnded(TS, "bench", "A1", "LMP-000001", "24:0a:c4:00:00:01", Outcome.SEEN, None, "finished", 1.0, None)
    summary, report = Summary(), LineReport()
    summary.count(ended)
    report.take(ended)
    assert (summary.seen, summary.passed, summary.errors) == (1, 0, 0)
    assert [case.outcome for case in report.cases] == ["SEEN"]
    assert SlotRow("A1", outcome=Outcome.SEEN).rank == 2
    assert set(COLOURS) == set(Outcome)


def test_seen_is_skipped_in_junit(tmp_path):
    """In the file of a JUnit report, a unit that was seen is a skipped case with its reason."""
    report = LineReport()
    report.take(UnitEnded(TS, "bench", "A1", "LMP-000001", None, Outcome.SEEN, None, "finished", 1.0, None))
    report.write(tmp_path / "junit.xml")
    text = (tmp_path / "junit.xml").read_text()
    assert 'skipped="1"' in text
    assert '<skipped message="finished"' in text
