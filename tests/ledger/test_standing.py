"""The standing that events add up to."""

import pytest

from rmfab.errors import InputError, IntegrityError
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.standing import Standing, project
from rmfab.ledger.states import State, allowed
from tests.ledger.workshop import mac, now


def said(state=None, kind=EventKind.STEP, **more):
    return Event(now(), kind, serial="A", state=state, **more)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.GENERATED, State.FLASHED),
        (State.GENERATED, State.VERIFIED),
        (State.GENERATED, State.FAILED),
        (State.CLAIMED, State.VERIFIED),
        (State.CLAIMED, State.GENERATED),
        (State.FAILED, State.FLASHED),
        (State.FAILED, State.VERIFIED),
        (State.VERIFIED, State.FLASHED),
    ],
)
def test_no_step_is_left_out(before, after):
    """A unit is claimed before it is flashed and flashed before it is verified; a failed flash needs a new claim."""
    assert not allowed(before, after)
    with pytest.raises(InputError) as caught:
        project(Standing(state=before, mac=mac(1)), said(after))
    assert caught.value.cause == "state"


def test_a_unit_that_failed_its_checks_can_be_verified_again():
    """A unit that was flashed and then failed a check can be verified again without a new flash."""
    standing = project(Standing(), said(State.CLAIMED, mac=mac(1)))
    standing = project(standing, said(State.FLASHED))
    standing = project(standing, said(State.FAILED, outcome=Outcome.FAIL, cause="panic", reason="LoadProhibited"))
    assert (standing.state, standing.cause, standing.reason) == (State.FAILED, "panic", "LoadProhibited")
    standing = project(standing, said(State.VERIFIED, outcome=Outcome.PASS))
    assert (standing.state, standing.reason) == (State.VERIFIED, None)


def test_a_verified_unit_that_is_told_to_update():
    """A verified unit that is told to install a different release is only flashed again, since then as before."""
    standing = Standing(State.VERIFIED, mac(1), flashed_ts=now(1), verified_ts=now(2))
    told = project(standing, Event(now(3), EventKind.UPDATE, serial="A", state=State.FLASHED))
    assert (told.state, told.flashed_ts, told.verified_ts) == (State.FLASHED, now(1), None)
    assert project(told, said(State.VERIFIED)).state is State.VERIFIED


@pytest.mark.parametrize("state", [State.GENERATED, State.FAILED, State.VOID])
def test_an_update_of_what_is_not_flashed(state):
    """No other unit becomes flashed by an update."""
    with pytest.raises(InputError):
        project(Standing(state), Event(now(), EventKind.UPDATE, serial="A", state=State.FLASHED))


def test_a_claim_begins_anew():
    """A claim resets what the previous run reached, and is counted."""
    standing = project(Standing(), said(State.CLAIMED, mac=mac(1)))
    standing = project(standing, said(State.FLASHED))
    standing = project(standing, said(outcome=Outcome.ERROR, cause="port", reason="gone"))
    standing = project(standing, said(State.CLAIMED, mac=mac(1)))
    assert standing == Standing(State.CLAIMED, mac(1), attempts=2, claimed_ts=now())


def test_an_event_of_another_board_moves_nothing():
    """An event with the wrong MAC does not change a unit."""
    standing = project(Standing(), said(State.CLAIMED, mac=mac(1)))
    with pytest.raises(IntegrityError) as caught:
        project(standing, said(State.FLASHED, mac=mac(2)))
    assert caught.value.cause == "mac-mismatch"


def labelled(word, second, **details):
    return Event(now(second), EventKind.LABEL, serial="A", details={"word": word, **details})


def test_a_label_is_in_doubt_from_the_first_byte_until_its_end_is_known():
    """The intention to print is no label; sent, printed, or not printed ends the doubt, and copies count."""
    standing = project(Standing(), labelled("sending", 1))
    assert (standing.doubt_ts, standing.labelled_count) == (now(1), 0)
    standing = project(project(standing, labelled("not-printed", 2)), labelled("sending", 3))
    standing = project(standing, labelled("printed", 4, copies=2))
    assert standing == Standing(labelled_count=2, labelled_ts=now(4), printed_count=2, printed_ts=now(4))
    standing = project(project(standing, labelled("sent", 5)), labelled("scanned", 6))
    assert (standing.labelled_count, standing.sent_count, standing.printed_count) == (3, 1, 2)
    assert (standing.sent_ts, standing.scanned_count, standing.scanned_ts) == (now(5), 1, now(6))


def test_a_merge_by_an_earlier_version_knows_no_words():
    """The standing in its details has none of the words of labels: they are zero."""
    columns = {"state": "verified", "mac": mac(1), "labelled_count": 2, "labelled_ts": now(1), "handover": 1}
    event = Event(now(2), EventKind.MERGE, serial="A", mac=mac(1), details={"standing": columns})
    standing = project(Standing(), event)
    assert (standing.labelled_count, standing.printed_count, standing.doubt_ts) == (2, 0, None)


@pytest.mark.parametrize("copies", [0, -1, 10**9, True, "2", None, 1.5])
def test_a_count_of_copies_that_no_rmfab_wrote_is_one(copies):
    """Events of a return were written elsewhere: odd copies count as one label, an unknown word changes nothing."""
    assert project(Standing(), labelled("sent", 1, copies=copies)).labelled_count == 1
    assert project(Standing(), labelled("burned", 1, copies=copies)) == Standing()


def test_labels_are_counted():
    """Printing a label counts it and sets its time; the state stays."""
    standing = Standing()
    for second in (1, 2):
        standing = project(standing, Event(now(second), EventKind.LABEL, serial="A"))
    assert (standing.labelled_count, standing.labelled_ts, standing.state) == (2, now(2), State.GENERATED)
