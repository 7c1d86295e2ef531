"""One job that registers units: begun, finished, and recorded so that each step is done once.

    upload → the ledger has the upload → start → the ledger has the job's id → it ends → the ledger has its units

If a run ends between the second and the fourth, the next one asks the cloud for the job before it starts it.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rmfab.cloud.api.judge_row import judge_free, judge_node, judge_row
from rmfab.cloud.api.pace import Pace
from rmfab.cloud.api.registrar import ABANDON, CloudJob, JobState, RegistrationFile, Upload
from rmfab.errors import StationError, UnitFault
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.registrations import JobStage, RegistrationJob, ranges_of
from rmfab.operations.advance import Advance
from rmfab.operations.chosen_units import node_of
from rmfab.operations.open_registrar import OpenedCloud
from rmfab.signals import undisturbed
from rmfab.workspace.workspace import Workspace

_FIRST_LOOK, _SLOWER, _LONGEST_LOOK = 2.0, 1.5, 30.0
_FOR_A_JOB, _FOR_A_UNIT = timedelta(minutes=15), timedelta(seconds=0.5)
"""How long a job may take: its container has to start, and makes six calls of AWS for each unit (RainMaker Neo)."""


@dataclass(frozen=True)
class RegistrationUnit:
    """A unit to be registered. *name* is that of its identity in the ledger, *certificate* the id in the cloud."""

    name: str
    serial: str
    node_id: str
    certificate: str
    batch: str
    position: int

    @classmethod
    def of(cls, one: LedgerIdentity) -> RegistrationUnit:
        """Return the unit of an identity. Raise InputError as `node_of` does."""
        node = node_of(one)
        return cls(one.name, one.serial, node.node_id, node.certificate_id, one.batch, one.position)


@dataclass(frozen=True)
class UnitRegistered:
    """A unit that a job registered (PASS), or did not (FAIL): *cause* and *reason* say why."""

    ts: str
    name: str
    serial: str
    outcome: Outcome
    cause: str | None = None
    reason: str | None = None


class JobRunner:
    """Runs jobs in *cloud* and records them. *limit*: how long a job may take, None: it depends on its size."""

    def __init__(self, workspace: Workspace, cloud: OpenedCloud, pace: Pace, limit: timedelta | None) -> None:
        self._workspace = workspace
        self._cloud = cloud
        self._pace = pace
        self._limit = limit

    def taken(self, units: Sequence[RegistrationUnit]) -> list[UnitRegistered]:
        """Return those of *units* that the cloud has before this ledger uploads them; record them as failed.

        Asked of a cloud that would give such a unit a second certificate, beside one that stays valid.
        """
        jobs = self._workspace.ledger.jobs_in(self._cloud.name)
        new = [unit for unit in units if not any(job.has(unit.batch, unit.position) for job in jobs)]
        nodes = self._cloud.registrar.nodes(unit.node_id for unit in new)
        faults = [(unit, fault) for unit, node in zip(new, nodes, strict=True) if (fault := judge_free(node))]
        ts = self._now()
        found = [_outcome(ts, unit, fault) for unit, fault in faults]
        if found:
            self._record(*self._event(None, [unit for unit, _ in faults], found))
        return found

    def begin(self, file: RegistrationFile, units: Sequence[RegistrationUnit]) -> RegistrationJob:
        """Upload *file*, which has the rows of *units*, and record that."""
        upload = self._cloud.registrar.upload(file)
        positions: dict[str, list[int]] = {}
        for unit in units:
            positions.setdefault(unit.batch, []).append(unit.position)
        now = self._now()
        job = RegistrationJob(
            key=secrets.token_hex(8),
            cloud=self._cloud.name,
            sha256=file.sha256,
            units=len(units),
            positions={batch: ranges_of(sorted(some)) for batch, some in positions.items()},
            upload=upload.to_json(),
            uploaded=now,
            began=now,
        )
        self._record(job.event(now, JobStage.UPLOADED))
        return job

    def give_up(self, job: RegistrationJob) -> None:
        """Record that nobody waits for *job* any more."""
        self._record(job.event(self._now(), JobStage.ENDED, told="given up"))

    def units_of(self, job: RegistrationJob) -> list[RegistrationUnit]:
        """Return the units whose rows *job* has."""
        return [RegistrationUnit.of(one) for batch in job.positions for one in self._of_batch(job, batch)]

    def _of_batch(self, job: RegistrationJob, batch: str) -> Iterator[LedgerIdentity]:
        return (one for one in self._workspace.ledger.identities(batch) if job.has(batch, one.position))

    def finish(
        self, job: RegistrationJob, units: Sequence[RegistrationUnit], *, doubtful: bool
    ) -> Generator[Advance, None, list[UnitRegistered]]:
        """Start *job* if it is not started, wait for its end, and record its *units*; return them.

        *doubtful*: a run before this one may have started it. Raise StationError (cause `job-stuck`) if it does not
        end in time.
        """
        if job.job is None:
            job = self._start(job, doubtful=doubtful)
        ended = yield from self._ended(job)
        found = self._outcomes(job, ended, units)
        self._record(*self._event(job, units, found), job.event(self._now(), JobStage.ENDED, told=ended.told))
        return found

    def _start(self, job: RegistrationJob, *, doubtful: bool) -> RegistrationJob:
        try:
            name = self._cloud.registrar.start(Upload.from_json(job.upload), doubtful=doubtful)
        except StationError as error:
            if error.cause == "api-refused":  # there is no job, and never will be one for this upload
                self._record(job.event(self._now(), JobStage.ENDED, told=error.what))
            raise
        job = replace(job, job=name, began=self._now())
        self._record(job.event(job.began, JobStage.STARTED))
        return job

    def _ended(self, job: RegistrationJob) -> Generator[Advance, None, CloudJob]:
        """Look at the job until it ends, less and less often."""
        name = _known(job)
        limit = self._limit if self._limit is not None else _FOR_A_JOB + job.units * _FOR_A_UNIT
        deadline, pause = _moment(job.began) + limit, _FIRST_LOOK
        while (found := self._cloud.registrar.look(name)).state is JobState.RUNNING:
            yield Advance(0, job.units, f"waiting for job {name}")
            if self._workspace.now() >= deadline:
                told = f": {found.told}" if found.told else ""
                raise StationError(
                    f"the registration job has not ended in {limit.total_seconds() / 60:.0f} minutes{told}",
                    where=name,
                    hint=f"--wait lets it take longer; if it never ends, {ABANDON}",
                    cause="job-stuck",
                )
            self._pace.wait(pause)
            pause = min(pause * _SLOWER, _LONGEST_LOOK)
        return found

    def _outcomes(
        self, job: RegistrationJob, ended: CloudJob, units: Sequence[RegistrationUnit]
    ) -> list[UnitRegistered]:
        """Return what became of each unit. Raise StationError (cause `job-unclear`) if the cloud does not tell."""
        if ended.state is JobState.DONE and ended.registered in (None, len(units)):
            faults: dict[str, UnitFault | None] = {}
        elif ended.failed is None:
            faults = self._looked_up(units, ended)
        else:
            faults = self._failed(job, units)
            if (ended.registered or 0) + ended.failed != len(units) or len(faults) != ended.failed:
                self.give_up(job)
                raise StationError(
                    f"the cloud counts {ended.registered} registered and {ended.failed} failed of {len(units)} units, "
                    f"and names {len(faults)}",
                    where=_known(job),
                    hint="run the same command again: it registers them in a new job, which changes no unit twice",
                    cause="job-unclear",
                )
        ts = self._now()
        return [_outcome(ts, unit, faults.get(unit.node_id)) for unit in units]

    def _failed(self, job: RegistrationJob, units: Sequence[RegistrationUnit]) -> dict[str, UnitFault | None]:
        """Return what the failed rows mean, by node id; rows of other units are passed over."""
        certificates = {unit.node_id: unit.certificate for unit in units}
        rows = self._cloud.registrar.failed_rows(_known(job))
        return {row.node_id: judge_row(row, certificates[row.node_id]) for row in rows if row.node_id in certificates}

    def _looked_up(self, units: Sequence[RegistrationUnit], ended: CloudJob) -> dict[str, UnitFault | None]:
        """Ask for each unit: the cloud does not tell which rows failed.

        A node that it had before this ledger uploaded it is not proven to be the unit: others registered it.
        """
        reason = ended.told or "the cloud gives no reason"
        jobs = self._workspace.ledger.jobs_in(self._cloud.name)
        nodes = self._cloud.registrar.nodes(unit.node_id for unit in units)
        faults: dict[str, UnitFault | None] = {}
        for unit, node in zip(units, nodes, strict=True):
            uploaded = min(job.uploaded for job in jobs if job.has(unit.batch, unit.position))
            faults[unit.node_id] = judge_node(node, _moment(uploaded), reason)
        return faults

    def _event(
        self, job: RegistrationJob | None, units: Sequence[RegistrationUnit], found: Sequence[UnitRegistered]
    ) -> Iterator[Event]:
        for unit, one in zip(units, found, strict=True):
            yield Event(
                one.ts,
                EventKind.REGISTER,
                serial=one.name,
                outcome=one.outcome,
                cause=one.cause,
                reason=one.reason,
                details={"cloud": self._cloud.name, "job": job and job.job, "certificate": unit.certificate},
            )

    def _record(self, *events: Event) -> None:
        with undisturbed():
            self._workspace.ledger.checked(self._workspace.station.name, events)

    def _now(self) -> str:
        return timestamp(self._workspace.now())


def _outcome(ts: str, unit: RegistrationUnit, fault: UnitFault | None) -> UnitRegistered:
    if fault is None:
        return UnitRegistered(ts, unit.name, unit.serial, Outcome.PASS)
    return UnitRegistered(ts, unit.name, unit.serial, Outcome.FAIL, fault.cause, fault.what)


def _known(job: RegistrationJob) -> str:
    if job.job is None:
        raise ValueError("the job is not started")
    return job.job


def _moment(ts: str) -> datetime:
    return datetime.fromisoformat(ts)
