"""Accepted releases, and the units that were flashed with them, as the ledger records them."""

from __future__ import annotations

import pytest

from rmfab.errors import InputError
from rmfab.ledger import releases
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import mac, now

TS = now()
A, B, KEY = "a" * 64, "b" * 64, "c" * 64


def accepted(digest: str, product: str = "lamp", seq: int = 1) -> Event:
    """The event of an accepted release."""
    return Event(TS, EventKind.RELEASE, details={"product": product, "digest": digest, "seq": seq})


def flashed(ledger: Ledger, mac: str, digest: str, outcome: Outcome = Outcome.PASS) -> str:
    """Claim an identity for *mac* and flash it with the release *digest*, signed by KEY; return its serial."""
    serial = ledger.claim(mac, Wish("lamp"), station="bench", ts=TS).identity.serial
    state = State.FLASHED if outcome is Outcome.PASS else None
    details = {"release": {"digest": digest, "signers": [{"id": KEY, "name": "ci"}]}}
    event = Event(TS, EventKind.STEP, serial=serial, step="flash", outcome=outcome, state=state, details=details)
    ledger.record("bench", [event])
    return serial


def test_the_last_acceptance_is_of_its_product(make_fresh):
    """Each product has its own last release; before the first there is none."""
    ledger = make_fresh(1)
    assert ledger.last_release("lamp") is None
    for event in (accepted(A), accepted(B, "fan", 9)):
        assert ledger.accept("bench", event, after=ledger.last_release(event.details["product"]))
    assert ledger.last_release("lamp").event.details["digest"] == A
    assert ledger.last_release("fan").event.details["seq"] == 9
    assert ledger.check() == ()


def test_two_stations_cannot_accept_past_each_other(make_fresh):
    """An acceptance that was decided before a newer one came in is refused and must be decided again."""
    ledger = make_fresh(1)
    before = ledger.last_release("lamp")
    assert ledger.accept("one", accepted(A), after=before)
    assert not ledger.accept("two", accepted(B), after=before)
    assert ledger.last_release("lamp").event.details["digest"] == A
    assert ledger.accept("two", accepted(B), after=ledger.last_release("lamp"))


def test_only_acceptances_are_accepted(make_fresh):
    """Events of any other kind are refused."""
    ledger = make_fresh(1)
    with pytest.raises(ValueError, match="only the acceptance"):
        ledger.accept("bench", Event(TS, EventKind.UNIT), after=None)


def test_units_by_release_and_by_signer(make_fresh):
    """Each unit is returned once, with its last flash of the release; units with a newer flash are marked."""
    ledger = make_fresh(3)
    one = flashed(ledger, "24:0a:c4:00:00:01", A)
    two = flashed(ledger, "24:0a:c4:00:00:02", A)
    flashed(ledger, "24:0a:c4:00:00:02", B)
    three = flashed(ledger, "24:0a:c4:00:00:03", B, Outcome.FAIL)
    found = {unit.identity.serial: unit.replaced for unit in ledger.flashed_units(A)}
    assert found == {one: False, two: True}
    assert [unit.identity.serial for unit in ledger.flashed_units(B)] == [two, three]
    by_key = {unit.identity.serial: unit.event.event.outcome for unit in ledger.flashed_units(KEY)}
    assert by_key == {one: Outcome.PASS, two: Outcome.PASS, three: Outcome.FAIL}
    assert list(ledger.flashed_units("d" * 64)) == []


@pytest.mark.parametrize("term", ["", "a" * 63, "%" * 64, "A" * 64])
def test_what_is_no_digest(make_fresh, term):
    """Anything but 64 hex digits is refused, including SQL wildcards."""
    with pytest.raises(InputError, match="not a digest"):
        list(make_fresh(1).flashed_units(term))


def test_many_units_come_in_pages(make_fresh, monkeypatch):
    """More units than fit on a page are all found, in order of flashing."""
    monkeypatch.setattr(releases, "PAGE", 5)
    ledger = make_fresh(22)
    serials = [flashed(ledger, mac(n), A) for n in range(22)]
    assert [unit.identity.serial for unit in ledger.flashed_units(A)] == serials
