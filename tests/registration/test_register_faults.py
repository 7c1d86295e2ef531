"""Registration with every fault of the cloud at every call, and killed at every call: nothing twice, nothing lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rmfab.errors import StationError
from rmfab.operations import register_units as module
from rmfab.operations import registration_job
from rmfab.virtual.cloud.faults import CloudFault, CloudFaultCall
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.virtual.cloud.server import ApiServer
from rmfab.workspace.workspace import Workspace
from tests.killed import killed
from tests.patience import until
from tests.registration.clouds import UNITS, Clock, Site, certificates, in_cloud, opened, proven, register
from tests.registration.conftest import Open

SILENT = pytest.param(CloudFault.SILENT, marks=pytest.mark.slow)
"""Each of its calls takes as long as the client is patient."""
ENDING = (CloudFault.WEB_PAGE, CloudFault.REDIRECT)
PASSING = [SILENT, *(one for one in CloudFault if one not in (CloudFault.SILENT, *ENDING))]
NO_PATIENCE = 1.0
KINDS_OF_CALLS = 5
"""At least so many different calls are in a run."""
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
PLACES = {str(module.__file__), str(registration_job.__file__)}
STRIDE = 11
"""Every so many lines: a prime, so that loops do not hide any of them."""


@dataclass
class FirstOfEach:
    """The faults of a server on which *fault* happens at the first of each kind of calls; *came* counts them."""

    fault: CloudFault
    server: ApiServer
    came: int = 0

    def __iter__(self) -> Iterator[CloudFaultCall]:
        calls = [re.sub("/storage/.*", "/storage", call) for call in self.server.calls]
        if calls.count(calls[-1]) == 1:
            self.came += 1
            yield CloudFaultCall(self.fault, len(calls))


def patience(fault: CloudFault) -> dict[str, float]:
    """The patience of the client: short only if the server does not answer at all."""
    return {"patience": NO_PATIENCE} if fault is CloudFault.SILENT else {}


def ending(lamp: Workspace, place: Site) -> StationError | None:
    """Register; return the error with which that ended, if any."""
    try:
        register(lamp, place)
    except StationError as error:
        return error
    return None


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_fault_that_passes(lamp: Workspace, place: Site, fault: CloudFault) -> None:
    """A fault at every call is tried again in the same run, and no unit is registered twice or lost."""
    place.server.faults = faults = FirstOfEach(fault, place.server)
    assert register(lamp, place, place.access(**patience(fault)))[0].registered == UNITS
    proven(lamp, place)
    assert faults.came >= KINDS_OF_CALLS
    assert place.clock.waits.count(7.0) == (faults.came if fault is CloudFault.BUSY else 0)


@pytest.mark.parametrize(("fault", "cause"), [(CloudFault.WEB_PAGE, "api-html"), (CloudFault.REDIRECT, "api-redirect")])
def test_a_fault_that_does_not(lamp: Workspace, place: Site, fault: CloudFault, cause: str) -> None:
    """A page of a proxy, or a redirection, ends the run at once with its cause; the same command goes on."""
    place.server.faults = faults = FirstOfEach(fault, place.server)
    ends = 0
    while ends < len(place.server.calls) + 1:
        error = ending(lamp, place)
        if error is None:
            break
        assert error.cause == cause
        ends += 1
    proven(lamp, place)
    assert ends == faults.came >= KINDS_OF_CALLS


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (CloudFault.LOST_REQUEST, "api-away"),
        (CloudFault.LOST_ANSWER, "api-away"),
        (CloudFault.BUSY, "api-busy"),
        (CloudFault.FAILS, "api-failed"),
        (CloudFault.FAILS_LATE, "api-failed"),
        (CloudFault.WEB_PAGE, "api-html"),
        (CloudFault.REDIRECT, "api-redirect"),
        pytest.param(CloudFault.SILENT, "api-silent", marks=pytest.mark.slow),
        (CloudFault.CUT, "api-answer"),
        (CloudFault.GARBAGE, "api-answer"),
    ],
    ids=str,
)
def test_a_fault_that_stays(lamp: Workspace, place: Site, fault: CloudFault, cause: str) -> None:
    """Each fault has its own cause, after as many tries as were allowed, and a back-off in between."""
    place.server.faults = (CloudFaultCall(fault),)
    with pytest.raises(StationError) as caught:
        register(lamp, place, place.access(tries=3, **patience(fault)))
    assert caught.value.cause == cause
    tries = 1 if fault in ENDING else 3
    assert len(place.server.calls) == tries or fault is CloudFault.SILENT  # it may give up before the handshake
    expected = [7.0, 7.0] if fault is CloudFault.BUSY else [1.0, 2.0]
    assert place.clock.waits == expected[: tries - 1]
    assert all(job.ended for job in lamp.ledger.jobs_in(place.cloud.api))


def in_a_child(work: Callable[[], object]) -> int:
    """Fork a child that does *work*; return its pid."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


