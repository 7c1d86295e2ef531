"""What status and trace print of the ledger."""

from __future__ import annotations

import json

import pytest

from rmfab.ledger.events import Event, EventKind, Outcome, StoredEvent
from rmfab.ledger.records import Batch, BatchCount
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.report import label_facts, status, trace

TS = "2026-03-01T12:00:00.000Z"


def stored(**fields: object) -> StoredEvent:
    return StoredEvent(1, "bench", 1, Event(TS, **fields))  # type: ignore[arg-type]


def batch(closed: bool = True) -> Batch:
    return Batch(1, "lamp-0001", "Lamp", "{}", 5, 500, 1, closed, None, TS)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"kind": EventKind.STEP, "step": "flash", "outcome": Outcome.PASS, "seconds": 6.14, "slot": "A1"},
            f"{TS}  flash      PASS       6.1s  bench/A1",
        ),
        (
            {"kind": EventKind.STEP, "step": "boot", "outcome": Outcome.FAIL, "cause": "panic", "reason": "it panics"},
            "bench  (panic: it panics)",
        ),
        (
            {"kind": EventKind.STEP, "step": "label", "outcome": Outcome.SKIP, "reason": "no printer"},
            "bench  (no printer)",
        ),
        ({"kind": EventKind.UNIT, "outcome": Outcome.PASS, "details": {"log": "logs/a.log"}}, "log logs/a.log"),
    ],
    ids=["pass", "fail", "skip", "log"],
)
def test_a_line_of_the_trace(fields: dict[str, object], line: str) -> None:
    """A line contains time, step, outcome, seconds, place and reason; absent values are omitted."""
    (text,) = trace.as_lines([], [stored(**fields)])
    assert line in text
    assert text == text.rstrip()
    assert "None" not in text


def test_the_trace_as_json() -> None:
    """The JSON of an event uses the same names as line events and can be serialized."""
    event = stored(
        kind=EventKind.STEP, step="boot", outcome=Outcome.FAIL, cause="panic", reason="x", details={"restarts": 2}
    )
    (document,) = json.loads(json.dumps(trace.as_json([], [event])))["events"]
    assert (document["class"], document["outcome"], document["details"]) == ("panic", "FAIL", {"restarts": 2})


def test_what_is_known_of_labels() -> None:
    """Status, trace and their JSON have the words of labels; status only has columns for words that occur."""
    ts = "2026-11-28T12:00:00.000Z"
    counts = [BatchCount(batch(), {}, 3, printed=2, scanned=1), BatchCount(batch(), {}, 0, doubtful=1)]
    heads, rows = status.as_table(counts, ts)
    assert heads[-4:] == ("labelled", "printed", "scanned", "in doubt")
    assert [row[-4:] for row in rows] == [(3, 2, 1, 0), (0, 0, 0, 1)]
    assert [status.as_json(counts[1])[name] for name in ("sent", "printed", "scanned", "in_doubt")] == [0, 0, 0, 1]
    details = {"word": "sent", "printer": "zpl+tcp://10.0.0.9:9100", "copies": 2}
    (line,) = trace.as_lines([], [stored(kind=EventKind.LABEL, reason="smeared", details=details)])
    assert "label      sent" in line
    assert line.endswith("zpl+tcp://10.0.0.9:9100 x2  (smeared)")
    standing = Standing(labelled_count=3, labelled_ts=ts, printed_count=2, printed_ts=ts, doubt_ts=ts)
    lines = list(label_facts.as_lines(standing))
    assert [line.split()[0] for line in lines] == ["labelled", "printed", "in"]
    assert label_facts.as_json(standing)["scanned"] == {"count": 0, "last": None}


def test_status() -> None:
    """Every state has a column, in the order of a unit's life; a batch that is still being made is marked as open."""
    ts = "2026-11-28T12:00:00.000Z"
    count = BatchCount(batch(), {State.GENERATED: 3, State.VERIFIED: 2}, 1)
    heads, (cells, still_open) = status.as_table([count, BatchCount(batch(closed=False), {}, 0)], ts)
    row = dict(zip(heads, cells, strict=True))
    assert row["generated"] == 3
    assert row["verified"] == 2
    assert row["void"] == 0
    assert row["labelled"] == 1
    assert "quarantined" not in row
    assert still_open[0] == "lamp-0001 (open)"
    heads, ((*_, quarantined, _),) = status.as_table([BatchCount(batch(), {State.QUARANTINED: 5}, 0)], ts)
    assert (heads[-2], quarantined) == ("quarantined", 5)
    assert set(status.as_json(count)["states"]) == {state.value for state in State}
