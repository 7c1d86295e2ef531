"""`rmfab register`: register units in their cloud. The ledger records each job and each unit."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import BinaryIO

from rmfab.cloud.api.registrar import RegistrationFile
from rmfab.cloud.registration_files import MOST_ROWS, ExportForm, row_form
from rmfab.errors import UnitsFailed
from rmfab.ledger.events import Outcome
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.registrations import RegistrationJob
from rmfab.ledger.states import State
from rmfab.operations.advance import Advance
from rmfab.operations.chosen_units import ChosenUnits, node_of, tell_left_out
from rmfab.operations.open_registrar import CloudAccess, OpenedCloud, opened_cloud
from rmfab.operations.registration_job import JobRunner, RegistrationUnit, UnitRegistered
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace

_PAGE = 500
_OF_THE_PRODUCT = CloudAccess()
_FORM = row_form(ExportForm.NEO)
"""Both clouds read it; RainMaker's own form may have a third column."""


@dataclass(frozen=True)
class RegisterRequest:
    """Register *units* (batches and serials) in the cloud of *access*; *states*: only those in these states.

    *again*: give up jobs that did not end. *wait*: how long a job may take, None: it depends on its size. *most*: units
    in one job.
    """

    units: tuple[str, ...]
    access: CloudAccess = _OF_THE_PRODUCT
    states: tuple[State, ...] = ()
    again: bool = False
    wait: timedelta | None = None
    most: int = MOST_ROWS


@dataclass(frozen=True)
class RegisterSummary:
    """What was done in *cloud*: units that are *registered* now, those that it had *before*, and that *failed*.

    *left_out*: units by state.
    """

    cloud: str
    registered: int
    before: int
    failed: int
    left_out: dict[str, int] = field(default_factory=dict)


Registered = Advance | UnitRegistered | RegisterSummary
Left = LedgerIdentity | Advance | UnitRegistered


def register_units(
    workspace: Workspace, request: RegisterRequest, terminal: Terminal = UNATTENDED
) -> Generator[Registered, None, None]:
    """Register the units that the cloud does not have yet; yield each with its outcome, and last the summary.

    First the jobs of earlier runs that did not end are finished, whichever units they have. Raise InputError for units
    that cannot be registered, StationError if the cloud cannot be reached or does not do it, UnitsFailed at the end if
    it refuses units.
    """
    chosen = ChosenUnits(workspace, request.units, request.states, "registered")
    with opened_cloud(workspace, request.access, terminal) as cloud, _Run(workspace, request, cloud, chosen) as run:
        yield from run.jobs_of_before(terminal)
        yield from run.new_jobs()
    tell_left_out(chosen.left_out, terminal)
    yield run.summary
    run.judge()


class _Run(ExitStack):
    """One run: jobs of before, then new ones for what is left."""

    def __init__(self, workspace: Workspace, request: RegisterRequest, cloud: OpenedCloud, chosen: ChosenUnits) -> None:
        super().__init__()
        self._workspace = workspace
        self._request = request
        self._cloud = cloud
        self._chosen = chosen
        self._jobs = JobRunner(workspace, cloud, request.access.pace, request.wait)
        self._signed_in = False
        self._done: set[str] = set()
        self._outcomes: Counter[Outcome] = Counter()
        self._before = 0
        self._failed: str | None = None

    @property
    def summary(self) -> RegisterSummary:
        """The numbers so far."""
        by = self._outcomes
        return RegisterSummary(
            self._cloud.name, by[Outcome.PASS], self._before, by[Outcome.FAIL], self._chosen.left_out
        )

    def judge(self) -> None:
        """Raise UnitsFailed if a unit is not registered."""
        if self._failed is not None:
            total, failed = self._outcomes.total(), self._outcomes[Outcome.FAIL]
            raise UnitsFailed(
                f"{failed} of {counted(total, 'unit')} could not be registered; see `rmfab trace {self._failed}`"
            )

    def jobs_of_before(self, terminal: Terminal) -> Iterator[Registered]:
        """Finish the jobs that earlier runs began; or give them up, if that is asked for."""
        for job in self._workspace.ledger.jobs_in(self._cloud.name):
            if job.ended:
                continue
            units = self._jobs.units_of(job)
            if self._request.again:
                self._jobs.give_up(job)
                terminal.say(f"gave up a job with {counted(len(units), 'unit')}")
                continue
            terminal.say(f"continuing a job with {counted(len(units), 'unit')}")
            yield from self._finished(job, units, doubtful=True)

    def new_jobs(self) -> Iterator[Registered]:
        """Register the chosen units that are left, in as many jobs as they need."""
        left = self._left()
        while True:
            with tempfile.TemporaryFile(prefix="rmfab-") as stream:
                units, file = yield from _written(stream, left, self._request.most)
                if not units:
                    return
                self._sign_in()
                yield Advance(0, len(units), "uploading")
                job = self._jobs.begin(file, units)
            yield from self._finished(job, units, doubtful=False)

    def _finished(
        self, job: RegistrationJob, units: Sequence[RegistrationUnit], *, doubtful: bool
    ) -> Iterator[Registered]:
        self._sign_in()
        for one in (yield from self._jobs.finish(job, units, doubtful=doubtful)):
            yield self._counted(one)

    def _counted(self, one: UnitRegistered) -> UnitRegistered:
        self._done.add(one.name)
        self._outcomes[one.outcome] += 1
        if one.outcome is Outcome.FAIL:
            self._failed = self._failed or one.serial
        return one

    def _left(self) -> Iterator[Left]:
        """Yield the chosen units that the cloud does not have, and that this run has not tried.

        Yield also those that may not be uploaded, as failed, and how many units were looked at.
        """
        identities, seen = self._chosen.identities(), 0
        while page := list(islice(identities, _PAGE)):
            names = [one.name for one in page if one.name not in self._done]
            there = self._workspace.ledger.registered(self._cloud.name, names)
            self._before += len(there)
            new = [one for one in page if one.name not in self._done and one.name not in there]
            if new and self._cloud.registrar.doubles:
                self._sign_in()
                yield from map(self._counted, self._jobs.taken([RegistrationUnit.of(one) for one in new]))
                seen += len(page)
                yield Advance(seen, self._chosen.total, "looked up")
            yield from (one for one in new if one.name not in self._done)

    def _sign_in(self) -> None:
        if not self._signed_in:
            self._cloud.registrar.sign_in()
            self._signed_in = True


def _written(
    stream: BinaryIO, left: Iterator[Left], most: int
) -> Generator[Advance | UnitRegistered, None, tuple[list[RegistrationUnit], RegistrationFile]]:
    """Write the rows of at most so many identities to *stream*; return the units, and what is known of the file."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    units: list[RegistrationUnit] = []

    def write(text: str) -> int:
        data = text.encode()
        md5.update(data)
        sha256.update(data)
        return stream.write(data)

    size += write(_FORM.head)
    while len(units) < most and (one := next(left, None)) is not None:
        if not isinstance(one, LedgerIdentity):
            yield one
            continue
        size += write(_FORM.row(node_of(one)))
        units.append(RegistrationUnit.of(one))
    stream.flush()
    return units, RegistrationFile(stream, size, md5.hexdigest(), sha256.hexdigest(), len(units))
