"""Registrations: jobs, and units that a cloud has, as the events tell them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.registrations import CloudHistory, JobStage, RegistrationJob, ranges_of
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, fresh, now

NAMES = [f"LMP-{number:06d}" for number in range(1, 11)]
CLOUD, OTHER = "https://a.example/dev", "https://b.example/dev"


@pytest.fixture
def ledger(place: Path | str) -> Iterator[Ledger]:
    """A ledger with ten identities."""
    with fresh(place) as opened:
        yield opened


def unit(name: str, outcome: Outcome, kind: EventKind = EventKind.REGISTER, cloud: str = CLOUD) -> Event:
    """An event about a unit in a cloud."""
    return Event(now(), kind, serial=name, outcome=outcome, cause="not-registered", details={"cloud": cloud})


def job(key: str = "k", cloud: str = CLOUD) -> RegistrationJob:
    """A job with the first two units."""
    return RegistrationJob(key, cloud, "ab" * 32, 2, {"lamp-0001": ((0, 1),)}, {"name": "a.csv"}, now(), now())


@given(st.sets(st.integers(0, 300)))
def test_ranges(positions: set[int]) -> None:
    """Ranges are as few as possible, and have exactly the positions."""
    ranges = ranges_of(sorted(positions))
    assert {at for first, last in ranges for at in range(first, last + 1)} == positions
    assert all(after[0] > before[1] + 1 for before, after in pairwise(ranges))


def test_the_last_that_is_known_counts(ledger: Ledger) -> None:
    """A unit is registered in a cloud if the last registration or lookup there says so; other clouds do not count."""
    ledger.checked(STATION, [unit(NAMES[0], Outcome.PASS), unit(NAMES[1], Outcome.FAIL)])
    assert ledger.registered(CLOUD, NAMES) == {NAMES[0]}
    assert ledger.registered(OTHER, NAMES) == set()
    ledger.checked(STATION, [unit(NAMES[0], Outcome.FAIL, EventKind.LOOKUP), unit(NAMES[1], Outcome.PASS)])
    ledger.checked(STATION, [unit(NAMES[1], Outcome.FAIL, EventKind.LOOKUP, OTHER)])
    assert ledger.registered(CLOUD, NAMES) == {NAMES[1]}


def test_a_registration_changes_no_standing(ledger: Ledger) -> None:
    """What fails in the cloud is no fault of the unit on the line, and the ledger stays sound."""
    before = ledger.standings(NAMES[:1])
    ledger.checked(STATION, [unit(NAMES[0], Outcome.FAIL), unit(NAMES[0], Outcome.FAIL, EventKind.LOOKUP)])
    assert ledger.standings(NAMES[:1]) == before
    assert ledger.check() == ()


def test_jobs(ledger: Ledger) -> None:
    """A job is uploaded, started and ended; what it was comes back from its events, in its cloud only."""
    one = job()
    ledger.checked(STATION, [one.event(now(), JobStage.UPLOADED)])
    ledger.checked(STATION, [job("other", OTHER).event(now(), JobStage.UPLOADED)])
    (found,) = ledger.jobs_in(CLOUD)
    assert (found.positions, found.upload, found.job, found.ended) == (one.positions, one.upload, None, False)
    assert [found.has("lamp-0001", at) for at in range(3)] == [True, True, False]
    assert not found.has("fan-0001", 0)
    ledger.checked(STATION, [RegistrationJob(**{**vars(one), "job": "j-1"}).event(now(), JobStage.STARTED)])
    assert [found.job for found in ledger.jobs_in(CLOUD)] == ["j-1"]
    ledger.checked(STATION, [one.event(now(), JobStage.ENDED, told="")])
    assert [found.ended for found in ledger.jobs_in(CLOUD)] == [True]


def checked(at: int, outcome: Outcome, host: str = "mqtt.example.org", certificate: str = "ab") -> Event:
    """A check of the first unit at the broker *host*."""
    details = {"broker": f"{host}:443", "certificate": certificate}
    return Event(now(at), EventKind.CHECK, serial=NAMES[0], outcome=outcome, details=details)


def history(ledger: Ledger, cloud: str = CLOUD) -> CloudHistory | None:
    """The history of the first unit."""
    return ledger.cloud_histories(cloud, "mqtt.example.org", NAMES).get(NAMES[0])


def test_the_last_connection(ledger: Ledger) -> None:
    """The last check in the name of a unit tells when the station last connected; other units have no history."""
    assert ledger.cloud_histories(CLOUD, "mqtt.example.org", NAMES) == {}
    for at in (1, 2):
        ledger.checked(STATION, [checked(at, Outcome.PASS)])
    assert ledger.cloud_histories(CLOUD, "mqtt.example.org", NAMES) == {
        NAMES[0]: CloudHistory(station=now(2), proven="ab")
    }


def test_what_proves_a_certificate(ledger: Ledger) -> None:
    """The cloud's own broker proves a certificate until it refuses it; a different broker, or none, proves nothing."""
    for outcome, host, proven in (
        (Outcome.PASS, "localhost", None),
        (Outcome.PASS, "mqtt.example.org", "ab"),
        (Outcome.ERROR, "mqtt.example.org", "ab"),
        (Outcome.FAIL, "localhost", "ab"),
        (Outcome.FAIL, "mqtt.example.org", None),
    ):
        ledger.checked(STATION, [checked(0, outcome, host)])
        found = history(ledger)
        assert found is not None
        assert (outcome, host, found.proven) == (outcome, host, proven)


def test_ours_and_taken(ledger: Ledger) -> None:
    """The last job in this cloud counts, not what a lookup says."""
    taken = Event(
        now(), EventKind.REGISTER, serial=NAMES[0], outcome=Outcome.FAIL, cause="node-taken", details={"cloud": CLOUD}
    )
    ledger.checked(
        STATION, [taken, unit(NAMES[0], Outcome.PASS, EventKind.LOOKUP), unit(NAMES[0], Outcome.PASS, cloud=OTHER)]
    )
    assert (history(ledger), history(ledger, OTHER)) == (CloudHistory(taken=True), CloudHistory(ours=True))
    ledger.checked(STATION, [unit(NAMES[0], Outcome.PASS)])
    assert history(ledger) == CloudHistory(ours=True)


def test_only_what_happens_in_the_cloud(ledger: Ledger) -> None:
    """Other events are not accepted here."""
    with pytest.raises(ValueError, match="accepts only what happens in the cloud"):
        ledger.checked(STATION, [Event(now(), EventKind.LABEL, serial=NAMES[0])])
