"""Steps, verdicts, voids and labels, and what the ledger returns about them."""

import pytest

from rmfab.errors import InputError, IntegrityError
from rmfab.ledger import queries
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from tests.ledger.workshop import STATION, fresh, mac, make, now, order, record


@pytest.fixture
def ledger(place):
    with fresh(place) as opened:
        opened.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        yield opened


def step(state=None, outcome=Outcome.PASS, **more):
    return Event(now(1), EventKind.STEP, serial="LMP-000001", state=state, outcome=outcome, **more)


def test_steps_move_the_unit(ledger):
    """A run that passes leaves the unit verified, and each step with its measurements in the history."""
    ledger.record(
        STATION,
        [
            step(State.FLASHED, step="flash", slot="1-1", seconds=6.1, details={"bytes": 1024}),
            Event(now(2), EventKind.UNIT, serial="LMP-000001", outcome=Outcome.PASS, state=State.VERIFIED),
        ],
    )
    identity = ledger.identity_by_mac(mac(1))
    assert (identity.state, identity.standing.flashed_ts, identity.standing.verified_ts) == ("verified", now(1), now(2))
    flash = ledger.history("LMP-000001")[1].event
    assert (flash.batch, flash.mac, flash.step, flash.seconds) == ("lamp-0001", mac(1), "flash", 6.1)
    assert flash.details == {"bytes": 1024}


def test_an_error_of_the_station_leaves_the_unit_where_it_is(ledger):
    """ERROR does not blame the unit: the reason is recorded, the state stays."""
    ledger.record(STATION, [step(outcome=Outcome.ERROR, cause="port", reason="the port went away")])
    standing = ledger.identity_by_serial("LMP-000001").standing
    assert (standing.state, standing.cause, standing.reason) == (State.CLAIMED, "port", "the port went away")


def test_all_events_of_a_call_or_none(ledger):
    """If one event is invalid, none of the call's events or states is written."""
    before = ledger.history("LMP-000001"), ledger.counts()
    for bad, error in (
        (Event(now(), EventKind.STEP, serial="LMP-999999"), InputError),
        (step(State.FLASHED, mac=mac(2)), IntegrityError),
        (step(State.VOID), ValueError),
        (Event(now(), EventKind.CLAIM, serial="LMP-000002", mac=mac(1)), ValueError),
    ):
        with pytest.raises(error):
            ledger.record(STATION, [step(State.FLASHED), bad])
        assert (ledger.history("LMP-000001"), ledger.counts()) == before


def test_events_of_no_unit_are_kept(ledger):
    """A board that was refused before it got an identity is found by its MAC."""
    ledger.record(
        STATION, [Event(now(), EventKind.STEP, mac=mac(9), step="detect", outcome=Outcome.FAIL, cause="chip")]
    )
    (told,) = ledger.history(mac(9).upper().replace(":", "-"))
    assert (told.event.cause, told.event.serial) == ("chip", None)


@pytest.mark.parametrize("term", ["LMP-000001", "node-LMP-000001", mac(1), mac(1).upper()])
def test_a_unit_is_voided_by_any_of_its_names(ledger, term):
    """Serial, node id and MAC all void the unit; voiding it again changes nothing and adds no event."""
    for _ in range(2):
        (gone,) = ledger.void(term, reason="dropped", station=STATION, ts=now(3))
        assert (gone.serial, gone.state, gone.standing.reason) == ("LMP-000001", State.VOID, "dropped")
    assert [told.event.kind for told in ledger.history("LMP-000001")] == [EventKind.CLAIM, EventKind.VOID]
    assert ledger.identity_by_mac(mac(1)) is None
    assert [identity.serial for identity in ledger.find(mac(1))] == ["LMP-000001"]


def test_a_mac_voids_the_unit_that_lives(ledger):
    """If a board had several identities, its MAC matches the live one."""
    ledger.void(mac(1), reason="one", station=STATION, ts=now())
    ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
    assert ledger.void(mac(1), reason="two", station=STATION, ts=now())[0].serial == "LMP-000002"
    assert len(ledger.find(mac(1))) == 2


def test_nothing_is_voided_by_a_wrong_name(ledger):
    """Voiding an unknown name is an error."""
    with pytest.raises(InputError, match="LMP-1"):
        ledger.void("LMP-1", reason="typo", station=STATION, ts=now())


