"""The step `boot`: restart the unit into its firmware and judge its boot log."""

from __future__ import annotations

from rmfab.board.bootlog import BootLog
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import StationError, UnitFault
from rmfab.label.content import label_of
from rmfab.line.binding import find_unit
from rmfab.line.boot_judge import CONTRADICTIONS, judge_boot, judge_identity, judge_marginal, judge_same_reading
from rmfab.line.ending import Passed
from rmfab.line.listening import listen
from rmfab.line.stages import Bound, Flashed, InLoader, OnSlot, Running
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials
from rmfab.release.release import Release


def boot(visit: Visit, stage: OnSlot | InLoader | Flashed) -> Passed[Running]:
    """Restart the unit into its firmware and judge its boot log."""
    bound = _bound(visit, stage)
    visit.board.restart()
    if visit.board.unwired:
        visit.say("info", "restart the board now: this slot has no restart lines")
    policy = visit.job.product.verify
    console, log = _listen(visit)
    if visit.board.unwired and not (log.starts or log.app_started or log.symptom):
        raise StationError(
            "the board was not restarted while its console was read",
            where=visit.board.address,
            hint=f"restart it within {policy.boot_timeout:g} s of the start of this step ([verify] boot_timeout)",
            cause="not-restarted",
        )
    firmware = visit.job.firmware
    release = firmware.release if firmware else None
    if not visit.board.unwired and _contradicts(visit, log, release, bound):
        visit.board.restart()
        console, again = _listen(visit)
        judge_same_reading(log, again)
        log = again
    measurements = judge_boot(log, release)
    return Passed(Running(bound, console, log), measurements, judge_marginal(log))


def _listen(visit: Visit) -> tuple[UnitConsole, BootLog]:
    claims = visit.job.product.identity.credentials is Credentials.CLOUD_CLAIM
    return listen(
        visit,
        lambda log: bool(log.app_started and log.qr_payload and (log.node_id or claims)),
        visit.job.product.verify.settle,
    )


def _contradicts(visit: Visit, log: BootLog, release: Release | None, bound: Bound | None) -> bool:
    """Return whether *log* contradicts the release or the ledger, as one wrong character may do."""
    product = visit.job.product
    try:
        judge_boot(log, release)
        if bound is not None:
            payload = label_of(bound.identity, product).payload
            judge_identity(log, bound.identity.node_id, payload, product.identity.credentials)
    except UnitFault as fault:
        return fault.cause in CONTRADICTIONS
    return False


def _bound(visit: Visit, stage: OnSlot | InLoader | Flashed) -> Bound | None:
    match stage:
        case Flashed():
            return stage.bound
        case InLoader():
            return find_unit(visit, stage.facts.mac)
        case OnSlot():
            return find_unit(visit, None)
