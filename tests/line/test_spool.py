"""Events that wait for the server: in order, exact, and added to the ledger once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rmfab.errors import IntegrityError
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.host import STATE_ENVIRONMENT
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.line.spool import Spool
from tests.ledger.workshop import FILE, STATION, fresh, mac, now


def step(number: int, **changes: object) -> Event:
    """Return the event of a step."""
    event = Event(now(number), EventKind.STEP, slot="A1", step="boot", outcome=Outcome.PASS, seconds=1.25)
    return replace(event, **changes)  # type: ignore[arg-type]


def test_in_order_and_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out is what went in, in this order, also if the clock is set back, and the process is a new
    one; removed, it is gone."""
    spool = Spool(tmp_path / "spool", lambda: {"c": 3})
    assert spool.entries() == ()
    said = [
        (step(1, serial="LMP-1", mac=mac(1), details={"n": [1, None, "é"], "x": 0.1}),),
        (step(2, cause="panic", reason="\x00 \ud800", outcome=Outcome.FAIL, state=State.FAILED), step(3)),
        (step(4),),
        (step(5),),
    ]
    for events in said[:2]:
        spool.add("bench", events, spool.heads())
    monkeypatch.setattr("time.time_ns", lambda: 5)
    spool.add("bench", said[2], {"c": 3})
    Spool(tmp_path / "spool", dict).add("bench", said[3], {"c": 3})
    there = Spool(tmp_path / "spool", dict).entries()
    assert [one.events for one in there] == said
    assert {(one.station, tuple(one.after.items())) for one in there} == {("bench", (("c", 3),))}
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    spool.remove(there[:2])
    spool.remove(there[:2])
    assert [one.events for one in spool.entries()] == said[2:]
    assert len(spool) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"station":"b","events":[{}],"after":{}}', '{"station":"b"'])
def test_a_damaged_record(tmp_path: Path, text: str) -> None:
    """It stops the line, and is named."""
    spool = Spool(tmp_path, dict)
    spool.add("bench", [step(1)], {})
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    with pytest.raises(IntegrityError, match="damaged") as refused:
        spool.entries()
    assert (refused.value.cause, refused.value.where) == ("spool-damaged", str(path))


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A ledger with a claimed unit on board 1."""
    monkeypatch.setenv(STATE_ENVIRONMENT, str(tmp_path / "state"))
    with fresh(tmp_path / FILE, 4) as opened:
        opened.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        yield opened


def kinds(ledger: Ledger, serial: str) -> list[tuple[str | None, str | None]]:
    return [(one.event.step, one.event.state) for one in ledger.history(serial) if one.event.kind is EventKind.STEP]


def test_added_once(ledger: Ledger) -> None:
    """However often a record is sent, and whatever came in between, its events are there once, with their states."""
    said = (
        step(1, step="flash", serial="LMP-000001", mac=mac(1)),
        step(2, step="readback", serial="LMP-000001", state=State.FLASHED),
        step(3, serial=None, mac=None, outcome=Outcome.ERROR, cause="port"),
    )
    assert ledger.replay(STATION, said[:2], {}) == ()
    assert ledger.replay(STATION, said[:2], {}) == ()
    ledger.claim(mac(2), Wish("lamp"), station=STATION, ts=now(9))
    assert ledger.replay(STATION, said, {}) == ()
    assert ledger.replay(STATION, said, {}) == ()
    assert kinds(ledger, "LMP-000001") == [("flash", None), ("readback", State.FLASHED)]
    unit = ledger.identity_by_serial("LMP-000001")
    assert unit is not None
    assert unit.state is State.FLASHED
    assert ledger.check() == ()


def test_events_that_do_not_fit_any_more(ledger: Ledger) -> None:
    """A unit that was voided meanwhile stays void; what happened to it is in its history, with the reason."""
    ledger.void("LMP-000001", reason="broken", station="office", ts=now(5))
    (why,) = ledger.replay(STATION, [step(2, serial="LMP-000001", state=State.FLASHED)], {})
    assert why == "LMP-000001: a void unit cannot become flashed"
    unit = ledger.identity_by_serial("LMP-000001")
    assert unit is not None
    assert unit.state is State.VOID
    assert ledger.history("LMP-000001")[-1].event.details["misfit"] == "a void unit cannot become flashed"
    assert ledger.replay(STATION, [step(2, serial="LMP-000001", state=State.FLASHED)], {}) == ()
    assert ledger.check() == ()
