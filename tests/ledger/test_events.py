"""Events, their times and MACs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rmfab.errors import InputError
from rmfab.ledger.events import Event, EventKind, normal_mac, timestamp
from tests.ledger.workshop import now


def test_times_are_utc_with_milliseconds():
    """Any time zone is written as UTC, microseconds are cut, and a time without a zone is refused."""
    moment = datetime(2026, 1, 31, 13, 0, 0, 999_999, timezone(timedelta(hours=1)))
    assert timestamp(moment) == "2026-01-31T12:00:00.999Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    with pytest.raises(ValueError, match="zone"):
        timestamp(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "ts", ["", "2026-01-31 12:00:00.000Z", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000+00:00"]
)
def test_other_times_are_refused(ts):
    """Only one spelling of a time is accepted."""
    with pytest.raises(ValueError, match="time"):
        Event(ts, EventKind.STEP)


@pytest.mark.parametrize("text", ["24:0A:C4:00:01:10", "24-0a-c4-00-01-10", " 24:0a:c4:00:01:10 ", "240ac4000110"])
def test_macs_have_one_spelling(text):
    """Every spelling of a MAC gives the same board."""
    assert normal_mac(text) == "24:0a:c4:00:01:10"


@pytest.mark.parametrize("text", ["", "24:0a:c4:00:01", "24:0a:c4:00:01:1g", "240ac400011", "24:0a:c4:00:01:10:ff"])
def test_what_is_no_mac_is_refused(text):
    """An invalid MAC is refused."""
    with pytest.raises(InputError):
        normal_mac(text)


RELEASE = {"digest": "ab" * 32, "version": "1.4.0", "signers": [{"id": "cd" * 32, "name": "ci"}]}


@pytest.mark.parametrize("kind", [{"kind": EventKind.STEP, "step": "flash"}, {"kind": EventKind.UPDATE}])
def test_the_release_of_an_event(kind):
    """The step that wrote a release to the unit, and an update of it, name the release."""
    assert Event(now(), **kind, details={"release": RELEASE}).release == RELEASE
    assert Event(now(), **kind).release is None


@pytest.mark.parametrize(
    "found", ["1.4.0", 7, [], {}, RELEASE | {"version": 1}, RELEASE | {"signers": 1}, RELEASE | {"signers": [{}]}]
)
def test_what_is_no_release(found):
    """What a factory returned, or a user's own step measured, under that name is no release."""
    assert Event(now(), EventKind.STEP, step="flash", details={"release": found}).release is None
    assert Event(now(), EventKind.STEP, step="own", details={"release": RELEASE}).release is None
