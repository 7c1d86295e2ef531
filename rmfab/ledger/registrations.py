"""Registrations: the jobs that register units in a cloud, and which units that cloud has. Read from the events.

An event of kind `register` without a serial is about a job: `uploaded` before the cloud is asked to start it, `started`
once the cloud has given it an id, `ended`. A job that is not ended goes on with the next run, on this ledger's hosts
only. One with a serial is about a unit; so is one of kind `lookup`, which tells what the cloud knew at that time. Of
those the last one counts. Each names its cloud, because a unit may be registered in several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select

from rmfab.ledger.chains import OWN
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.queries import PAGE
from rmfab.ledger.sql import schema
from rmfab.ledger.stored_events import FIELDS, event_in


@unique
class JobStage(StrEnum):
    """How far a job is, as far as the ledger knows."""

    UPLOADED = "uploaded"
    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True)
class RegistrationJob:
    """A job with the id *key* in the ledger, which registers units in *cloud*.

    *positions*: by batch, ranges of positions, both ends included. *upload*: what the cloud told of the file, whose
    SHA-256 is *sha256*; *uploaded* is when. *job*: the cloud's id of the job, None if its answer is not known. *began*:
    when it was uploaded, then when it was started. *ended*: nobody waits for it.
    """

    key: str
    cloud: str
    sha256: str
    units: int
    positions: Mapping[str, tuple[tuple[int, int], ...]]
    upload: Mapping[str, str]
    uploaded: str
    began: str
    job: str | None = None
    ended: bool = False

    def has(self, batch: str, position: int) -> bool:
        """Return whether the unit at *position* of *batch* is one of its units."""
        return any(first <= position <= last for first, last in self.positions.get(batch, ()))

    def event(self, ts: str, stage: JobStage, **more: Any) -> Event:
        """Return the event of this *stage*."""
        details: dict[str, Any] = {"cloud": self.cloud, "key": self.key, "stage": stage.value, "job": self.job, **more}
        if stage is JobStage.UPLOADED:
            ranges = {batch: [list(one) for one in found] for batch, found in self.positions.items()}
            details |= {"file": self.sha256, "units": self.units, "positions": ranges, "upload": dict(self.upload)}
        batch = next(iter(self.positions)) if len(self.positions) == 1 else None
        return Event(ts, EventKind.REGISTER, batch=batch, details=details)


@dataclass(frozen=True)
class CloudHistory:
    """What the ledger knows of a unit in a cloud. *ours*: the last job of this ledger registered it. *taken*: the cloud
    had its node id before (cause `node-taken`). *station*: when a station last connected in its name. *proven*: the id
    of the certificate with which the cloud's broker let it in, unless it has refused it since."""

    ours: bool = False
    taken: bool = False
    station: str | None = None
    proven: str | None = None


def ranges_of(positions: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending *positions* as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for one in positions:
        if ranges and ranges[-1][1] == one - 1:
            ranges[-1] = ranges[-1][0], one
        else:
            ranges.append((one, one))
    return tuple(ranges)


def jobs_in(connection: Connection, cloud: str) -> tuple[RegistrationJob, ...]:
    """Return the jobs in *cloud*, oldest first."""
    table = schema.event
    query = _events().where(table.c.serial.is_(None), table.c.kind == EventKind.REGISTER.value, OWN)
    jobs: dict[str, RegistrationJob] = {}
    for row in connection.execute(query.order_by(table.c.id)):
        event = event_in(row._mapping)
        details = event.details
        if details["cloud"] != cloud:
            continue
        key, stage = details["key"], JobStage(details["stage"])
        if stage is JobStage.UPLOADED:
            jobs[key] = _job(event)
        elif stage is JobStage.STARTED:
            jobs[key] = replace(jobs[key], job=details["job"], began=event.ts)
        else:
            jobs[key] = replace(jobs[key], ended=True)
    return tuple(jobs.values())


def registered(connection: Connection, cloud: str, names: Iterable[str]) -> set[str]:
    """Return those of the identities *names* that *cloud* has, by the last that is known."""
    found: set[str] = set()
    for event in _of_units(connection, names, EventKind.REGISTER, EventKind.LOOKUP):
        if event.details.get("cloud") == cloud and event.serial is not None:
            (found.add if event.outcome is Outcome.PASS else found.discard)(event.serial)
    return found


def cloud_histories(connection: Connection, cloud: str, host: str, names: Iterable[str]) -> dict[str, CloudHistory]:
    """Return what happened in *cloud*, and at the broker *host*, to each of the identities *names* that has a history.

    A broker that is not the cloud's proves nothing about it.
    """
    found: dict[str, CloudHistory] = {}
    for event in _of_units(connection, names, EventKind.REGISTER, EventKind.CHECK):
        name, details = str(event.serial), event.details
        history = found.get(name, CloudHistory())
        if event.kind is EventKind.CHECK:
            history = replace(history, station=event.ts)
            if event.outcome in (Outcome.PASS, Outcome.FAIL) and _host(details) == host:
                history = replace(history, proven=details.get("certificate") if event.outcome is Outcome.PASS else None)
        elif details.get("cloud") == cloud:
            history = replace(history, ours=event.outcome is Outcome.PASS, taken=event.cause == "node-taken")
        found[name] = history
    return found


def _host(details: Mapping[str, Any]) -> str:
    """Return the host of the broker of a check."""
    return str(details.get("broker", "")).rpartition(":")[0]


def _of_units(connection: Connection, names: Iterable[str], *kinds: EventKind) -> Iterator[Event]:
    """Yield the events of *kinds* of the identities *names*, for each of them in order."""
    table = schema.event
    remaining = iter(names)
    while some := list(islice(remaining, PAGE)):
        query = _events().where(table.c.serial.in_(some), table.c.kind.in_([kind.value for kind in kinds]))
        for row in connection.execute(query.order_by(table.c.id)):
            yield event_in(row._mapping)


def _events() -> Any:
    return select(*(schema.event.c[name] for name in FIELDS))


def _job(event: Event) -> RegistrationJob:
    details = event.details
    positions = {batch: tuple((first, last) for first, last in some) for batch, some in details["positions"].items()}
    return RegistrationJob(
        key=details["key"],
        cloud=details["cloud"],
        sha256=details["file"],
        units=details["units"],
        positions=positions,
        upload=details["upload"],
        uploaded=event.ts,
        began=event.ts,
    )
