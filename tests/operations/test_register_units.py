"""Registration in both clouds: what is registered, what is refused, and runs that fail or are cut at any call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rmfab.cli import main
from rmfab.operations.register_units import RegisterRequest, RegisterSummary, register_units
from rmfab.operations.registration_job import UnitRegistered
from rmfab.virtual.cloud.neo import VirtualNeo
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.workspace.workspace import Workspace, open_workspace
from tests.cloud.clouds import Clock, Site, site
from tests.cloud.lab import Lab
from tests.terminal import copied

BATCH = "lamp-0001"
UNITS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a batch of three; only copied."""
    root = tmp_path_factory.mktemp("made") / "lamp"
    for argv in (
        ["init", str(root), "--mqtt-host", "mqtt.example.org"],
        ["-C", str(root), "ca", "create", "--no-passphrase"],
        ["-C", str(root), "generate", "--count", str(UNITS)],
    ):
        assert main(argv) == 0
    return root


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The certificates of the servers."""
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def clock() -> Clock:
    """The clock of client and server."""
    return Clock()


@pytest.fixture(params=["rainmaker", "neo"])
def place(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, lab: Lab) -> Iterator[Site]:
    """A cloud of each kind."""
    kind = VirtualRainmaker if request.param == "rainmaker" else VirtualNeo
    with site(tmp_path / "cloud", kind(clock.now), clock, lab) as found:
        yield found


@pytest.fixture
def lamp(made: Path, tmp_path: Path, clock: Clock) -> Iterator[Workspace]:
    """A copy of the workspace."""
    workspace = opened(copied(made, tmp_path / "lamp"), clock)
    yield workspace
    workspace.ledger.close()


def opened(root: Path, clock: Clock) -> Workspace:
    """The workspace at *root* with this clock."""
    found = open_workspace(root)
    found.now = clock.now
    return found


def run(lamp: Workspace, place: Site, **more: object) -> tuple[RegisterSummary, list[UnitRegistered]]:
    """Register the batch; return the summary and the units."""
    events = list(register_units(lamp, RegisterRequest((BATCH,), place.access(), **more)))  # type: ignore[arg-type]
    (summary,) = [one for one in events if isinstance(one, RegisterSummary)]
    return summary, [one for one in events if isinstance(one, UnitRegistered)]


def certificates(lamp: Workspace) -> dict[str, list[str]]:
    """What the cloud must have: the certificate of each node."""
    return {str(one.node_id): [str(one.record.certificate_id)] for one in lamp.ledger.identities(BATCH)}


def in_cloud(place: Site) -> dict[str, list[str]]:
    """What the cloud has."""
    return {name: node.certificates for name, node in place.cloud.store.nodes.items()}


class TestRegistered:
    """Good runs."""

    def test_all_units(self, lamp: Workspace, place: Site) -> None:
        """Every unit is registered with its own certificate, in one job, and recorded with cloud and job."""
        summary, units = run(lamp, place)
        assert (summary.registered, summary.before, summary.failed) == (UNITS, 0, 0)
        assert in_cloud(place) == certificates(lamp)
        assert len(place.cloud.store.tasks) == 1
        event = lamp.ledger.history(units[0].serial)[-1].event
        assert event.details["cloud"] == place.cloud.api
        assert event.details["job"] in place.cloud.store.tasks
        assert (
            event.details["certificate"]
            == certificates(lamp)[str(lamp.ledger.identity_by_serial(units[0].serial).node_id)][0]
        )
        assert lamp.ledger.check() == ()
        assert lamp.ledger.open_jobs(place.cloud.api) == ()

    def test_again(self, lamp: Workspace, place: Site) -> None:
        """A second run sends nothing: the ledger knows that all are registered."""
        run(lamp, place)
        calls = len(place.server.calls)
        assert run(lamp, place)[0].before == UNITS
        assert len(place.server.calls) == calls
