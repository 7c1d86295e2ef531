"""An update over the air on the line: the unit is told its job, and what it then does is followed to the proof.

    fetch      the unit asks for updates, so it listens to `otaurl`
    told       the ledger has recorded what it may run from now on; then the job is sent
    success    its statuses come to their end, and its next config has the new version
    flash      its loader shows the new app in the slot that otadata selects, confirmed, the app before beside it, and
               the factory partition unchanged
    console    after one more restart it is still the new app, and the same node

Whatever ends this early, the ledger no longer says that the unit is verified.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

from rmfab.board.boot_series import BootSeries
from rmfab.board.bootlog import BootLog
from rmfab.board.esp.loader import Loader
from rmfab.cloud.node_report import ExpectedConfig
from rmfab.cloud.node_watch import NodeWatch
from rmfab.cloud.update_job import OTA_FETCH, OTA_URL, UpdateCourse, UpdateJob
from rmfab.errors import InputError, StationError, UnitFault
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.states import State, allowed
from rmfab.line.boot_judge import judge_boot, judge_node
from rmfab.line.ending import Aborted, Marginal
from rmfab.line.job import OfferedRelease, UpdatePlan
from rmfab.line.listening import listen
from rmfab.line.stages import Bound, Identified, Joined
from rmfab.line.unit_flash import into_stub, own_factory
from rmfab.line.visit import Visit
from rmfab.release.ota_data import OTA_DATA_SIZE, selected_slot
from rmfab.release.partition_table import DataSubtype, Partition
from rmfab.release.parts import APP
from rmfab.release.release import Release

_LOOK_SECONDS = 0.1


def joined(stage: Identified) -> tuple[Joined, NodeWatch]:
    """Return the stage of a unit that is on the network, and its watch. Raise InputError if it is not, or unwatched."""
    if isinstance(stage, Joined) and stage.watch is not None:
        return stage, stage.watch
    raise InputError(
        "the unit did not join a network on which a witness watches it",
        hint="a slot must be able to bring it into its loader, and station.toml to name a witness ([cloud])",
        cause="config-mismatch",
    )


def plan_of(visit: Visit) -> UpdatePlan:
    """Return what the job loads over the air. Raise ValueError if it loads nothing."""
    if visit.job.update is None:
        raise ValueError("the job has no update")
    return visit.job.update


def install(
    visit: Visit, stage: Joined, watch: NodeWatch, offered: OfferedRelease, before: Release
) -> tuple[Joined, Marginal | None]:
    """Have the unit, which runs *before*, install *offered*, and prove that it did. Raise UnitFault with the cause."""
    plan, since = plan_of(visit), stage.started_at
    checks: dict[str, Any] = {}
    visit.measured |= {"version": offered.release.app.version, "limit": plan.timeout, "checks": checks}
    ending = time.monotonic() + plan.timeout
    _await_fetch(visit, watch, ending, since)
    series, sent = BootSeries(), plan.sent()
    if visit.proofs.listens:
        stage.console.follow(series.feed)
    course = _course(visit, stage.bound, offered, before)
    course.told = told = _tell(visit, watch, course.job, offered)
    try:
        _follow(visit, stage, watch, course, series, ending)
    except (StationError, Aborted):
        _say_where_it_stands(visit, offered)
        raise
    finally:
        visit.measured |= {name: round(at - told, 3) for name, at in course.at.items()}
        visit.measured |= {"attempts": course.attempts, "sent": plan.sent() - sent}
    checks["status"] = checks["config"] = Outcome.PASS.value
    return _prove(visit, stage, offered, before, series), _resumed(course, visit.measured)


def _course(visit: Visit, bound: Bound, offered: OfferedRelease, before: Release) -> UpdateCourse:
    app = offered.release.app
    data = offered.release.part(APP).data
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    job = UpdateJob(f"rmfab-{visit.job.challenge()}", offered.url, len(data), md5, app.version)
    node_id = bound.identity.node_id
    if node_id is None:
        raise ValueError("the unit has no node id")
    expected = ExpectedConfig(node_id, app.project, app.version, visit.job.product.chip.value)
    visit.measured |= {"job": job.id, "size": job.size}
    return UpdateCourse(job, expected, before.app.version)


def _await_fetch(visit: Visit, watch: NodeWatch, ending: float, since: float) -> None:
    """Wait until the unit has asked for updates after *since*: it listens to its jobs then."""
    began = time.monotonic()
    while not watch.came_after(OTA_FETCH, since):
        visit.keep_going()
        visit.board.hear()
        left = ending - time.monotonic()
        if left <= 0 and watch.last() is None:
            raise UnitFault(
                "the unit did not ask for updates",
                hint="check that the firmware has OTA by topics, with automatic fetch",
                cause="ota-no-fetch",
            )
        watch.next(max(0.0, min(left, _LOOK_SECONDS)))
    visit.measured["fetch"] = round(time.monotonic() - began, 3)


def _tell(visit: Visit, watch: NodeWatch, job: UpdateJob, offered: OfferedRelease) -> float:
    """Record what the unit may run from now on, then send its job; return when (monotonic)."""
    origin, flashed = visit.origin(), False
    if visit.record is not None and visit.state is not None:
        flashed = allowed(visit.state, State.FLASHED, updated=True)
    event = Event(
        timestamp(visit.job.now()),
        EventKind.UPDATE,
        serial=origin.serial,
        mac=origin.mac,
        slot=origin.slot,
        state=State.FLASHED if flashed else None,
        details={"job": job.id, "release": offered.accepted.named},
    )
    visit.recorder.update(event)
    visit.state = event.state or visit.state
    told = time.monotonic()
    watch.send(OTA_URL, job.encode())
    return told


def _follow(
    visit: Visit, stage: Joined, watch: NodeWatch, course: UpdateCourse, series: BootSeries, ending: float
) -> None:
    """Read what the unit publishes and prints, until it runs the new version."""
    while not course.done:
        visit.keep_going()
        if visit.proofs.listens:
            stage.console.hear()
        left = ending - time.monotonic()
        message = watch.next(min(left, _LOOK_SECONDS)) if left > 0 else watch.last()
        if message is None:
            _judge_console(series)
            if left <= 0:
                raise _overdue(visit, course, series)
            continue
        try:
            status = course.take(message)
        except UnitFault as fault:
            raise _with_console(visit, stage, fault, series) from fault
        if status is not None:
            visit.say(f"the unit reports {status}")


def _judge_console(series: BootSeries) -> None:
    """Raise UnitFault if the unit has started without the network that it had: someone has reset it."""
    if series.starts and series.log.service_name is not None:
        raise UnitFault(
            "the unit lost its network and its job during the update, as after a factory reset: it reports no end",
            cause="ota-job-lost",
        )


def _overdue(visit: Visit, course: UpdateCourse, series: BootSeries) -> UnitFault:
    """Return the error of an update that takes too long; if the unit dies, its console says more."""
    if series.log.symptom is not None:
        return UnitFault(series.log.symptom.reason, cause=series.log.symptom.cause)
    return course.overdue(plan_of(visit).timeout)


def _with_console(visit: Visit, stage: Joined, fault: UnitFault, series: BootSeries) -> UnitFault:
    """Return *fault*, or what the console says of a rollback."""
    if fault.cause != "ota-rolled-back":
        return fault
    if visit.proofs.listens:
        stage.console.hear()
    if not series.unconfirmed:
        return fault
    why = f": {series.trouble}" if series.trouble else ""
    return UnitFault(
        f"the new version did not reach its broker in time, and the unit rolled back{why}", cause="ota-no-mqtt"
    )


def _say_where_it_stands(visit: Visit, offered: OfferedRelease) -> None:
    serial = visit.record.serial if visit.record is not None else "the unit"
    visit.warn(
        f"{serial} was told to install {offered.release.name}, and may run it now: the ledger has it as {visit.state}; "
        "`rmfab run` gives it the release of the line"
    )


def _resumed(course: UpdateCourse, measured: dict[str, Any]) -> Marginal | None:
    """Return why a good update is marginal: its download broke, and went on or started again."""
    if course.attempts < 2:
        return None
    what = f"the download broke, and succeeded in attempt {course.attempts}: {measured['sent']} bytes were sent"
    return Marginal("ota-resumed", f"{what} for an image of {course.job.size}")


def _prove(visit: Visit, stage: Joined, offered: OfferedRelease, before: Release, series: BootSeries) -> Joined:
    """Prove by flash and console what the unit runs; return its stage after one more restart."""
    checks, release = visit.measured["checks"], offered.release
    if release.configured.closes_download_mode:
        visit.warn("skipped reading the flash back: the firmware has closed the download mode")
        checks["slot"] = checks["factory"] = Outcome.SKIP.value
        visit.board.follow(series.log)
        checks["console"] = _judge_log(visit, series.log, stage.bound, release)
        return stage
    loader, _ = into_stub(visit)
    visit.measured["slot"] = _running_slot(loader, release, before)
    checks["slot"] = Outcome.PASS.value
    visit.measured["factory"] = own_factory(visit, loader, stage.bound.identity, release)
    checks["factory"] = Outcome.PASS.value
    restarted = time.monotonic()
    visit.board.restart()
    console, log = listen(visit, lambda log: bool(log.app_started and log.node_id), visit.job.product.verify.settle)
    checks["console"] = _judge_log(visit, log, stage.bound, release)
    return replace(stage, console=console, started_at=restarted)


def _judge_log(visit: Visit, log: BootLog, bound: Bound, release: Release) -> str:
    """Judge the boot of the new version, and that it is the same node; return the outcome."""
    if not (visit.proofs.log.required or log.app_started):
        return Outcome.SKIP.value
    judge_boot(log, release)
    judge_node(log, bound.identity.node_id)
    return Outcome.PASS.value


def _running_slot(loader: Loader, release: Release, before: Release) -> str:
    """Return the label of the slot that runs. Raise UnitFault unless it holds *release*, confirmed, and another one
    still holds *before*."""
    table = release.table
    otadata = table.data(DataSubtype.OTA)[0]
    selected = selected_slot(loader.read(otadata.offset, OTA_DATA_SIZE), len(table.ota_slots))
    if selected is None:
        raise UnitFault("otadata selects no slot after the update", cause="ota-other-slot")
    slot = table.ota_slots[selected.index]
    if not _holds(loader, slot, release):
        raise UnitFault(f"{slot.label}, which the unit starts, does not hold the new app", cause="ota-other-slot")
    if not selected.confirmed:
        raise UnitFault("the new app is not confirmed: the next restart rolls it back", cause="ota-unconfirmed")
    if not any(_holds(loader, one, before) for one in table.apps() if one != slot):
        raise UnitFault("no other slot holds the app before: there is nothing to roll back to", cause="ota-other-slot")
    return slot.label


def _holds(loader: Loader, slot: Partition, release: Release) -> bool:
    data = release.part(APP).data
    return loader.md5(slot.offset, len(data)) == hashlib.md5(data, usedforsecurity=False).hexdigest()
