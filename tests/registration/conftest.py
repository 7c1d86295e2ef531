"""A workspace with a batch, a clock, and the clouds in which it is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import pytest

from rmfab.cli import main
from rmfab.virtual.cloud.neo import VirtualNeo
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.workspace.workspace import Workspace
from tests.cloud.lab import Lab
from tests.registration.clouds import Clock, Site, opened, site
from tests.terminal import copied

Open = Callable[..., AbstractContextManager[Site]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a batch lamp-0001 of three; only copied."""
    root = tmp_path_factory.mktemp("made") / "lamp"
    for argv in (
        ["init", str(root), "--mqtt-host", "mqtt.example.org"],
        ["-C", str(root), "ca", "create", "--no-passphrase"],
        ["-C", str(root), "generate", "--count", "3"],
    ):
        assert main(argv) == 0
    return root


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The certificates of the servers."""
    found = Lab(tmp_path_factory.mktemp("lab"))
    assert found.folder.ca.exists()
    return found


@pytest.fixture
def clock() -> Clock:
    """The clock of client and server."""
    return Clock()


@pytest.fixture(params=["rainmaker", "neo"])
def kind(request: pytest.FixtureRequest) -> type[VirtualRainmaker | VirtualNeo]:
    """Each kind of cloud."""
    return VirtualRainmaker if request.param == "rainmaker" else VirtualNeo


@pytest.fixture
def serve(kind: type[VirtualRainmaker | VirtualNeo], tmp_path: Path, clock: Clock, lab: Lab) -> Open:
    """Serve a new cloud of this kind, with its own URL: no unit is registered in it yet."""
    numbers, urls = count(1), set[str]()

    @contextmanager
    def serve_one(**options: object) -> Iterator[Site]:
        for number in numbers:
            with site(tmp_path / f"cloud-{number}", kind(clock.now, **options), clock, lab) as found:  # type: ignore[arg-type]
                if found.cloud.api in urls:  # the port of a cloud that was served before
                    continue
                urls.add(found.cloud.api)
                yield found
                return

    return serve_one


@pytest.fixture
def place(serve: Open) -> Iterator[Site]:
    """A cloud of each kind."""
    with serve() as found:
        yield found


@pytest.fixture
def neo(tmp_path: Path, clock: Clock, lab: Lab) -> Iterator[Site]:
    """RainMaker Neo."""
    with site(tmp_path / "neo", VirtualNeo(clock.now), clock, lab) as found:
        yield found


@pytest.fixture
def rainmaker(tmp_path: Path, clock: Clock, lab: Lab) -> Iterator[Site]:
    """ESP RainMaker."""
    with site(tmp_path / "rainmaker", VirtualRainmaker(clock.now), clock, lab) as found:
        yield found


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of the workspace."""
    return copied(made, tmp_path / "lamp")


@pytest.fixture
def lamp(root: Path, clock: Clock) -> Iterator[Workspace]:
    """The workspace, with this clock."""
    with opened(root, clock) as workspace:
        yield workspace
