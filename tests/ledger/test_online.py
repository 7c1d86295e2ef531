"""Checks of credentials as events, and which units may be on a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rmfab.errors import InputError
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, fresh, mac, now

NAMES = [f"LMP-{number:06d}" for number in range(1, 11)]


@pytest.fixture
def ledger(place: Path | str) -> Iterator[Ledger]:
    """A ledger with ten identities, of which the first is claimed."""
    with fresh(place) as opened:
        opened.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
        yield opened


def check(serial: str, outcome: Outcome = Outcome.PASS, **more: object) -> Event:
    """A check of *serial*."""
    return Event(now(1), EventKind.CHECK, serial=serial, outcome=outcome, details=more)


def step(serial: str, name: str, outcome: Outcome = Outcome.PASS, **checks: str) -> Event:
    """A step of *serial*."""
    return Event(now(1), EventKind.STEP, serial=serial, step=name, outcome=outcome, details={"checks": checks})


def test_a_check_is_a_fact_beside_the_state(ledger: Ledger) -> None:
    """A check that fails is in the history with its details, and changes neither state nor cause of the unit."""
    ledger.record(STATION, [Event(now(), EventKind.STEP, serial=NAMES[0], outcome=Outcome.ERROR, cause="port")])
    before = ledger.identity_by_serial(NAMES[0])
    ledger.checked(STATION, [check(NAMES[0], Outcome.FAIL, certificate="aa"), check(NAMES[1])])
    assert ledger.identity_by_serial(NAMES[0]) == before
    told = ledger.history(NAMES[0])[-1].event
    assert (told.kind, told.outcome, told.batch, told.mac) == (EventKind.CHECK, Outcome.FAIL, "lamp-0001", mac(1))
    assert told.details == {"certificate": "aa"}
    assert ledger.check() == ()


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (check("LMP-999999"), InputError),
        (Event(now(), EventKind.STEP, serial=NAMES[0]), ValueError),
        (Event(now(), EventKind.CHECK, serial=NAMES[0], state=State.FLASHED), ValueError),
    ],
    ids=["unknown", "step", "state"],
)
def test_all_checks_or_none(ledger: Ledger, event: Event, error: type[Exception]) -> None:
    """A check of an unknown unit, and what is no check, is refused with all that came with it."""
    with pytest.raises(error):
        ledger.checked(STATION, [check(NAMES[0]), event])
    assert [one.event.kind for one in ledger.history(NAMES[0])] == [EventKind.CLAIM]


def test_who_may_be_online(ledger: Ledger) -> None:
    """A unit that joined a network, or whose step was cut off when it could have, may be online until it was reset."""
    joined, cut, reset, failed_reset, skipped, again, *others = NAMES
    ledger.record(
        STATION,
        [
            step(joined, "provision", session="PASS", join="PASS"),
            step(cut, "provision", Outcome.ABORTED, session="PASS"),
            step(reset, "provision", session="PASS", join="PASS"),
            step(reset, "reset"),
            step(failed_reset, "cloud"),
            step(failed_reset, "reset", Outcome.FAIL),
            step(skipped, "provision", session="PASS", join="SKIP"),
            step(skipped, "cloud", Outcome.SKIP),
            step(again, "provision", join="PASS"),
            step(again, "reset"),
            step(again, "provision", join="PASS"),
        ],
    )
    assert ledger.maybe_online(NAMES) == {joined, cut, failed_reset, again}
    assert ledger.maybe_online([*others, reset]) == set()
    assert ledger.maybe_online([]) == set()
