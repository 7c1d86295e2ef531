"""Virtual clouds in this process, a clock that only waits move, and the way of `rmfab register` to them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rmfab.cloud.api.pace import Pace
from rmfab.operations.open_registrar import CloudAccess
from rmfab.operations.register_units import RegisterRequest, RegisterSummary, register_units
from rmfab.operations.registration_job import UnitRegistered
from rmfab.virtual.cloud.neo import COGNITO, IOT, VirtualNeo
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.virtual.cloud.server import ApiServer, serve_api
from rmfab.workspace.workspace import Workspace, open_workspace
from tests.cloud.lab import Lab
from tests.patience import PATIENCE

BATCH = "lamp-0001"
UNITS = 3


@dataclass
class Clock:
    """A clock for client and server: waiting moves it, and takes no time. *waits* are the seconds that were waited."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    waits: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        """The time."""
        return self.time

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.waits.append(seconds)
        self.time += timedelta(seconds=seconds)


@dataclass
class Site:
    """A served *cloud*, and the files in *folder* that name it."""

    cloud: VirtualRainmaker | VirtualNeo
    server: ApiServer
    clock: Clock
    folder: Path
    lab: Lab

    @property
    def deployment(self) -> Path:
        """The deployment file."""
        return self.folder / "deployment.toml"

    def access(self, *, patience: float = PATIENCE, tries: int = 6) -> CloudAccess:
        """The way to the cloud, at a pace that takes no time."""
        pace = Pace(self.clock.wait, tries)
        return CloudAccess(self.deployment, password_file=self.folder / "password", patience=patience, pace=pace)


@contextmanager
def site(folder: Path, cloud: VirtualRainmaker | VirtualNeo, clock: Clock, lab: Lab | None = None) -> Iterator[Site]:
    """Serve *cloud* until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = lab or Lab(folder / "lab")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.folder.certificate("server"), lab.folder.key("server"))
    with serve_api(cloud, context) as server:
        found = Site(cloud, server, clock, folder, lab)
        found.deployment.write_text(deployment(cloud, lab))
        password = folder / "password"
        password.write_text(cloud.sign_ins.password)
        password.chmod(0o600)
        yield found


def deployment(cloud: VirtualRainmaker | VirtualNeo, lab: Lab) -> str:
    """The content of the deployment file."""
    values = {"api": cloud.api, "user": cloud.sign_ins.user, "ca": str(lab.folder.ca)}
    if isinstance(cloud, VirtualNeo):
        values |= {"kind": "neo", "region": cloud.region, "client_id": cloud.client_id}
        values |= {"sign_in": f"{cloud.base}{COGNITO}", "iot": f"{cloud.base}{IOT}"}
    return "[cloud]\n" + "".join(f'{name} = "{value}"\n' for name, value in values.items())


@contextmanager
def opened(root: Path, clock: Clock) -> Iterator[Workspace]:
    """Open the workspace at *root* with *clock*, and close its ledger at the end."""
    workspace = open_workspace(root)
    workspace.now = clock.now
    try:
        yield workspace
    finally:
        workspace.ledger.close()


def register(
    lamp: Workspace, place: Site, access: CloudAccess | None = None, **more: object
) -> tuple[RegisterSummary, list[UnitRegistered]]:
    """Register the batch; return the summary and the units."""
    request = RegisterRequest((BATCH,), access or place.access(), **more)  # type: ignore[arg-type]
    events = list(register_units(lamp, request))
    (summary,) = [one for one in events if isinstance(one, RegisterSummary)]
    return summary, [one for one in events if isinstance(one, UnitRegistered)]


def certificates(lamp: Workspace) -> dict[str, list[str]]:
    """What the cloud must have: the certificate of each node."""
    return {str(one.node_id): [str(one.record.certificate_id)] for one in lamp.ledger.identities(BATCH)}


def in_cloud(place: Site) -> dict[str, list[str]]:
    """What the cloud has."""
    return {name: node.certificates for name, node in place.cloud.store.nodes.items()}


def proven(lamp: Workspace, place: Site, *, jobs: int = 1) -> None:
    """Assert that each unit is registered once, in this number of jobs, and that ledger and cloud agree."""
    assert in_cloud(place) == certificates(lamp)
    ended = [task for task in place.cloud.store.tasks.values() if task.ended]
    assert len(ended) == len(place.cloud.store.tasks) == jobs
    assert sum(task.registered for task in ended) == UNITS
    names = [one.name for one in lamp.ledger.identities(BATCH)]
    assert lamp.ledger.registered(place.cloud.api, names) == set(names)
    assert all(job.ended for job in lamp.ledger.jobs_in(place.cloud.api))