def test_a_name_of_two_units_voids_neither(ledger):
    """If a term is the serial of one unit and the node id of a different one, nothing is voided."""
    batch = ledger.begin_batch(order("odd", size=1, serial_of=None), now())
    ledger.add_chunk(batch, 0, b"key", [record("node-LMP-000001")])
    ledger.close_batch(batch, STATION, now())
    with pytest.raises(InputError, match="LMP-000001 and node-LMP-000001"):
        ledger.void("node-LMP-000001", reason="x", station=STATION, ts=now())


def test_labels_and_reprints_are_events(ledger):
    """Every printed label is an event; the unit's standing has the count and the last time."""
    ledger.labelled(["LMP-000001", "LMP-000002"], station=STATION, ts=now(4), details={"sheet": "L7651"})
    ledger.labelled(["LMP-000001"], station=STATION, ts=now(5))
    standing = ledger.identity_by_serial("LMP-000001").standing
    assert (standing.labelled_count, standing.labelled_ts, standing.state) == (2, now(5), State.CLAIMED)
    assert ledger.counts()[0].labelled == 2
    assert [told.event.details for told in ledger.history("LMP-000002")] == [{"sheet": "L7651"}]
    with pytest.raises(InputError):
        ledger.labelled(["LMP-000001", "LMP-9"], station=STATION, ts=now(6))
    assert ledger.identity_by_serial("LMP-000001").standing.labelled_count == 2


def test_what_is_known_of_a_printed_label(ledger):
    """The words are recorded as events; the ledger rebuilds the counts from them, and nothing else may be recorded."""

    def word(name, second):
        return Event(now(second), EventKind.LABEL, serial="LMP-000001", details={"word": name, "printer": "file:///x"})

    seen = ledger.identity_by_serial("LMP-000001").standing
    ledger.sending(STATION, word("sending", 1), seen)
    assert ledger.counts()[0].doubtful == 1
    with pytest.raises(InputError) as caught:
        ledger.sending(STATION, word("sending", 2), seen)
    assert caught.value.cause == "changed-meanwhile"
    ledger.record(STATION, [word("printed", 3), word("scanned", 4)])
    (count, *_) = ledger.counts()
    assert (count.labelled, count.sent, count.printed, count.scanned, count.doubtful) == (1, 0, 1, 1, 0)
    assert ledger.check() == ()
    assert ledger.rebuild() == 0
    with pytest.raises(ValueError, match="words of labels"):
        ledger.record(STATION, [Event(now(), EventKind.LABEL, serial="LMP-000001")])


def test_counts_name_every_state(ledger):
    """The counts cover each batch, each state, and the free identities."""
    make(ledger, "second", size=3)
    ledger.void("LMP-000010", reason="x", station=STATION, ts=now())
    first, second = ledger.counts()
    assert sum(first.states.values()) == 10
    assert (first.states[State.GENERATED], first.states[State.CLAIMED], first.states[State.VOID]) == (8, 1, 1)
    assert second.states[State.GENERATED] == 3
    assert ledger.counts("second") == (second,)
    assert (ledger.free("lamp"), ledger.free("lamp", "second"), ledger.free("fan")) == (11, 3, 0)
    with pytest.raises(InputError):
        ledger.counts("third")


def test_a_long_batch_is_read_in_order(place, monkeypatch):
    """Reading in pages neither loses nor duplicates identities or chunks; the last page may be full or not."""
    monkeypatch.setattr(queries, "PAGE", 5)
    with fresh(place, size=43) as ledger:
        assert [identity.position for identity in ledger.identities("lamp-0001")] == list(range(43))
        assert [chunk.number for chunk in ledger.chunks()] == list(range(11))
        make(ledger, "lamp-0002", size=20)
        assert [identity.position for identity in ledger.identities("lamp-0002")] == list(range(20))


def test_data_keys_are_wrapped_anew(ledger):
    """Admitting a station replaces wrapped keys and records an event; an unknown chunk changes nothing."""
    keys = {chunk.id: b"new " + chunk.wrapped_key for chunk in ledger.chunks()}
    ledger.rewrap(keys, recipients=["age1one", "age1two"], station=STATION, ts=now())
    assert {chunk.id: chunk.wrapped_key for chunk in ledger.chunks()} == keys
    assert ledger.check() == ()
    with pytest.raises(KeyError):
        ledger.rewrap(dict.fromkeys(keys, b"other") | {999: b"x"}, recipients=[], station=STATION, ts=now())
    assert {chunk.id: chunk.wrapped_key for chunk in ledger.chunks()} == keys