@NEEDS_FORK
@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_call(root: Path, serve: Open, clock: Clock, moment: str) -> None:
    """A run that is killed before or after a call took effect goes on by the same command: one job, each unit once."""
    with opened(root, clock) as lamp, serve() as place:
        register(lamp, place)
        calls = len(place.server.calls)
    for number in range(1, calls + 1):
        with serve() as place:
            die_at(place, moment, number, lambda: run_once(root, place))
            with opened(root, clock) as lamp:
                register(lamp, place)
                proven(lamp, place)


def die_at(place: Site, moment: str, number: int, work: Callable[[], object]) -> None:
    """Do *work* in a child that is killed around the effect of its call *number*."""
    child: list[int] = []

    def kill(call: int) -> None:
        if call == number:
            until(lambda: child)
            os.kill(child[0], signal.SIGKILL)
            raise ConnectionAbortedError  # before: it takes no effect; after: nobody gets an answer

    setattr(place.server, moment, kill)
    child.append(in_a_child(work))
    assert os.WIFSIGNALED(os.waitpid(child[0], 0)[1])
    setattr(place.server, moment, lambda _: None)


def run_once(root: Path, place: Site) -> None:
    """Register as a new process does."""
    with opened(root, place.clock) as lamp:
        register(lamp, place)


@NEEDS_FORK
@pytest.mark.slow
def test_killed_at_every_line(root: Path, serve: Open, clock: Clock) -> None:
    """A run that is killed between any two records goes on by the same command: each unit once, and none lost."""
    turn = 1
    while True:
        with serve() as place:
            died = killed(turn, PLACES, lambda: run_once(root, place))
            with opened(root, clock) as lamp:
                register(lamp, place)
                assert in_cloud(place) == certificates(lamp)
                registered = [task.registered for task in place.cloud.store.tasks.values()]
                assert sum(registered) == UNITS
                assert all(job.ended for job in lamp.ledger.jobs_in(place.cloud.api))
            if not died:
                return
        turn += STRIDE


@NEEDS_FORK
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_old_backend(root: Path, rainmaker: Site, clock: Clock, moment: str) -> None:
    """A backend that names no job before it is started may start two; the second one's duplicates are no failure."""
    cloud = rainmaker.cloud
    assert isinstance(cloud, VirtualRainmaker)
    cloud.request_ids = False
    die_at(rainmaker, moment, 5, lambda: run_once(root, rainmaker))
    for task in cloud.store.tasks.values():
        cloud._end(task)
    with opened(root, clock) as lamp:
        assert register(lamp, rainmaker)[0].registered == UNITS
        assert in_cloud(rainmaker) == certificates(lamp)
        assert len(cloud.store.tasks) == (2 if moment == "after" else 1)


def test_two_at_once(root: Path, serve: Open, clock: Clock) -> None:
    """A second run on this host waits for the first, and then finds nothing to do."""
    with serve() as place:
        children = [in_a_child(lambda: run_once(root, place)) for _ in range(2)]
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        with opened(root, clock) as lamp:
            proven(lamp, place)
