"""The hash chain of each station."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from rmfab.errors import InputError
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.sql import schema
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, beneath, now


@pytest.fixture
def ledger(place):
    with Ledger.open(place, create=True) as opened:
        yield opened


def test_a_stranger_can_verify_the_chain(place, ledger):
    """The hashes follow from the documented recipe alone, computed here without the ledger's code."""
    said = [
        Event(
            now(1),
            EventKind.STEP,
            slot="1-1",
            step="boot",
            outcome=Outcome.FAIL,
            cause="panic",
            reason="Grüße",
            seconds=2,
        ),
        Event(now(2), EventKind.STEP, mac="24:0A:C4:00:01:10", details={"b": [1, 2.5, None], "a": "é"}),
    ]
    ledger.record(STATION, said[:1])
    ledger.record(STATION, said[1:])
    with beneath(place) as connection:
        rows = connection.execute(select(schema.event).order_by(schema.event.c.seq)).mappings().all()
    chain = rows[0]["chain"]
    prev = hashlib.sha256(f"rmfab ledger {ledger.id} chain {chain} station {STATION}".encode()).hexdigest()
    for number, row in enumerate(rows, 1):
        body = {key: value for key, value in row.items() if key not in ("id", "chain", "prev_hash", "hash")}
        assert row["chain"] == chain
        assert body["seq"] == number
        assert row["prev_hash"] == prev
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256((prev + text).encode()).hexdigest()
        assert row["hash"] == prev


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
)
def test_whatever_a_console_says_is_stored(tmp_path_factory, reason, details):
    """Any reason and any JSON are read back unchanged, except NUL and lone surrogates, which databases do not store."""
    with Ledger.open(tmp_path_factory.mktemp("l") / "l", create=True) as ledger:
        raw = reason + "\udcff\0"
        event = Event(now(), EventKind.STEP, mac="24:0a:c4:00:01:10", reason=raw, details=details, seconds=1.23456)
        ledger.record(STATION, [event])
        (stored,) = ledger.history("24:0a:c4:00:01:10")
        assert stored.event == event
        assert stored.event.reason is not None
        assert stored.event.reason.endswith("\\udcff\\x00")
        assert stored.event.seconds == 1.235
        assert ledger.check() == ()


def test_stations_have_chains_of_their_own(ledger):
    """Each station counts from 1; the ledger's order runs through all stations."""
    for station in ("a", "b", "a"):
        ledger.record(station, [Event(now(), EventKind.STEP, mac="24:0a:c4:00:01:10")])
    told = ledger.history("24:0a:c4:00:01:10")
    assert [(event.station, event.seq, event.order) for event in told] == [("a", 1, 1), ("b", 1, 2), ("a", 2, 3)]


def test_a_station_needs_a_plain_name(ledger):
    """A station's name becomes part of files and reports, so it must be a safe file name."""
    with pytest.raises(InputError):
        ledger.record("../bench", [Event(now(), EventKind.STEP)])
